//! The side that accepts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures_util::future::Either;
use tokio_util::sync::CancellationToken;

use crate::actor::Endpoint;
use crate::actor::listener::{Listener, Peers, Shutdown};
use crate::actor::runtime::Runtime;
use crate::endpoint::Settings;
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::hosted::IntoService;
use crate::id::{DataId, ServiceId, ServiceIds, Status};
use crate::limits::Limits;
use crate::message::{Json, Message};
use crate::peer::Peer;
use crate::protocol::Protocol;
use crate::registering::registers_at_run_time;
use crate::routes::Routes;
use crate::secret::Secret;
use crate::service::{Call, Service};
use crate::session::Role;
use crate::signals;
#[cfg(feature = "tls")]
use crate::transport::ServerTls;
use crate::transport::{self, Address, OpenListener, ServerSetup, Source};

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
    listener: Addr<Listener>,
    peers: Peers,
    routes: Arc<Routes>,
    closed: CancellationToken,
}

impl Server {
    /// Begins a server on an address.
    ///
    /// | address | listens on |
    /// | --- | --- |
    /// | `tcp://HOST:PORT` | port 0 takes a free one. `0.0.0.0` is every IPv4 address of the machine, `[::]` every one of IPv4 and IPv6; of a name, as `localhost`, the first address that the machine has, and that alone |
    /// | `tls://HOST:PORT` | the same, by TLS (feature `tls`) |
    /// | `ws://HOST:PORT/PATH` | a port where the path, `/` unless said, gives a WebSocket, and nothing else is taken (feature `websocket`) |
    /// | `wss://HOST:PORT/PATH` | the same, by TLS (features `tls` and `websocket`) |
    /// | `unix:///PATH` | a socket in the file system (feature `unix`, on Unix). The path is absolute, and taken as it is up to the `?` |
    /// | `systemd://`, `systemd://INDEX`, `systemd://NAME` | the first listener that a service manager passes (`LISTEN_FDS`), one by its number from 0 on, or the first with this name (feature `unix`, on Unix) |
    /// | `serial:///PATH` | a serial port (feature `serial`, on Unix) |
    /// | `mem://NAME` | this process; no name takes a free one |
    ///
    /// | option | of | meaning |
    /// | --- | --- | --- |
    /// | `framing=stp`, `framing=length` | all but `ws` and `wss`, where it is length | fixes the framing, which the first byte of a client tells otherwise |
    /// | `ping=SECONDS`, `ping=off` | `ws`, `wss` | a peer that is silent for so long, 1 to 86400 s, is pinged, and is lost where it stays silent for as long again; 30 s unless said |
    /// | `mode=0660` | `unix` | the permissions of the socket, octal, 0000 to 0777; without it 0600: its owner alone may connect |
    ///
    /// A Unix socket that a server left behind is replaced, once a failed attempt to connect has shown that nobody
    /// listens; whatever else has the path is left as it is, and an error. The file is removed when the server shuts down.
    /// Where somebody removes it earlier, connections live on, and nothing listens there again until the server is started
    /// anew.
    ///
    /// A serial line has the options of [`Client::connect`](crate::Client::connect). It leads to one peer, which is there
    /// whether anybody has been heard or not. A port that is missing, at the start or later, is opened when it is there;
    /// one that is busy, forbidden or no serial port, or cannot do the rate, is an error of the start. Where the peer is
    /// one of the Python library the address says `?peer=old`; without it this side calls no peer that has not said
    /// HELLO.
    pub fn bind(address: impl Into<String>) -> ServerBuilder {
        ServerBuilder::new(Address::parse(&address.into()).map(Source::Address))
    }

