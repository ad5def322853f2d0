//! The other side of a connection, and calls to it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Operation};
use crate::fault::Fault;
use crate::id::{AuthState, DataId, Level, ServiceId};
use crate::link::Link;
use crate::pending::Pending;
use crate::session::{CallFailure, CallKind, CallOutcome, Done, NewCall};
use crate::strings;

/// How long a call waits for its answer, unless [`PendingCall::timeout`] says otherwise (protocol.md 7.2).
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The other side of one connection. Cloning is cheap; all clones mean the same connection.
///
/// A handler gets it from `cx.peer()`; a [`Client`](struct@crate::Client) dereferences to it. Calls can be made from any
/// thread and any executor.
#[derive(Clone)]
pub struct Peer {
    held: Held,
    /// Whether the calls are made by a handler.
    nested: bool,
    /// Counts the calls that wait, where somebody wants to know.
    calls: Option<Arc<AtomicUsize>>,
}

impl Peer {
    pub(crate) fn of_handler(link: Arc<Link>) -> Self {
        Self { held: Held::ByServer(link), nested: true, calls: None }
    }

    /// The peer of a connection that is held by its endpoint.
    pub(crate) fn of_endpoint(link: Arc<Link>) -> Self {
        Self { held: Held::ByServer(link), nested: false, calls: None }
    }

    pub(crate) fn of_client(link: Arc<Link>) -> Self {
        Self { held: Held::ByHandles(Arc::new(CloseOnDrop(link))), nested: false, calls: None }
    }

    /// The same peer; calls through it and its clones are counted here while they wait.
    pub(crate) fn counted(&self, calls: Arc<AtomicUsize>) -> Self {
        Self { calls: Some(calls), ..self.clone() }
    }

    /// An operation as errors call it; the caller's name of the datum goes before the endpoint's.
    pub(crate) fn operation(
        &self,
        service_id: ServiceId,
        data_id: DataId,
        name: Option<&'static str>,
    ) -> Operation {
        let (service_name, known) = self.link().routes().snapshot().1.names().of(service_id, data_id);
        let name = name.map(Arc::from).or(known);
        Operation { service_id, service_name, data_id, name, peer: Arc::clone(self.link().address()) }
    }

    #[inline]
    pub(crate) fn link(&self) -> &Arc<Link> {
        match &self.held {
            Held::ByHandles(guard) => &guard.0,
            Held::ByServer(link) => link,
        }
    }

    /// Reads a datum (service 10).
    ///
    /// # Errors
    /// As [`Peer::call`].
    pub fn read<R: DeserializeOwned>(&self, data_id: impl Into<DataId>) -> PendingCall<R> {
        self.call(ServiceId::READ_REQUEST, data_id, &())
    }

    /// Writes a datum (service 20).
    ///
    /// # Errors
    /// As [`Peer::call`].
    pub fn write<T: Serialize + ?Sized>(&self, data_id: impl Into<DataId>, value: &T) -> PendingCall<()> {
        self.call(ServiceId::WRITE_REQUEST, data_id, value)
    }

