//! The seed library's functions on one connection, under their own names.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use tracing::{debug, warn};

use crate::error::{Error, Result};
use crate::id::{AuthState, DataId, ServiceId, Status};
use crate::message::Message;
use crate::peer::Peer;
use crate::pending::Pending;
use crate::registering::registers_at_run_time;
use crate::session::{CallFailure, CallKind, CallOutcome, Done, NewCall};
use crate::strings;

/// How long [`Protocol::send`] waits for the connection, as in the seed library.
pub const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long [`Protocol::receive`] waits for a message, as in the seed library.
pub const DEFAULT_RECEIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long [`Protocol::authenticate`] waits for the verdict, as in the seed library.
pub const DEFAULT_AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection, for programs that send and receive messages one by one: every function of the Python library under
/// its own name. `docs/porting.md` shows the two side by side.
///
/// [`Peer::protocol`] gives it, so a [`Client`](struct@crate::Client) does, and each of
/// [`Server::peers`](crate::Server::peers); [`Server::protocol`](crate::Server::protocol) waits for the first peer.
/// Clones mean the same connection. From the first handle on, messages that no callback takes are kept for
/// [`receive`](Protocol::receive) instead of being refused.
///
/// What is registered holds for all connections of the endpoint, and survives their lines. Calls that wait for their
/// answers ([`Peer::call`]) go well beside it: an answer without a message id completes the oldest such call of its
/// service and datum first (protocol.md 7.2), so towards a peer of the Python library do not mix the two for one datum.
///
/// ```
/// use socketproto::{Client, DEFAULT_RECEIVE_TIMEOUT, Json, Server, ServiceId, Status};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let server = Server::bind("mem://").start().await?;
/// server.register_callback(Some(ServiceId::READ_REQUEST), Some(1.into()), |_| Ok(Json::encode(&21.5)?))?;
///
/// let client = Client::connect(server.address()).await?;
/// let protocol = client.protocol();
/// assert!(protocol.send(10, 1, &(), Status::OKAY, None).await);
/// let answer = protocol.receive(11, 1, DEFAULT_RECEIVE_TIMEOUT).await.unwrap();
/// assert_eq!(answer.data::<f64>().unwrap(), 21.5);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a client's connection is closed when its last handle is dropped"]
pub struct Protocol(Peer);

impl Peer {
    /// The same connection with the seed library's functions: see [`Protocol`].
    ///
    /// ```
    /// # async fn demo(server: socketproto::Server) {
    /// for peer in server.peers() {
    ///     peer.protocol().reconnect();
    /// }
    /// # }
    /// ```
    pub fn protocol(&self) -> Protocol {
        self.link().routes().buffer();
        Protocol(self.clone())
    }
}

impl Protocol {
    /// Sends a message, and tells whether the transport has taken all of it; where it has not, the reason is logged.
    ///
    /// It is sent once the connection is ready ([`Peer::is_ready`]), at the latest after `timeout` (default
    /// [`DEFAULT_SEND_TIMEOUT`]). It carries no message id, so an answer to it is an ordinary message: a callback takes
    /// it, else [`receive`](Self::receive) does. All requests should have [`Status::OKAY`].
    ///
    /// Of a future that is dropped nothing is sent, unless it was written already.
    pub fn send<T: Serialize + ?Sized>(
        &self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
        data: &T,
        status: Status,
        timeout: impl Into<Option<Duration>>,
    ) -> ProtocolCall<bool> {
        let (service_id, data_id) = (service_id.into(), data_id.into());
        let data = strings::write(data);
        self.post((service_id, data_id), data, status, timeout.into(), |peer, sent| {
            let channel = || peer.channel_name();
            sent.inspect_err(|error| warn!(channel = channel().as_deref(), %error, "message not sent"))
                .is_ok()
        })
    }

    /// As [`send`](Self::send), with the reason where a message is not sent. A message id that it carries is left out.
    ///
    /// # Errors
    /// [`Error::ReservedSid`]; [`Error::NotSendable`] where the peer does not take a frame of this size, or there is no
    /// room; [`Error::NotSent`] where the time is over, [`Error::ConnectionLost`].
    ///
    /// ```
    /// use socketproto::{Json, Message, Protocol};
    ///
    /// # async fn demo(protocol: Protocol) -> socketproto::Result<()> {
    /// protocol.send_message(&Message::new(20, 2, Json::encode(&22.5).unwrap()), None).await
    /// # }
    /// ```
    pub fn send_message(
        &self,
        message: &Message,
        timeout: impl Into<Option<Duration>>,
    ) -> ProtocolCall<Result<()>> {
        let data = message.json().as_str().into();
        let key = (message.service_id(), message.data_id());
        self.post(key, Ok(data), message.status(), timeout.into(), |_, sent| sent.map(drop))
    }

