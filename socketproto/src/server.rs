//! The side that accepts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio_util::sync::CancellationToken;

use crate::actor::Endpoint;
use crate::actor::listener::{Listener, Peers, Shutdown};
use crate::actor::runtime::Runtime;
use crate::endpoint::Settings;
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::hosted::IntoService;
use crate::id::{DataId, ServiceId};
use crate::limits::Limits;
use crate::message::{Json, Message};
use crate::peer::Peer;
use crate::secret::Secret;
use crate::service::{Call, Service};
use crate::session::Role;
use crate::transport::{self, Address, Options};

/// How long requests that run may take when a server is shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Clones mean the same server; it is closed when the last of them is dropped.
///
/// ```
/// use socketproto::prelude::*;
///
/// #[derive(Service, Client)]
/// struct Lamp {
///     #[did(1, read, write)]
///     on: bool,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let server = Server::bind("mem://").service(Lamp { on: false }).start().await?;
/// let client = Client::connect(server.address()).await?;
/// let lamp = LampClient::new(&client);
/// lamp.set_on(true).await?;
/// assert!(lamp.on().await?);
/// server.shutdown().await
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a server is closed when its last handle is dropped"]
pub struct Server(Arc<Inner>);

struct Inner {
    address: String,
    runtime: Runtime,
    listener: Addr<Listener>,
    peers: Peers,
    closed: CancellationToken,
}

impl Server {
    /// Begins a server on an address: `tcp://HOST:PORT` (port 0 takes a free one), `mem://NAME` (no name takes a
    /// free one) or `serial:///dev/ttyUSB0`. Options: `?framing=stp` or `length` fixes the framing, which the first byte
    /// of a client tells otherwise.
    ///
    /// A serial line has the options of [`Client::connect`](crate::Client::connect). It leads to one peer, which is there
    /// whether anybody has been heard or not. A port that is missing, at the start or later, is opened when it is there;
    /// one that is busy, forbidden or no serial port, or cannot do the rate, is an error of the start. Where the peer is
    /// one of the Python library the address says `?peer=old`; without it this side calls no peer that has not said
    /// HELLO.
    pub fn bind(address: impl Into<String>) -> ServerBuilder {
        ServerBuilder::new(Source::Address(address.into()))
    }

    /// Begins a server over a transport of the user's own.
    ///
    /// ```
    /// use socketproto::Server;
    /// use socketproto::transport::Accept;
    ///
    /// # async fn demo(plug: impl Accept) -> socketproto::Result<()> {
    /// let server = Server::over(plug).allow_plaintext(true).start().await?;
    /// # Ok(()) }
    /// ```
    pub fn over(transport: impl transport::Accept) -> ServerBuilder {
        ServerBuilder::new(Source::Own(transport::Listener::new(transport)))
    }

    /// The address clients connect to, with the real port or name.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// The peers that are connected, in the order in which they came; they can be called.
    ///
    /// ```
    /// # async fn demo(server: socketproto::Server) {
    /// for peer in server.peers() {
    ///     println!("{} is trusted: {}", peer.address(), peer.is_trusted());
    /// }
    /// # }
    /// ```
    pub fn peers(&self) -> Vec<Peer> {
        self.0.peers.list()
    }

    /// Stops accepting, lets run what runs for up to 5 s, sends what is left, closes, and ends the services: their
    /// `stopping` hooks have run when this returns, unless one takes longer than the time that is left.
    ///
    /// # Errors
    /// None today; the result leaves room for them.
    pub async fn shutdown(&self) -> Result<()> {
        self.0.shutdown(SHUTDOWN_TIMEOUT);
        self.closed().await;
        Ok(())
    }

    /// Waits until the server is closed.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// Waits for SIGINT or SIGTERM (elsewhere than on Unix: Ctrl-C), then shuts down.
    ///
    /// # Errors
    /// [`Error::Config`] where signals cannot be waited for.
    pub async fn run_until_signal(&self) -> Result<()> {
        let signalled = self.0.runtime.run(signal).await?;
        signalled.map_err(|error| Error::Config { setting: "signals", reason: error.to_string().into() })?;
        self.shutdown().await
    }
}

impl Inner {
    fn shutdown(&self, within: Duration) {
        self.listener.do_send(Shutdown { within });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.0.address).finish_non_exhaustive()
    }
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (interrupted, terminated) = (std::pin::pin!(interrupt.recv()), std::pin::pin!(terminate.recv()));
    futures_util::future::select(interrupted, terminated).await;
    Ok(())
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// What a server is told before it starts.
#[must_use = "a server runs once it is started"]
pub struct ServerBuilder {
    source: Source,
    settings: Settings,
    allow_plaintext: bool,
}

/// Where a server gets its connections.
enum Source {
    Address(String),
    Own(transport::Listener),
}

impl Source {
    fn options(&self) -> Result<Options> {
        match self {
            Self::Address(address) => Address::parse(address).map(|address| address.options),
            Self::Own(listener) => Options::of(listener.address()),
        }
    }

    /// Opens the listener.
    async fn open(self) -> Result<transport::Listener> {
        match self {
            Self::Address(address) => {
                let place = Address::parse(&address)?.place;
                let failed = |source| Error::Bind { address: place.to_string().into(), source };
                transport::bind(&place).await.map_err(failed)
            }
            Self::Own(listener) => Ok(listener),
        }
    }
}

impl ServerBuilder {
    fn new(source: Source) -> Self {
        Self { source, settings: Settings::new(), allow_plaintext: false }
    }