    /// Executes a command (service 30).
    ///
    /// # Errors
    /// As [`Peer::call`].
    pub fn execute<T: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        data_id: impl Into<DataId>,
        argument: &T,
    ) -> PendingCall<R> {
        self.call(ServiceId::EXECUTE_REQUEST, data_id, argument)
    }

    /// Sends a request and waits for its answer. It is sent when the returned future is first polled; dropping the
    /// future forgets the call.
    ///
    /// # Errors
    /// [`Error::Fault`] where the peer answers a status other than okay, [`Error::TimedOut`],
    /// [`Error::ConnectionLost`] (both tell whether it had been sent), [`Error::Decode`] where the answer does not fit `R`; [`Error::Encode`],
    /// [`Error::NotSendable`] and [`Error::UnknownService`] where nothing was sent.
    ///
    /// ```
    /// # async fn demo(client: socketproto::Client) -> socketproto::Result<()> {
    /// let temperature: f64 = client.call(10, 1, &()).await?;
    /// # Ok(()) }
    /// ```
    pub fn call<T: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
        data: &T,
    ) -> PendingCall<R> {
        PendingCall::new(self.clone(), service_id.into(), data_id.into(), None, data)
    }

    /// The address of the peer, as a URL.
    pub fn address(&self) -> &str {
        self.link().address()
    }

    /// The name of the channel: this side's, or the one taken over from the peer.
    pub fn channel_name(&self) -> Option<Arc<str>> {
        self.link().view().channel_name
    }

    /// How far authentication has come.
    pub fn auth_state(&self) -> AuthState {
        self.link().view().auth_state
    }

    /// Whether the peer, or this side towards it, has proved the secret; or the peer's certificate is taken for it.
    pub fn is_trusted(&self) -> bool {
        self.auth_state() == AuthState::Trusted
    }

    /// How the secret was proved on this connection: none where it was not, or where a certificate is taken for it.
    pub fn level(&self) -> Option<Level> {
        self.link().view().level
    }

    /// The peer's certificate, which its TLS handshake has proved: DER, the end of the chain alone; none on other lines,
    /// and where a client has shown none. It is that of the line that is there, or was last.
    ///
    /// What it says has to be parsed by the program; to compare it with one that is known, its bytes are enough:
    ///
    /// ```
    /// use socketproto::{Call, Fault};
    ///
    /// /// For `ServerBuilder::authorize`: one client alone.
    /// fn judge(call: &Call<()>, operator: &[u8]) -> Result<(), Fault> {
    ///     match call.peer().certificate() {
    ///         Some(certificate) if *certificate == *operator => Ok(()),
    ///         _ => Err(Fault::not_permitted("for the operator alone")),
    ///     }
    /// }
    /// ```
    pub fn certificate(&self) -> Option<Arc<[u8]>> {
        self.link().certificate()
    }

    /// Whether the line is there.
    pub fn is_connected(&self) -> bool {
        self.link().view().connected
    }

    /// Whether calls are sent at once: the line is there, features are known, and the peer is trusted where a secret is
    /// set. Calls made before wait for it, up to their own timeout.
    pub fn is_ready(&self) -> bool {
        self.link().view().ready
    }
}

impl AsRef<Self> for Peer {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// Who holds a connection. One count for each handle: calls clone it.
#[derive(Clone)]
enum Held {
    /// Its handles alone; it is closed with the last of them.
    ByHandles(Arc<CloseOnDrop>),
    /// The server that accepted it.
    ByServer(Arc<Link>),
}

/// The last handle of a connection that nobody else holds.
struct CloseOnDrop(Arc<Link>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.request_close();
    }
}

/// A call: await it for the answer.
///
/// The wait is timed by the connection, so that any executor will do.
#[must_use = "a call is sent when it is awaited"]
pub struct PendingCall<R> {
    peer: Peer,
    service_id: ServiceId,
    data_id: DataId,
    name: Option<&'static str>,
    timeout: Duration,
    /// The response id, where the caller's declaration knows it.
    response: Option<ServiceId>,
    /// The data as JSON, until it is first polled.
    unsent: Option<serde_json::Result<Vec<u8>>>,
    pending: Pending,
    counted: Option<Counted>,
    answer: PhantomData<fn() -> R>,
}

/// A call that is counted as waiting.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(calls))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<R> PendingCall<R> {
    fn new<T: Serialize + ?Sized>(
        peer: Peer,
        service_id: ServiceId,
        data_id: DataId,
        name: Option<&'static str>,
        data: &T,
    ) -> Self {
        Self {
            peer,
            service_id,
            data_id,
            name,
            timeout: DEFAULT_CALL_TIMEOUT,
            response: None,
            unsent: Some(strings::write(data)),
            pending: Pending::default(),
            counted: None,
            answer: PhantomData,
        }
    }

    /// Waits this long for the answer: from zero up; the default is [`DEFAULT_CALL_TIMEOUT`].
    ///
    /// ```
    /// # async fn demo(client: socketproto::Client) -> socketproto::Result<()> {
    /// use std::time::Duration;
    ///
    /// let slow: f64 = client.read(1).timeout(Duration::from_secs(60)).await?;
    /// # Ok(()) }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether its connection runs on this thread.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_home(&self) -> bool {
        self.peer.link().routes().is_home()
    }

    fn operation(&self) -> Box<Operation> {
        Box::new(self.peer.operation(self.service_id, self.data_id, self.name))
    }

    /// The request as it is left for the connection.
    fn request(&self, data: Vec<u8>) -> NewCall {
        NewCall {
            call: 0,
            kind: CallKind::Request,
            service_id: self.service_id,
            data_id: self.data_id,
            data,
            timeout: self.timeout,
            nested: self.peer.nested,
            response: self.response,
        }
    }

    fn lost(&self, reason: &str, sent: bool) -> Error {
        Error::ConnectionLost { operation: self.operation(), reason: reason.into(), sent }
    }

    fn timed_out(&self, sent: bool) -> Error {
        Error::TimedOut { operation: self.operation(), timeout: self.timeout, sent }
    }
}