    /// The oldest message of this service and datum that no callback has taken, or the next that comes within `timeout`
    /// (default [`DEFAULT_RECEIVE_TIMEOUT`]). Each message is received once; several receivers are served in order.
    ///
    /// Before a client has authenticated, where a secret is set, it gets what its own whitelist has
    /// ([`Client::add_msg_to_auth_whitelist`](crate::Client::add_msg_to_auth_whitelist)), and nothing else: a refusal of the
    /// server (status 3) is not received either, and a warning is logged.
    ///
    /// Up to [`Limits::max_buffered_per_datum`](crate::Limits::max_buffered_per_datum) messages wait here. They stay when
    /// the line is lost, and are dropped when the next one begins.
    pub fn receive(
        &self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
        timeout: impl Into<Option<Duration>>,
    ) -> ProtocolCall<Option<Message>> {
        let timeout = timeout.into().unwrap_or(DEFAULT_RECEIVE_TIMEOUT);
        let new = new_call(CallKind::Receive, (service_id.into(), data_id.into()), Vec::new(), timeout);
        let early = reserved(new.service_id);
        self.start(new, early, |_, received| match received {
            Ok(Done::Received(received)) => Some(received.message),
            Ok(_) => None,
            Err(error) => {
                debug!(%error, "no message received");
                None
            }
        })
    }

    /// Authenticates this side at the server (protocol.md 5.1), or waits for the exchange that runs. True where it is
    /// trusted, at once where it is already; else the reason is logged. The default of `timeout` is
    /// [`DEFAULT_AUTHENTICATE_TIMEOUT`].
    ///
    /// Without a secret it is false. A client does it by itself unless it was told
    /// [`auto_auth(false)`](crate::ClientBuilder::auto_auth); an attempt by hand that fails leaves the connection open. On
    /// a server it tells whether the client has authenticated.
    pub fn authenticate(&self, timeout: impl Into<Option<Duration>>) -> ProtocolCall<bool> {
        let timeout = timeout.into().unwrap_or(DEFAULT_AUTHENTICATE_TIMEOUT);
        let key = (ServiceId::AUTH_REQUEST, DataId::AUTH_SEED);
        self.start(new_call(CallKind::Authenticate, key, Vec::new(), timeout), None, |peer, trusted| {
            let channel = || peer.channel_name();
            trusted
                .inspect_err(|error| warn!(channel = channel().as_deref(), %error, "not authenticated"))
                .is_ok()
        })
    }

    /// Whether the peer, or this side towards it, has proved the secret.
    pub fn check_authentication_state(&self) -> bool {
        self.0.auth_state() == AuthState::Trusted
    }

    /// Whether the line is there, and trusted where a secret is set.
    pub fn connection_established(&self) -> bool {
        self.0.link().view().established
    }

    /// Whether the line is there.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// The name of the channel: this side's, or the one taken over from the peer.
    pub fn channel_name(&self) -> Option<Arc<str>> {
        self.0.channel_name()
    }

    /// Closes the line, and does not wait for it. A client connects again at once, and sends over the next line what is
    /// sent after this call; a server's peer has to do so itself, and is another connection then. Calls that were sent
    /// fail with [`Error::ConnectionLost`]. Where this side authenticates by hand, it has to do so anew.
    pub fn reconnect(&self) {
        self.0.link().request_reconnect();
    }

    /// The other side, for calls that wait for their answers.
    pub fn peer(&self) -> &Peer {
        &self.0
    }

    fn post<T>(
        &self,
        key: (ServiceId, DataId),
        data: serde_json::Result<Vec<u8>>,
        status: Status,
        timeout: Option<Duration>,
        finish: Finish<T>,
    ) -> ProtocolCall<T> {
        let timeout = timeout.unwrap_or(DEFAULT_SEND_TIMEOUT);
        let (data, unwritten) = data.map_or_else(|error| (Vec::new(), Some(error)), |data| (data, None));
        let new = new_call(CallKind::Send { status }, key, data, timeout);
        let unwritten = unwritten.map(|source| Error::Encode {
            operation: Box::new(self.0.operation(key.0, key.1, None)),
            source,
        });
        self.start(new, reserved(key.0).or(unwritten), finish)
    }

    fn start<T>(&self, new: NewCall, early: Option<Error>, finish: Finish<T>) -> ProtocolCall<T> {
        let (key, kind, timeout) = ((new.service_id, new.data_id), new.kind, new.timeout);
        let state = early.map_or_else(|| State::Unsent(new), State::Failed);
        ProtocolCall { state, peer: self.0.clone(), key, kind, timeout, finish }
    }
}

impl AsRef<Peer> for Protocol {
    fn as_ref(&self) -> &Peer {
        &self.0
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protocol").field("address", &self.0.address()).finish_non_exhaustive()
    }
}