    /// Clients have to prove that they know this secret before anything but public data is served.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.settings.secret = Some(secret);
        self
    }

    /// The name of the channel in logs: 1 to 64 characters without control characters. A client's own name goes
    /// first.
    pub fn channel_name(mut self, name: impl Into<String>) -> Self {
        self.settings.channel_name(name.into());
        self
    }

    /// Serves a service, as an actor of its own. A program that has to step into it while it runs hands in a
    /// [`Hosted`](crate::Hosted).
    pub fn service(mut self, service: impl IntoService) -> Self {
        self.settings.service(0, service);
        self
    }

    /// Serves a service with all its data ids shifted, so that one type can be served more than once.
    pub fn service_at(mut self, shift: u32, service: impl IntoService) -> Self {
        self.settings.service(shift, service);
        self
    }

    /// Serves an actix actor, which stays where it was started: `#[service(actor)]`.
    #[cfg(feature = "actix")]
    pub fn service_addr<A>(mut self, addr: Addr<A>) -> Self
    where
        A: Service + actix::Handler<crate::actix::Request<A>>,
        A::Context: actix::dev::ToEnvelope<A, crate::actix::Request<A>>,
    {
        self.settings.service(0, crate::actix::Bridge(addr));
        self
    }

    /// Serves each connection with a service of its own, made by the closure when the line is there.
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// #[derive(Service)]
    /// struct Greeting {
    ///     #[did(1, read)]
    ///     text: String,
    /// }
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let server = Server::bind("mem://")
    ///     .service_per_peer(|peer| Greeting { text: format!("hello, {}", peer.address()) })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn service_per_peer<S: Service>(mut self, make: impl Fn(Peer) -> S + Send + Sync + 'static) -> Self {
        self.settings.service_per_peer(make);
        self
    }

    /// Judges every request before its handler; a fault is the answer. Requests of one peer are judged one after the
    /// other, so that their order stays.
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let server = Server::bind("mem://")
    ///     .authorize(async |call| match call.service_id() {
    ///         ServiceId::WRITE_REQUEST => Err(Fault::not_permitted("read only")),
    ///         _ => Ok(()),
    ///     })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn authorize<F>(mut self, judge: F) -> Self
    where
        F: AsyncFn(Call<()>) -> Result<(), Fault> + Send + Sync + 'static,
    {
        self.settings.authorize(judge);
        self
    }

    /// Follows connections: see [`ConnectionEvent`]. The closure runs on the thread of the connections and must not
    /// block; a panic in it is contained.
    pub fn on_event(mut self, follow: impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_event(follow);
        self
    }

    /// Runs a closure for messages of a service and datum; `None` stands for all of them. Where several match, both
    /// ids go before the service alone, the service before the datum, the datum before all (protocol.md section 6).
    ///
    /// ```
    /// use socketproto::{Json, Message, Server, ServiceId};
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let echo = Server::bind("mem://")
    ///     .register_callback(Some(ServiceId::READ_REQUEST), None, |message| Ok(message.json().clone()))
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn register_callback<F>(
        mut self,
        service_id: Option<ServiceId>,
        data_id: Option<DataId>,
        callback: F,
    ) -> Self
    where
        F: FnMut(&Message) -> Result<Json, Fault> + Send + 'static,
    {
        self.settings.callback(service_id, data_id, callback);
        self
    }

    /// Declares a service of the application: messages of `request` are answered with `response`.
    pub fn add_service(mut self, request: impl Into<ServiceId>, response: impl Into<ServiceId>) -> Self {
        self.settings.add_service(request.into(), response.into());
        self
    }

    /// Serves a datum to peers that have not authenticated; `public` in a declaration says the same.
    pub fn add_msg_to_auth_whitelist(
        mut self,
        service_id: impl Into<ServiceId>,
        data_id: impl Into<DataId>,
    ) -> Self {
        self.settings.whitelist(service_id.into(), data_id.into());
        self
    }

    /// What is taken from peers.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits(limits);
        self
    }

    /// Listens on an address that other machines reach, although everything crosses the network unencrypted.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Opens the listener and serves.
    ///
    /// # Errors
    /// [`Error::Address`] for an address that cannot be understood, [`Error::Bind`] where it cannot be listened on,
    /// [`Error::DuplicateHandler`], [`Error::ReservedSid`], [`Error::RequestSidExists`], [`Error::ResponseSidExists`]
    /// and [`Error::Config`] for settings that do not go together.
    pub async fn start(self) -> Result<Server> {
        let Self { source, settings, allow_plaintext } = self;
        let endpoint = settings.build(Role::Server, &source.options()?)?;
        let runtime = Runtime::current()?;
        let own = runtime.clone();
        runtime
            .run(move || async move {
                let listener = source.open().await?;
                let address = listener.address().to_owned();
                if listener.is_exposed() && !allow_plaintext {
                    return Err(exposed(&address));
                }
                let endpoint = Arc::new(Endpoint::start(endpoint)?);
                let closed = CancellationToken::new();
                let peers = Peers::default();
                let listener = Listener::start(listener, endpoint, peers.clone(), closed.clone());
                tracing::info!(%address, "server listens");
                Ok(Server(Arc::new(Inner { address, runtime: own, listener, peers, closed })))
            })
            .await?
    }
}

fn exposed(address: &str) -> Error {
    Error::Config {
        setting: "allow_plaintext",
        reason: format!(
            "{address} can be reached from other machines and this version does not encrypt; listen on 127.0.0.1, or \
             accept that with `.allow_plaintext(true)`"
        )
        .into(),
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").finish_non_exhaustive()
    }
}
