//! The side that connects.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use crate::actor::connector::{Connect, connect};
use crate::actor::runtime::Runtime;
use crate::actor::workers::Placement;
use crate::backoff::Backoff;
use crate::endpoint::Settings;
use crate::error::Result;
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::hosted::IntoService;
use crate::id::Level;
use crate::limits::{LimitCounts, Limits, Tally};
use crate::peer::Peer;
use crate::registering::{registers_at_run_time, registers_before_the_start};
use crate::secret::Secret;
use crate::service::{Call, Service};
use crate::session::Role;
#[cfg(feature = "tls")]
use crate::transport::ClientTls;
use crate::transport::{self, Address, ClientSetup, Connector, Options};

/// A connection to a server. Clones mean the same connection; it is closed when the last of them, and of its
/// [`Peer`]s and calls, is dropped.
///
/// Where its line is lost, calls that were sent fail at once with [`Error::ConnectionLost`](crate::Error::ConnectionLost)
/// and are never sent again by themselves. The client connects again, with growing waits ([`ClientBuilder::backoff`]);
/// calls made meanwhile wait for the next line up to their own timeout.
///
/// It dereferences to [`Peer`], where the calls are; a derived client such as `LampClient::new(&client)` gives them
/// types and names.
///
/// ```
/// use socketproto::{Client, Json, Server, ServiceId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let server = Server::bind("mem://")
///     .register_callback(Some(ServiceId::READ_REQUEST), Some(7.into()), |_| Ok(Json::encode(&21.5).unwrap_or_default()))
///     .start()
///     .await?;
/// let client = Client::connect(server.address()).await?;
/// assert_eq!(client.read::<f64>(7).await?, 21.5);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a connection is closed when its last handle is dropped"]
pub struct Client(Peer, Arc<Tally>);

impl Client {
    /// Begins a connection to an address; await it to connect.
    ///
    /// | address | connects to |
    /// | --- | --- |
    /// | `tcp://HOST:PORT` | a listener of `tcp://` |
    /// | `unix:///PATH` | a socket in the file system (feature `unix`, on Unix) |
    /// | `tls://HOST:PORT` | one that takes TLS (feature `tls`) |
    /// | `ws://HOST:PORT/PATH`, `wss://..` | one that takes a WebSocket, there, or at `/` where no path is said (feature `websocket`, the second with `tls`) |
    /// | `serial:///PATH` | whoever is at the other end of a serial line (see below) |
    /// | `mem://NAME` | a listener of this process |
    ///
    /// Options: `?peer=old` speaks to a peer of the Python library, which no WebSocket leads to; `?format=struct` sends
    /// struct frames until the peer shows its own format; `?framing=stp` speaks STP to one that takes nothing else, where
    /// length framing is the default; `?ping=SECONDS` and `?ping=off` of `ws` and `wss` are those of
    /// [`Server::bind`](crate::Server::bind).
    ///
    /// A name is resolved anew at each attempt to connect, and all its addresses are tried. An IPv6 address stands in
    /// brackets, as in `tcp://[::1]:4000`.
    ///
    /// # Serial lines
    /// They need the feature `serial`, and Unix. The port is named by its path, which is followed anew each time it is
    /// opened, so `/dev/serial/by-id/..` finds an adapter wherever it is plugged in. Both ends need the same settings:
    ///
    /// | option | default | |
    /// | --- | --- | --- |
    /// | `baud=` | 115200 | bits per second, 50 to 4,000,000; a rate that the port cannot do is an error |
    /// | `parity=` | `none` | `none`, `even` or `odd` |
    /// | `stop=` | 1 | stop bits, 1 or 2 |
    /// | `flow=` | `none` | `none`, or `hardware` (RTS and CTS) |
    /// | `echo=` | `off` | `on` where one hears what one says, as on a pair of wires that both directions share |
    ///
    /// There are 8 data bits, STP framing, and no end of connection (protocol.md section 4): a client connects when the
    /// peer has answered, which it does within 5 s or with [`Error::NotReady`](crate::Error::NotReady); a
    /// [`lazy`](ClientBuilder::lazy) one waits for ever. A peer that restarts is noticed by its HELLO, or by its refusal
    /// of a peer that it should trust; then calls fail with [`Error::ConnectionLost`](crate::Error::ConnectionLost) and
    /// the client logs in anew. While the port is gone it is tried again as any server that cannot be reached.
    ///
    /// **Time-outs include the time on the line.** 9,600 baud carry 960 bytes a second, so a call with 8 KiB of data and
    /// an answer of the same size takes 17 s, longer than the default of 10 s: give it its
    /// [`timeout`](crate::PendingCall::timeout).
    ///
    /// ```no_run
    /// use socketproto::Client;
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let meter = Client::connect("serial:///dev/ttyUSB0?baud=9600&parity=even").await?;
    /// # Ok(()) }
    /// ```
    pub fn connect(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(Target::Address(address.into()))
    }

