//! The same API for programs without a runtime: calls that wait on the calling thread.
//!
//! ```
//! use socketproto::blocking::{Client, Server};
//! use socketproto::{Json, ServiceId, Status};
//!
//! # fn main() -> socketproto::Result<()> {
//! let server = Server::start("mem://")?;
//! server.register_callback(Some(ServiceId::READ_REQUEST), Some(1.into()), |_| Ok(Json::encode(&21.5)?))?;
//!
//! let client = Client::connect(server.address())?;
//! assert_eq!(client.read::<f64>(1).wait()?, 21.5);
//!
//! let protocol = client.protocol();
//! assert!(protocol.send(10, 1, &(), Status::OKAY, None));
//! let answer = protocol.receive(11, 1, None).unwrap();
//! assert_eq!(answer.data::<f64>().unwrap(), 21.5);
//! # Ok(()) }
//! ```
//!
//! Settings are those of the builders: `Client::connect(socketproto::Client::connect(address).secret(secret))`. Calls,
//! also those of derived clients, are waited for by [`PendingCall::wait`].
//!
//! # Inside callbacks
//!
//! Connections and handlers run on one thread, unless a server has several workers. To wait on it for something that it
//! has yet to do would last for ever, so there nothing waits: results are [`Error::WouldDeadlock`], `receive` gives nothing,
//! `authenticate` tells what is known, and `send` leaves the message to be sent where the connection is ready, and is false
//! where it is not. A program that wants more from a callback hands the work to a thread of its own.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::actor::runtime::Runtime;
use crate::client::ClientBuilder;
use crate::error::{Error, Result};
use crate::id::{DataId, ServiceId, Status};
use crate::limits::LimitCounts;
use crate::message::Message;
use crate::peer::{Peer, PendingCall};
use crate::registering::registers_at_run_time;
use crate::server::ServerBuilder;

/// Waits for a future on this thread, which sleeps meanwhile.
///
/// # Errors
/// [`Error::WouldDeadlock`] where this is the thread that would have to do the work.
fn wait<F: Future>(is_home: bool, future: F) -> Result<F::Output> {
    if is_home {
        return Err(Error::WouldDeadlock);
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        // It may return for no reason; then the future is polled once more.
        thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<R: DeserializeOwned> PendingCall<R> {
    /// Waits for the answer on this thread.
    ///
    /// # Errors
    /// Those of the call, and [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn wait(self) -> Result<R> {
        wait(self.is_home(), self)?
    }
}

impl Runtime {
    /// Shuts down what runs here, and waits for it on this thread: as [`Runtime::shutdown`].
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] on one of its own threads.
    pub fn shutdown_and_wait(&self) -> Result<()> {
        wait(self.is_here(), self.shutdown())?
    }
}

/// The side that connects: as [`Client`](struct@crate::Client), whose calls it has.
///
/// ```
/// use socketproto::blocking::{Client, Server};
/// use socketproto::{Json, ServiceId};
///
/// # fn main() -> socketproto::Result<()> {
/// let server = Server::start("mem://")?;
/// server.register_callback(Some(ServiceId::WRITE_REQUEST), None, |_| Ok(Json::NULL))?;
/// let client = Client::connect(server.address())?;
/// client.write(2, &22.5).wait()?;
/// client.close()
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a connection is closed when its last handle is dropped"]
pub struct Client(crate::client::Client);

impl Client {
    /// Connects to an address, or as a [`ClientBuilder`] says.
    ///
    /// # Errors
    /// As awaiting a [`ClientBuilder`]; [`Error::WouldDeadlock`] on the thread of connections and handlers.
    ///
    /// ```no_run
    /// use socketproto::{Secret, blocking};
    ///
    /// # fn main() -> socketproto::Result<()> {
    /// let secret = Secret::from_env("THERMOSTAT_SECRET")?;
    /// let client =
    ///     blocking::Client::connect(socketproto::Client::connect("tcp://127.0.0.1:4000").secret(secret))?;
    /// # Ok(()) }
    /// ```
    pub fn connect(builder: impl Into<ClientBuilder>) -> Result<Self> {
        let builder = builder.into();
        wait(builder.is_here(), builder.into_future())?.map(Self)
    }

