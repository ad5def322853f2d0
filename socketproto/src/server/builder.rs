//! What a server is told before it starts, and its start.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "actix")]
use actix::Addr;
use tokio_util::sync::CancellationToken;

use crate::actor::Endpoint;
use crate::actor::listener::{Listener, Peers};
use crate::actor::runtime::Runtime;
use crate::actor::workers::Placement;
use crate::endpoint::Settings;
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::hosted::IntoService;
use crate::limits::Limits;
use crate::peer::Peer;
use crate::registering::registers_before_the_start;
use crate::secret::Secret;
use crate::server::{Inner, Server};
use crate::service::{Call, Service};
use crate::session::Role;
#[cfg(feature = "tls")]
use crate::transport::ServerTls;
use crate::transport::{ServerSetup, Source};

/// What a server is told before it starts.
#[must_use = "a server runs once it is started"]
pub struct ServerBuilder {
    /// What is wrong with an address is told at the start.
    source: Result<Source>,
    settings: Settings,
    setup: ServerSetup,
    allow_plaintext: bool,
    penalize_loopback: bool,
    placement: Placement,
}

impl ServerBuilder {
    pub(super) fn new(source: Result<Source>) -> Self {
        Self {
            source,
            settings: Settings::new(),
            setup: ServerSetup::default(),
            allow_plaintext: false,
            penalize_loopback: false,
            placement: Placement::default(),
        }
    }

    /// Clients have to prove that they know this secret before anything but public data is served, and get a proof
    /// that this server does: in secure mode, which encrypts all that follows (protocol.md 5.2).
    pub fn secret(mut self, secret: Secret) -> Self {
        self.settings.credentials.secret = Some(secret);
        self
    }

    /// Takes clients of this secret as well, beside the one of [`secret`](Self::secret): each has a key id of its own, see
    /// [`Secret::with_kid`]. In secure mode alone; it may be said again.
    pub fn further_secret(mut self, secret: Secret) -> Self {
        self.settings.credentials.further.push(secret);
        self
    }

    /// Takes clients too that prove the secret by [`Level::Legacy`](crate::Level::Legacy), as those of the Python library do:
    /// false unless said. What they send and get is in clear, and one login that was listened to can be searched for the
    /// secret; so give them one of their own ([`legacy_secret`](Self::legacy_secret)), and ask
    /// [`Call::level`](crate::Call::level) before what they may not do.
    pub fn accept_legacy(mut self, accept: bool) -> Self {
        self.settings.credentials.accept_legacy = accept;
        self
    }

    /// The secret that old clients prove, instead of the one of [`secret`](Self::secret).
    ///
    /// ```
    /// use socketproto::{Secret, Server};
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let server = Server::bind("tcp://127.0.0.1:0")
    ///     .secret(Secret::from_env("SECRET")?)
    ///     .accept_legacy(true)
    ///     .legacy_secret(Secret::from_env("OLD_SECRET")?)
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn legacy_secret(mut self, secret: Secret) -> Self {
        self.settings.credentials.legacy_secret = Some(secret);
        self
    }