    /// Begins a connection over a transport of the user's own.
    ///
    /// ```
    /// use socketproto::transport::{Connect, Connected};
    /// use socketproto::Client;
    ///
    /// # async fn demo(pipe: impl Connect) -> socketproto::Result<()> {
    /// let client = Client::over(pipe).await?;
    /// # Ok(()) }
    /// ```
    pub fn over(transport: impl transport::Connect) -> ClientBuilder {
        ClientBuilder::new(Target::Own(Arc::new(transport)))
    }

    /// How often the limits were exceeded, all lines of the connection together.
    ///
    /// ```
    /// use socketproto::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("mem://").start().await?;
    /// let client = Client::connect(server.address()).await?;
    /// assert_eq!(client.limit_counts().get("max_frame"), Some(0));
    /// # Ok(()) }
    /// ```
    pub fn limit_counts(&self) -> LimitCounts {
        self.1.counts()
    }

    /// Closes the connection for good: calls that wait fail at once, and nothing connects again.
    pub async fn close(&self) {
        self.0.link().request_close();
        self.closed().await;
    }

    /// Waits until the connection is closed for good. A line that is lost is not the end: the client connects again;
    /// [`ClientBuilder::on_event`] tells of it.
    pub async fn closed(&self) {
        self.0.link().closed().await;
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

/// What a client is told before it connects; await it to connect. To give up waiting is to give up connecting.
#[must_use = "a client connects when it is awaited"]
pub struct ClientBuilder {
    target: Target,
    settings: Settings,
    setup: ClientSetup,
    old_peer: bool,
    backoff: Backoff,
    lazy: bool,
    placement: Placement,
}

/// Where a client connects to.
enum Target {
    Address(String),
    Own(Connector),
}

impl ClientBuilder {
    fn new(target: Target) -> Self {
        Self {
            target,
            settings: Settings::new(),
            setup: ClientSetup::default(),
            old_peer: false,
            backoff: Backoff::default(),
            lazy: false,
            placement: Placement::default(),
        }
    }

    /// Proves to the server that this side knows the secret, and has the server prove it too: in secure mode, which encrypts
    /// all that follows (protocol.md 5.2), unless [`level`](Self::level) or [`old_peer`](Self::old_peer) say otherwise.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.settings.credentials.secret = Some(secret);
        self
    }

    /// The level that is spoken, and no other, whatever the server answers: [`Level::Secure`], unless the server is an
    /// [`old_peer`](Self::old_peer). A server that knows secure mode gets no [`Level::Legacy`] from this client:
    /// [`Error::PeerCanDoSecure`](crate::Error::PeerCanDoSecure).
    pub fn level(mut self, level: Level) -> Self {
        self.settings.credentials.level = Some(level);
        self
    }

    /// Takes a secret that could be found by trying: a passphrase below 12 characters, or one together with
    /// [`Level::Legacy`]. False unless said.
    pub fn allow_weak_secret(mut self, allow: bool) -> Self {
        self.settings.credentials.allow_weak_secret = allow;
        self
    }

    /// Speaks Legacy even to a server that knows secure mode: for tests of such servers.
    #[doc(hidden)]
    pub fn ignore_sentinel(mut self, ignore: bool) -> Self {
        self.settings.credentials.ignore_sentinel = ignore;
        self
    }

    /// Whether the client authenticates as soon as it is connected, where it has a secret: true, and always in secure mode.
    /// Else
    /// [`Protocol::authenticate`](crate::Protocol::authenticate) does it, and until then the server serves its public
    /// data alone; it needs [`manual_auth(true)`](crate::ServerBuilder::manual_auth) to wait longer than 10 s for that.
    pub fn auto_auth(mut self, auto_auth: bool) -> Self {
        self.settings.auto_auth = auto_auth;
        self
    }

    /// The name of the channel in logs: 1 to 64 characters without control characters. The server takes it over.
    pub fn channel_name(mut self, name: impl Into<String>) -> Self {
        self.settings.channel_name(name.into());
        self
    }

    /// The server is one of the Python library: STP framing, [`Level::Legacy`], no HELLO, answers in the order of the
    /// calls.
    pub fn old_peer(mut self) -> Self {
        self.old_peer = true;
        self
    }

    /// Serves a service to the server.
    pub fn service(mut self, service: impl IntoService) -> Self {
        self.settings.service(0, service);
        self
    }

    /// Serves a service with all its data ids shifted.
    pub fn service_at(mut self, shift: u32, service: impl IntoService) -> Self {
        self.settings.service(shift, service);
        self
    }

    /// Serves each line of the connection with a service of its own, as
    /// [`ServerBuilder::service_per_peer`](crate::ServerBuilder::service_per_peer).
    pub fn service_per_peer<S: Service>(mut self, make: impl Fn(Peer) -> S + Send + Sync + 'static) -> Self {
        self.settings.service_per_peer(make);
        self
    }

    /// Judges every request of the server before its handler, as
    /// [`ServerBuilder::authorize`](crate::ServerBuilder::authorize).
    pub fn authorize<F>(mut self, judge: F) -> Self
    where
        F: AsyncFn(Call<()>) -> Result<(), Fault> + Send + Sync + 'static,
    {
        self.settings.authorize(judge);
        self
    }

    /// Follows the connection: see [`ConnectionEvent`]. The closure runs on the thread of the connection and must not
    /// block; a panic in it is contained.
    pub fn on_event(mut self, follow: impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_event(follow);
        self
    }

    /// The waits between attempts to connect again when the line is lost: 100 ms to 30 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Returns at once and connects later; calls wait for the line, up to their own timeout.
    ///
    /// ```
    /// use socketproto::{Client, Error};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let client = Client::connect("mem://nobody-yet").lazy().await?;
    /// let error = client.read::<f64>(1).timeout(Duration::from_millis(1)).await.unwrap_err();
    /// assert!(matches!(error, Error::TimedOut { .. }));
    /// # Ok(()) }
    /// ```
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Whom to trust on `tls://`, and the certificate to show there; without it the authorities of the web are trusted
    /// and none is shown.
    ///
    /// ```
    /// use socketproto::{Client, ClientTls};
    ///
    /// # async fn demo() -> socketproto::Result<()> {
    /// let tls = ClientTls::new().ca_file("ca.pem")?;
    /// let client = Client::connect("tls://device.example:4000").tls(tls).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.setup.tls = Some(tls);
        self
    }