    /// The connection with the seed library's functions.
    pub fn protocol(&self) -> Protocol {
        Protocol(self.0.protocol())
    }

    /// How often the limits were exceeded: as [`Client::limit_counts`](struct@crate::Client#method.limit_counts).
    pub fn limit_counts(&self) -> LimitCounts {
        self.0.limit_counts()
    }

    fn is_home(&self) -> bool {
        self.0.link().routes().is_home()
    }

    /// Closes the connection for good: as [`Client::close`](crate::Client::close).
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn close(&self) -> Result<()> {
        wait(self.is_home(), self.0.close())
    }

    /// Waits until the connection is closed for good.
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn closed(&self) -> Result<()> {
        wait(self.is_home(), self.0.closed())
    }
}

registers_at_run_time!(Client, |this| this.0.link().routes());

impl Deref for Client {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl AsRef<Peer> for Client {
    fn as_ref(&self) -> &Peer {
        &self.0
    }
}

/// The side that accepts: as [`Server`](crate::Server).
///
/// ```
/// use socketproto::blocking::Server;
///
/// # fn main() -> socketproto::Result<()> {
/// let server = Server::start(socketproto::Server::bind("tcp://127.0.0.1:0").channel_name("attic"))?;
/// println!("listening on {}", server.address());
/// server.shutdown()
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a server is closed when its last handle is dropped"]
pub struct Server(crate::server::Server);

impl Server {
    /// Listens on an address and serves, or as a [`ServerBuilder`] says.
    ///
    /// # Errors
    /// As [`ServerBuilder::start`]; [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn start(builder: impl Into<ServerBuilder>) -> Result<Self> {
        let builder = builder.into();
        wait(builder.is_here(), builder.start())?.map(Self)
    }

    fn is_home(&self) -> bool {
        self.0.routes().is_home()
    }

    /// The address clients connect to, with the real port or name.
    pub fn address(&self) -> &str {
        self.0.address()
    }

    /// The peers that are connected, in the order in which they came; they can be called.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.peers()
    }

    /// How often the limits were exceeded: as [`Server::limit_counts`](crate::Server::limit_counts).
    pub fn limit_counts(&self) -> LimitCounts {
        self.0.limit_counts()
    }

    /// Waits for the first peer: as [`Server::protocol`](crate::Server::protocol).
    ///
    /// # Errors
    /// [`Error::ShutDown`] where the server is closed, [`Error::WouldDeadlock`] on the thread of connections and
    /// handlers.
    pub fn protocol(&self) -> Result<Protocol> {
        wait(self.is_home(), self.0.protocol())?.map(Protocol)
    }

    /// Stops accepting, lets run what runs, closes: as [`Server::shutdown`](crate::Server::shutdown).
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn shutdown(&self) -> Result<()> {
        wait(self.is_home(), self.0.shutdown())?
    }

    /// Waits until the server is closed.
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn closed(&self) -> Result<()> {
        wait(self.is_home(), self.0.closed())
    }

    /// Waits for SIGINT or SIGTERM, then shuts down: as
    /// [`Server::run_until_signal`](crate::Server::run_until_signal).
    ///
    /// # Errors
    /// Those of the wait for signals, and [`Error::WouldDeadlock`] on the thread of connections and handlers.
    pub fn run_until_signal(&self) -> Result<()> {
        wait(self.is_home(), self.0.run_until_signal())?
    }
}

registers_at_run_time!(Server, |this| this.0.routes());