impl<R: DeserializeOwned> PendingCall<R> {
    fn judge(&self, outcome: CallOutcome) -> Result<R, Error> {
        match outcome {
            Ok(Done::Answered(status, data)) => match Fault::from_response(status, data.as_str()) {
                None => data.decode().map_err(|source| Error::Decode { operation: self.operation(), source }),
                Some(fault) => Err(Error::Fault { operation: self.operation(), fault }),
            },
            // Only requests are made here.
            Ok(_) | Err(CallFailure::NotTrusted(_)) => Err(self.lost("no answer", true)),
            Err(CallFailure::TimedOut) => Err(self.timed_out(true)),
            Err(CallFailure::Unsent(None)) => Err(self.timed_out(false)),
            Err(CallFailure::Lost(reason)) => Err(self.lost(&reason.to_string(), true)),
            Err(CallFailure::Unsent(Some(reason))) => Err(self.lost(&reason.to_string(), false)),
            Err(CallFailure::NotSendable(reason)) => Err(Error::NotSendable {
                operation: self.operation(),
                reason: format!("request {reason}").into(),
            }),
            Err(CallFailure::UnknownService) => Err(Error::UnknownService { operation: self.operation() }),
        }
    }
}

impl<R: DeserializeOwned> Future for PendingCall<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = match this.unsent.take() {
            None if this.pending.is_over() => {
                return Poll::Ready(Err(this.lost("the call was polled after it was over", true)));
            }
            None => this.pending.poll(this.peer.link(), cx),
            Some(Ok(data)) => {
                this.counted = this.peer.calls.as_ref().map(Counted::new);
                let request = this.request(data);
                this.pending.ask(this.peer.link(), request, cx)
            }
            Some(Err(source)) => {
                return Poll::Ready(Err(Error::Encode { operation: this.operation(), source }));
            }
        };
        let outcome = std::task::ready!(outcome);
        this.counted = None;
        Poll::Ready(this.judge(outcome))
    }
}

impl<R> Drop for PendingCall<R> {
    fn drop(&mut self) {
        self.pending.forget(self.peer.link());
    }
}

impl<R> fmt::Debug for PendingCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall")
            .field("service_id", &self.service_id)
            .field("data_id", &self.data_id)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A call of a typed client: its datum has a name, and its id may be shifted (`ThermostatClient::at`).
pub fn call<T: Serialize + ?Sized, R>(
    peer: &Peer,
    service_id: ServiceId,
    data_id: DataId,
    shift: u32,
    name: &'static str,
    data: &T,
) -> PendingCall<R> {
    let data_id = DataId::new(data_id.value().saturating_add(shift));
    PendingCall::new(peer.clone(), service_id, data_id, Some(name), data)
}

/// The same, of a service that the declaration brings along: its request and response ids.
pub fn call_own<T: Serialize + ?Sized, R>(
    peer: &Peer,
    (request, response): (ServiceId, ServiceId),
    data_id: DataId,
    shift: u32,
    name: &'static str,
    data: &T,
) -> PendingCall<R> {
    let mut pending = call(peer, request, data_id, shift, name, data);
    pending.response = Some(response);
    pending
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_call_that_is_over_says_so_when_it_is_polled_again() {
        let peer = Peer::of_endpoint(Arc::new(Link::new("mem://test".into(), Arc::default(), 1024 * 1024)));
        let mut call = peer.write(1, &BTreeMap::from([([1, 2], "a key that is no string")]));
        let mut poll = || Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll(), Poll::Ready(Err(Error::Encode { .. }))));
        for _ in 0..2 {
            let Poll::Ready(Err(error)) = poll() else { panic!("it waits for nothing") };
            assert!(error.to_string().contains("polled after it was over"), "{error}");
        }
    }
}