    /// Runs the client, its services included, on one of the threads of a runtime: one client after the other on the next.
    /// Otherwise it runs on the one thread of the process, or inside an actix system on the caller's.
    pub fn runtime(mut self, runtime: &Runtime) -> Self {
        self.placement = Placement::On(runtime.clone());
        self
    }

    /// What is taken from the server.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits(limits);
        self
    }

    async fn open(self) -> Result<Client> {
        let Self { target, settings, setup, old_peer, backoff, lazy, placement } = self;
        let (connector, options) = match target {
            Target::Address(address) => {
                let mut address = Address::parse(&address)?;
                if old_peer {
                    address.set_old_peer()?;
                }
                (transport::connector(address.place, setup)?, address.options)
            }
            Target::Own(connector) => {
                setup.check(None)?;
                let address = connector.address();
                let mut options = Options::of(&address)?;
                if old_peer {
                    options.set_old_peer(&address)?;
                }
                (connector, options)
            }
        };
        let endpoint = settings.build(Role::Client, &options)?;
        let workers = placement.worker()?;
        let home = workers.home().clone();
        home.run(move || connect(Connect { connector, endpoint, backoff, lazy, workers }))
            .await?
            .map(|(peer, tally)| Client(peer, tally))
    }

    /// Whether the client will run on this thread, which must not wait for it then.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_here(&self) -> bool {
        self.placement.is_here()
    }
}

registers_before_the_start!(ClientBuilder);

/// Connects, and waits until calls can be made: the line is there within 5 s, and its TLS
/// handshake done within [`Limits::first_byte_timeout`], HELLO is answered, and where a secret is
/// set the server has taken the key.
///
/// # Errors
/// [`Error::Address`](crate::Error::Address), [`Error::Config`](crate::Error::Config) and its kin for what was said to
/// the builder; [`Error::Connect`](crate::Error::Connect) where nobody answers,
/// [`Error::Handshake`](crate::Error::Handshake) where TLS fails,
/// [`Error::WrongSecret`](crate::Error::WrongSecret), [`Error::PeerCanDoSecure`](crate::Error::PeerCanDoSecure),
/// [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed),
/// [`Error::PeerTooOld`](crate::Error::PeerTooOld), [`Error::NotReady`](crate::Error::NotReady).
impl IntoFuture for ClientBuilder {
    type Output = Result<Client>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Client>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// An address alone, as [`Client::connect`] takes it.
impl From<&str> for ClientBuilder {
    fn from(address: &str) -> Self {
        Client::connect(address)
    }
}

/// An address alone.
impl From<String> for ClientBuilder {
    fn from(address: String) -> Self {
        Client::connect(address)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}