    /// Begins a server on a socket that listens already: one that was inherited, or made before the program gave up its
    /// rights. It is closed with the server; the file of a Unix socket stays.
    ///
    /// ```
    /// use socketproto::{Client, Server};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    /// let server = Server::from_listener(listener).start().await?;
    /// let client = Client::connect(server.address()).await?;
    /// # Ok(()) }
    /// ```
    pub fn from_listener(listener: impl Into<OpenListener>) -> ServerBuilder {
        ServerBuilder::new(Ok(Source::Open(listener.into())))
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
        ServerBuilder::new(Ok(Source::Own(transport::Listener::new(transport))))
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

    /// The connection of the first peer that is there or comes, point to point as in the seed library: see [`Protocol`].
    /// From this call on, what no callback takes is kept for `receive`. Where the peer has gone and connects again, this
    /// gives its new connection.
    ///
    /// # Errors
    /// [`Error::ShutDown`] where the server is closed.
    ///
    /// ```
    /// use socketproto::{Client, Server, Status};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("mem://").start().await?;
    /// let client = Client::connect(server.address()).await?;
    /// let protocol = server.protocol().await?;
    /// assert!(client.protocol().send(50, 1, "hello", Status::OKAY, None).await);
    /// let message = protocol.receive(50, 1, None).await.unwrap();
    /// assert_eq!(message.data::<String>().unwrap(), "hello");
    /// # Ok(()) }
    /// ```
    pub async fn protocol(&self) -> Result<Protocol> {
        self.0.routes.buffer();
        let first = std::pin::pin!(self.0.peers.first());
        let closed = std::pin::pin!(self.closed());
        match futures_util::future::select(closed, first).await {
            Either::Left(_) => Err(Error::ShutDown),
            Either::Right((peer, _)) => Ok(peer.protocol()),
        }
    }

    /// What it serves.
    #[cfg(feature = "blocking")]
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.0.routes
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

    /// Waits for SIGINT or SIGTERM (elsewhere than on Unix: Ctrl-C), then shuts down, as [`Server::shutdown`] does: what
    /// runs has 5 s to end.
    ///
    /// Signals are taken from the call on, not from the first poll of what it gives: so a program that says that it
    /// serves, or tells its service manager, calls it before.
    ///
    /// A second signal ends the process at once, also while something hangs, with the code a shell gives for it: 130
    /// for SIGINT, 143 for SIGTERM. So does every signal from then on, for the whole process, also when this future has
    /// been dropped. Several servers may wait, the first signal is for all of them.
    ///
    /// # Errors
    /// [`Error::Config`] where signals cannot be waited for.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = socketproto::Server::bind("tcp://127.0.0.1:0").start().await?;
    /// let signalled = server.run_until_signal();
    /// println!("listening on {}", server.address());
    /// signalled.await
    /// # }
    /// ```
    pub fn run_until_signal(&self) -> impl Future<Output = Result<()>> + Send {
        let signalled = signals::first();
        async move {
            signalled?.await;
            self.shutdown().await
        }
    }
}

registers_at_run_time!(Server, |this| &this.0.routes);

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

/// What a server is told before it starts.
#[must_use = "a server runs once it is started"]
pub struct ServerBuilder {
    /// What is wrong with an address is told at the start.
    source: Result<Source>,
    settings: Settings,
    setup: ServerSetup,
    allow_plaintext: bool,
}

impl ServerBuilder {
    fn new(source: Result<Source>) -> Self {
        Self { source, settings: Settings::new(), setup: ServerSetup::default(), allow_plaintext: false }
    }

    /// Clients have to prove that they know this secret before anything but public data is served.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.settings.secret = Some(secret);
        self
    }

    /// Lets clients authenticate by hand, where a secret is set: they have 60 s for it, and again after each public
    /// request; once they begin, 10 s (protocol.md section 8). The default is false: 10 s from accept, unless there are
    /// public data.
    pub fn manual_auth(mut self, manual_auth: bool) -> Self {
        self.settings.auto_auth = !manual_auth;
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
        self.settings.add_service(request.into(), response.into(), None);
        self
    }

    /// As `add_service`, with names for logs: `"history request"`, `"history response"`.
    pub fn add_named_service(
        mut self,
        request: impl Into<ServiceId>,
        response: impl Into<ServiceId>,
        request_name: impl Into<String>,
        response_name: impl Into<String>,
    ) -> Self {
        let names = (request_name.into(), response_name.into());
        self.settings.add_service(request.into(), response.into(), Some(names));
        self
    }

    /// Names a datum in logs, for one service id or several: `10`, or `[10, 20]`.
    pub fn add_data(
        mut self,
        service_ids: impl ServiceIds,
        data_id: impl Into<DataId>,
        name: impl Into<String>,
    ) -> Self {
        self.settings.add_data(service_ids.into_service_ids(), data_id.into(), name.into());
        self
    }