    /// Takes secrets that could be found by trying: a passphrase below 12 characters, or one together with
    /// [`accept_legacy`](Self::accept_legacy). False unless said.
    pub fn allow_weak_secret(mut self, allow: bool) -> Self {
        self.settings.credentials.allow_weak_secret = allow;
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

    /// Serves the connections of each [worker](Self::workers) with a service of its own, made by the closure on that thread
    /// when the server starts. Such services share nothing: what they have in common is for the closure to hand in, for
    /// example an `Arc` of an atomic. Requests do not cross threads, so this is what scales; of a service handed to
    /// [`service`](Self::service) there is one for all.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use socketproto::prelude::*;
    ///
    /// /// Counts the requests of all workers.
    /// #[derive(Service, Client)]
    /// #[did(1, read = fn next() -> u64)]
    /// struct Counter {
    ///     count: Arc<AtomicU64>,
    /// }
    ///
    /// impl Counter {
    ///     fn next(&mut self) -> u64 {
    ///         self.count.fetch_add(1, Ordering::Relaxed)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let count = Arc::new(AtomicU64::new(7));
    /// let server = Server::bind("tcp://127.0.0.1:0")
    ///     .workers(2)
    ///     .service_per_worker(move || Counter { count: Arc::clone(&count) })
    ///     .start()
    ///     .await?;
    /// let (first, second) = (Client::connect(server.address()).await?, Client::connect(server.address()).await?);
    /// assert_eq!(CounterClient::new(&first).next().await?, 7);
    /// assert_eq!(CounterClient::new(&second).next().await?, 8);
    /// server.shutdown().await
    /// # }
    /// ```
    pub fn service_per_worker<S: Service>(mut self, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        self.settings.service_per_worker(make);
        self
    }

    /// Runs the server on the threads of a runtime, which others may share. A later [`workers`](Self::workers) replaces
    /// this.
    pub fn runtime(mut self, runtime: &Runtime) -> Self {
        self.placement = Placement::On(runtime.clone());
        self
    }

    /// Runs the server on so many threads of its own, 1 to 1024, which end with it: [`Server::shutdown`] joins them. It
    /// replaces an earlier [`runtime`](Self::runtime). Unless one of both is said, a server runs on the one thread of the
    /// process, or inside an actix system on the caller's.
    ///
    /// Each connection, its handshakes included, lives on one of the threads: the one with the fewest, taking turns where
    /// they are equal. The first thread accepts, and has all of which there is one: services handed to
    /// [`service`](Self::service), callbacks, lines of `serial://`, and lines of own transports that do not say
    /// [`on_any_thread`](crate::transport::Connected::on_any_thread). Connections of the other threads hand such a service
    /// their requests in batches, so order, limits and time-outs are the same everywhere, at a higher price;
    /// [`service_per_worker`](Self::service_per_worker) and [`service_per_peer`](Self::service_per_peer) cross no threads.
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// #[derive(Service, Default)]
    /// struct Echo {
    ///     #[did(1, read, write)]
    ///     value: u64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("tcp://127.0.0.1:0").workers(2).service(Echo::default()).start().await?;
    /// let (writes, reads) = (Client::connect(server.address()).await?, Client::connect(server.address()).await?);
    /// writes.write(1, &7).await?;
    /// assert_eq!(reads.read::<u64>(1).await?, 7);
    /// server.shutdown().await
    /// # }
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.placement = Placement::Own(workers);
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

    /// Follows connections: see [`ConnectionEvent`]. The closure runs on the thread of the connection and must not
    /// block; a panic in it is contained. With several [workers](Self::workers) it may run on several threads at once; the
    /// events of one connection come one after the other.
    pub fn on_event(mut self, follow: impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_event(follow);
        self
    }

    /// What is taken from peers; all [workers](Self::workers) count together.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits(limits);
        self
    }

    /// Listens on an address that other machines reach, although it takes connections in clear: one without a secret, or
    /// with none but for Legacy. One that requires TLS, or has a secret, needs no such word.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Whether loopback is an address as any other: counted and penalised (protocol.md section 8). The default is false, for
    /// all clients of a proxy on this machine have it.
    pub fn penalize_loopback(mut self, penalize: bool) -> Self {
        self.penalize_loopback = penalize;
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
        let Self { source, mut settings, mut setup, allow_plaintext, penalize_loopback, placement } = self;
        let source = source?;
        let options = source.options()?;
        setup.check(&source, &options, settings.credentials.is_some())?;
        settings.trust_certificates = setup.trust_certificates;
        let endpoint = settings.build(Role::Server, &options)?;
        let is_secure = endpoint.config.secure;
        let workers = placement.workers()?;
        setup.spread = workers.len() > 1;
        let home = workers.home().clone();
        let start = move || async move {
            let listener = source.open(&setup).await?;
            let address = listener.address().to_owned();
            if listener.is_exposed() && !allow_plaintext && !is_secure {
                return Err(exposed(&address));
            }
            let runtime = workers.owned().cloned();
            let endpoint = Arc::new(Endpoint::start(endpoint, workers).await?);
            let routes = Arc::clone(&endpoint.routes);
            let (closed, tally) = (CancellationToken::new(), Arc::clone(&endpoint.tally));
            let peers = Peers::default();
            let listener =
                Listener::start(listener, endpoint, peers.clone(), closed.clone(), penalize_loopback);
            tracing::info!(%address, "server listens");
            Ok(Server(Arc::new(Inner { address, listener, peers, routes, tally, closed, runtime })))
        };
        home.run(start).await?
    }

    /// Whether the server will run on this thread, which must not wait for it then.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_here(&self) -> bool {
        self.placement.is_here()
    }
}

registers_before_the_start!(ServerBuilder);

fn exposed(address: &str) -> Error {
    Error::Config {
        setting: "allow_plaintext",
        reason: format!(
            "{address} can be reached from other machines and takes connections in clear; give both sides a \
             secret, listen on tls:// or on 127.0.0.1, or accept that with `.allow_plaintext(true)`"
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
