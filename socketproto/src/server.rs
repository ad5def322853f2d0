//! The side that accepts.

mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures_util::future::Either;
use tokio_util::sync::CancellationToken;

use crate::actor::listener::{Listener, Peers, SHUTDOWN_TIMEOUT, Shutdown};
use crate::actor::runtime::Runtime;
use crate::error::{Error, Result};
use crate::limits::{LimitCounts, Tally};
use crate::mailbox::Mailbox;
use crate::peer::Peer;
use crate::protocol::Protocol;
use crate::registering::registers_at_run_time;
use crate::routes::Routes;
use crate::signals;
use crate::transport::{self, Address, OpenListener, Source};

pub use crate::server::builder::ServerBuilder;

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
    tally: Arc<Tally>,
    closed: CancellationToken,
    /// The threads that are its own, and end with it.
    runtime: Option<Runtime>,
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

    /// How often the limits were exceeded, by all connections together: see [`LimitCounts`].
    ///
    /// ```
    /// use socketproto::Server;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> socketproto::Result<()> {
    /// let server = Server::bind("mem://").start().await?;
    /// assert!(server.limit_counts().iter().all(|(_setting, times)| times == 0));
    /// # Ok(()) }
    /// ```
    pub fn limit_counts(&self) -> LimitCounts {
        self.0.tally.counts()
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
        match &self.0.runtime {
            Some(runtime) => runtime.shutdown().await,
            None => Ok(()),
        }
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
        self.listener.tell(Shutdown { within });
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