/// One connection with the seed library's functions: as [`Protocol`](crate::Protocol).
///
/// ```
/// use socketproto::Status;
/// use socketproto::blocking::{Client, Server};
///
/// # fn main() -> socketproto::Result<()> {
/// let server = Server::start("mem://")?;
/// let client = Client::connect(server.address())?;
/// let far = server.protocol()?;
/// assert!(client.protocol().send(50, 1, "hello", Status::OKAY, None));
/// let message = far.receive(50, 1, None).unwrap();
/// assert_eq!(message.data::<String>().unwrap(), "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a client's connection is closed when its last handle is dropped"]
pub struct Protocol(crate::protocol::Protocol);

impl Protocol {
    /// Sends a message: as [`Protocol::send`](crate::Protocol::send). Inside a callback it leaves the message to be sent
    /// and is true where the connection is ready; where it is not, nothing is sent.
    pub fn send<T: Serialize + ?Sized>(
        &self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
        data: &T,
        status: Status,
        timeout: impl Into<Option<Duration>>,
    ) -> bool {
        let sending = self.0.send(service_id, data_id, data, status, timeout);
        if self.is_home() {
            return sending.post();
        }
        wait(false, sending).unwrap_or(false)
    }

    /// Sends a message, with the reason where it is not sent: as
    /// [`Protocol::send_message`](crate::Protocol::send_message).
    ///
    /// # Errors
    /// Its own, and [`Error::WouldDeadlock`] inside a callback: nothing is sent.
    pub fn send_message(&self, message: &Message, timeout: impl Into<Option<Duration>>) -> Result<()> {
        wait(self.is_home(), self.0.send_message(message, timeout))?
    }

    /// The oldest message that no callback has taken, or the next: as [`Protocol::receive`](crate::Protocol::receive).
    /// Inside a callback there is none, and a warning is logged.
    pub fn receive(
        &self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
        timeout: impl Into<Option<Duration>>,
    ) -> Option<Message> {
        wait(self.is_home(), self.0.receive(service_id, data_id, timeout))
            .inspect_err(|error| warn!(%error, "no message received"))
            .unwrap_or(None)
    }

    /// Authenticates this side: as [`Protocol::authenticate`](crate::Protocol::authenticate). Inside a callback it tells
    /// whether it has.
    pub fn authenticate(&self, timeout: impl Into<Option<Duration>>) -> bool {
        wait(self.is_home(), self.0.authenticate(timeout))
            .unwrap_or_else(|_| self.check_authentication_state())
    }

    fn is_home(&self) -> bool {
        self.peer().link().routes().is_home()
    }

    /// The async twin of this handle.
    pub fn as_async(&self) -> &crate::protocol::Protocol {
        &self.0
    }

    /// The other side, for calls that wait for their answers: `protocol.peer().read::<f64>(1).wait()`.
    pub fn peer(&self) -> &Peer {
        self.0.peer()
    }

    /// Whether the peer, or this side towards it, has proved the secret.
    pub fn check_authentication_state(&self) -> bool {
        self.0.check_authentication_state()
    }

    /// Whether the line is there, and trusted where a secret is set.
    pub fn connection_established(&self) -> bool {
        self.0.connection_established()
    }

    /// Whether the line is there.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// The name of the channel: this side's, or the one taken over from the peer.
    pub fn channel_name(&self) -> Option<Arc<str>> {
        self.0.channel_name()
    }

    /// Closes the line: as [`Protocol::reconnect`](crate::Protocol::reconnect).
    pub fn reconnect(&self) {
        self.0.reconnect();
    }
}

registers_at_run_time!(Protocol, |this| this.0.peer().link().routes());

/// As the async handle shows itself.
impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<crate::protocol::Protocol> for Protocol {
    fn from(protocol: crate::protocol::Protocol) -> Self {
        Self(protocol)
    }
}

impl AsRef<Peer> for Protocol {
    fn as_ref(&self) -> &Peer {
        self.peer()
    }
}