fn new_call(
    kind: CallKind,
    (service_id, data_id): (ServiceId, DataId),
    data: Vec<u8>,
    timeout: Duration,
) -> NewCall {
    NewCall { call: 0, kind, service_id, data_id, data, timeout, nested: false, response: None }
}

/// The framework's own services are not for applications.
fn reserved(service_id: ServiceId) -> Option<Error> {
    service_id.is_reserved().then_some(Error::ReservedSid { service_id })
}

/// Something asked of a [`Protocol`]: await it for its outcome. It begins when it is first polled; dropping it ends it.
///
/// The wait is timed by the connection, so that any executor will do.
///
/// ```
/// use socketproto::{Protocol, ProtocolCall, Status};
///
/// # async fn demo(protocol: Protocol) {
/// let sending: ProtocolCall<bool> = protocol.send(20, 2, &22.5, Status::OKAY, None);
/// assert!(sending.await);
/// # }
/// ```
#[must_use = "it begins when it is awaited"]
pub struct ProtocolCall<T> {
    state: State,
    peer: Peer,
    key: (ServiceId, DataId),
    kind: CallKind,
    timeout: Duration,
    finish: Finish<T>,
}

enum State {
    /// Something was wrong from the start.
    Failed(Error),
    Unsent(NewCall),
    Asked(Pending),
}

/// Makes what a caller gets of the outcome.
type Finish<T> = fn(&Peer, Result<Done>) -> T;

impl<T> ProtocolCall<T> {
    fn judge(&self, outcome: CallOutcome) -> Result<Done> {
        outcome.map_err(|failure| {
            let operation = Box::new(self.peer.operation(self.key.0, self.key.1, None));
            let unauthenticated = |reason: &str| Error::AuthenticationFailed {
                address: self.peer.address().into(),
                reason: reason.into(),
            };
            match failure {
                CallFailure::TimedOut if self.kind == CallKind::Authenticate => {
                    unauthenticated(&format!("no verdict within {:?}", self.timeout))
                }
                CallFailure::TimedOut if self.kind == CallKind::Receive => {
                    Error::TimedOut { operation, timeout: self.timeout, sent: true }
                }
                CallFailure::TimedOut | CallFailure::Unsent(None) => {
                    Error::NotSent { operation, timeout: self.timeout }
                }
                CallFailure::NotTrusted(reason) => unauthenticated(reason),
                CallFailure::NotSendable(reason) => {
                    Error::NotSendable { operation, reason: format!("message {reason}").into() }
                }
                CallFailure::UnknownService => Error::UnknownService { operation },
                CallFailure::Lost(reason) => {
                    Error::ConnectionLost { operation, reason: reason.to_string().into(), sent: true }
                }
                CallFailure::Unsent(Some(reason)) => {
                    Error::ConnectionLost { operation, reason: reason.to_string().into(), sent: false }
                }
            }
        })
    }
}

#[cfg(feature = "blocking")]
impl ProtocolCall<bool> {
    /// Leaves a message to be sent, without waiting for what comes of it. False where it cannot be sent now: it would
    /// wait where nobody sees how many do.
    pub(crate) fn post(mut self) -> bool {
        let peer = &self.peer;
        let left = match std::mem::replace(&mut self.state, State::Asked(Pending::default())) {
            State::Failed(error) => Err(error.to_string()),
            State::Unsent(_) if !peer.is_ready() => Err("the connection is not ready".to_owned()),
            State::Unsent(new) => peer.link().post(new).map_err(|reason| reason.to_string()),
            State::Asked(_) => Ok(()),
        };
        let Err(error) = left else { return true };
        let channel = peer.channel_name();
        warn!(peer = peer.address(), channel = channel.as_deref(), error, "message not sent");
        false
    }
}

impl<T> Future for ProtocolCall<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let mut pending = Pending::default();
        let outcome = match std::mem::replace(&mut this.state, State::Asked(Pending::default())) {
            State::Failed(error) => return Poll::Ready((this.finish)(&this.peer, Err(error))),
            State::Unsent(new) => pending.ask(this.peer.link(), new, cx),
            State::Asked(asked) => {
                pending = asked;
                pending.poll(this.peer.link(), cx)
            }
        };
        this.state = State::Asked(pending);
        let outcome = this.judge(std::task::ready!(outcome));
        Poll::Ready((this.finish)(&this.peer, outcome))
    }
}

impl<T> Drop for ProtocolCall<T> {
    fn drop(&mut self) {
        if let State::Asked(pending) = &self.state {
            pending.forget(self.peer.link());
        }
    }
}

impl<T> fmt::Debug for ProtocolCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolCall")
            .field("kind", &self.kind)
            .field("service_id", &self.key.0)
            .field("data_id", &self.key.1)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

registers_at_run_time!(Protocol, |this| this.0.link().routes());