    /// Names a status in logs.
    pub fn add_status(mut self, status: Status, name: impl Into<String>) -> Self {
        self.settings.add_status(status, name.into());
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

    /// Listens on an address that other machines reach, although it takes connections in clear.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Takes TLS with this certificate: on `tls://` and `wss://`, which need one, and on every other listener of byte
    /// streams beside frames in clear, told by the first byte (protocol.md section 3): `tcp://`, `ws://`, `unix://`,
    /// `systemd://` and [`Server::from_listener`].
    ///
    /// ```
    /// use socketproto::{Server, ServerTls};
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let server = Server::bind("tls://0.0.0.0:4000")
    ///     .tls(ServerTls::from_files("chain.pem", "key.pem")?.client_ca_file("clients.pem")?)
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.setup.tls = Some(Arc::new(tls));
        self
    }

    /// Refuses whatever does not begin with TLS. Unless said: true on `tls://` and `wss://`, false elsewhere. Where it is
    /// required, other machines may reach the listener without [`ServerBuilder::allow_plaintext`].
    #[cfg(feature = "tls")]
    pub fn require_tls(mut self, require: bool) -> Self {
        self.setup.require_tls = Some(require);
        self
    }

    /// Takes the certificate of a client, which [`ServerTls::client_ca_file`] has asked for, for the secret: such a
    /// client is trusted from the begin (protocol.md section 5). Clients without one still have to prove the secret,
    /// where they may connect at all.
    #[cfg(feature = "tls")]
    pub fn trust_client_certificates(mut self, trust: bool) -> Self {
        self.setup.trust_certificates = trust;
        self
    }

    /// Takes a WebSocket too, at the path `/`, on a listener of byte streams: one port of `tcp://` or `tls://` for programs
    /// and browsers, or a socket of `unix://`, `systemd://` or [`Server::from_listener`] behind a web server. Pages have to
    /// be allowed by [`allowed_origins`](Self::allowed_origins).
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("tcp://127.0.0.1:0").websocket(true).start().await?;
    /// let client = Client::connect(server.address().replace("tcp://", "ws://")).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self, take: bool) -> Self {
        self.setup.websocket = take;
        self
    }

    /// The web pages that may connect: the origins their browsers name, as `https://example.com` or
    /// `http://127.0.0.1:8000`, and `null` for pages opened from a file. None unless said here, for any page that somebody
    /// looks at could otherwise reach services of that machine (protocol.md section 3). Whatever sends no origin is no
    /// page, and may connect.
    ///
    /// ```
    /// use socketproto::Server;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("ws://127.0.0.1:0/rooms")
    ///     .allowed_origins(["https://rooms.example.com"])
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "websocket")]
    pub fn allowed_origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.setup.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Opens the listener and serves.
    ///
    /// # Errors
    /// [`Error::Address`] for an address that cannot be understood, [`Error::Bind`] where it cannot be listened on,
    /// [`Error::DuplicateHandler`], [`Error::ReservedSid`], [`Error::RequestSidExists`], [`Error::ResponseSidExists`]
    /// and [`Error::Config`] for settings that do not go together.
    pub async fn start(self) -> Result<Server> {
        let Self { source, mut settings, setup, allow_plaintext } = self;
        let source = source?;
        let options = source.options()?;
        setup.check(&source, &options, settings.secret.is_some())?;
        settings.trust_certificates = setup.trust_certificates;
        let endpoint = settings.build(Role::Server, &options)?;
        let runtime = Runtime::current()?;
        runtime
            .run(move || async move {
                let listener = source.open(&setup).await?;
                let address = listener.address().to_owned();
                if listener.is_exposed() && !allow_plaintext {
                    return Err(exposed(&address));
                }
                let endpoint = Arc::new(Endpoint::start(endpoint)?);
                let routes = Arc::clone(&endpoint.routes);
                let closed = CancellationToken::new();
                let peers = Peers::default();
                let listener = Listener::start(listener, endpoint, peers.clone(), closed.clone());
                tracing::info!(%address, "server listens");
                Ok(Server(Arc::new(Inner { address, listener, peers, routes, closed })))
            })
            .await?
    }
}

fn exposed(address: &str) -> Error {
    Error::Config {
        setting: "allow_plaintext",
        reason: format!(
            "{address} can be reached from other machines and takes connections in clear; listen on tls:// or on \
             127.0.0.1, or accept that with `.allow_plaintext(true)`"
        )
        .into(),
    }
}

/// An address alone, as [`Server::bind`] takes it.
impl From<&str> for ServerBuilder {
    fn from(address: &str) -> Self {
        Server::bind(address)
    }
}

/// An address alone.
impl From<String> for ServerBuilder {
    fn from(address: String) -> Self {
        Server::bind(address)
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").finish_non_exhaustive()
    }
}
