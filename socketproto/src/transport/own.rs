//! What a transport has to do, those of this crate and those of a user's own.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;

use crate::transport::Connected;

/// Connects to a peer: the client's half of a transport (the seed library's `comm_instance` with `IS_CLIENT` true).
///
/// A [`Client`](struct@crate::Client) asks it for a line at its start and, where the line is lost, again and again with growing waits.
/// `examples/own_transport.rs` has both halves.
///
/// ```
/// use socketproto::transport::{Connect, Connected};
/// use std::io;
///
/// /// A bridge that is reached through a jump host.
/// struct Jump(String);
///
/// impl Connect for Jump {
///     fn address(&self) -> String {
///         format!("jump://{}", self.0)
///     }
///
///     async fn connect(&self) -> io::Result<Connected> {
///         let stream = tokio::net::TcpStream::connect(("127.0.0.1", 7)).await?;
///         Ok(Connected::stream(stream, self.address()))
///     }
/// }
/// ```
pub trait Connect: Send + Sync + 'static {
    /// The address, as a URL: for logs and errors. It may carry the options that are not of one transport: `framing`,
    /// `format`, `peer` and `line`, as in `pipe://kitchen?line=on`.
    fn address(&self) -> String;

    /// Connects once. Handshakes belong to it; it may take 5 s and is dropped then.
    ///
    /// # Errors
    /// Why there is no line; the text reaches the user as it is. A panic counts as an error.
    fn connect(&self) -> impl Future<Output = io::Result<Connected>> + Send;
}

/// Takes the lines of peers: the server's half of a transport.
///
/// ```
/// use socketproto::transport::{Accept, Connected};
/// use std::io;
///
/// struct Plug(tokio::net::TcpListener);
///
/// impl Accept for Plug {
///     fn address(&self) -> String {
///         "plug://here".to_owned()
///     }
///
///     async fn accept(&mut self) -> io::Result<Connected> {
///         let (stream, peer) = self.0.accept().await?;
///         Ok(Connected::stream(stream, format!("plug://{peer}")).with_ip(peer.ip()))
///     }
/// }
/// ```
pub trait Accept: Send + 'static {
    /// The address that peers connect to, as a URL. It may carry the options `framing`, `format` and `line`.
    fn address(&self) -> String;

    /// The next line. It must not wait for its peer: a handshake goes into [`Connected::opening`].
    ///
    /// # Errors
    /// Why there is none. The listener waits a moment, logs it and goes on, also after a panic.
    fn accept(&mut self) -> impl Future<Output = io::Result<Connected>> + Send;

    /// Whether peers can reach it from other machines, so that what crosses the network in clear has to be allowed
    /// ([`ServerBuilder::allow_plaintext`](crate::ServerBuilder::allow_plaintext)). Unless said otherwise: true.
    fn is_exposed(&self) -> bool {
        true
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Connect`] as an object.
pub(crate) trait Dial: Send + Sync {
    fn address(&self) -> String;
    fn dial(&self) -> BoxFuture<'_, io::Result<Connected>>;
}

impl<T: Connect> Dial for T {
    fn address(&self) -> String {
        Connect::address(self)
    }

    fn dial(&self) -> BoxFuture<'_, io::Result<Connected>> {
        Box::pin(contained(async { self.connect().await }))
    }
}

/// Runs foreign code: a panic ends this attempt, and not the thread's other connections.
async fn contained(attempt: impl Future<Output = io::Result<Connected>>) -> io::Result<Connected> {
    let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(io::Error::other("the transport panicked; standard error has where")))
}

/// What gives a client its lines.
pub(crate) type Connector = Arc<dyn Dial>;

/// [`Accept`] as an object.
trait Listen: Send {
    fn accept(self: Box<Self>) -> BoxFuture<'static, (Box<dyn Listen>, io::Result<Connected>)>;
}

impl<T: Accept> Listen for T {
    fn accept(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Listen>, io::Result<Connected>)> {
        Box::pin(async move {
            let accepted = contained(async { Accept::accept(&mut *self).await }).await;
            (self as Box<dyn Listen>, accepted)
        })
    }
}

/// An open listener of any transport.
pub(crate) struct Listener {
    accepting: BoxFuture<'static, (Box<dyn Listen>, io::Result<Connected>)>,
    address: String,
    exposed: bool,
}

impl Listener {
    pub(crate) fn new(acceptor: impl Accept) -> Self {
        let (address, exposed) = (acceptor.address(), acceptor.is_exposed());
        Self { accepting: Listen::accept(Box::new(acceptor)), address, exposed }
    }

    /// The address peers connect to, with the real port or name.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether peers can reach it from other machines.
    pub(crate) fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// The next connection.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connected>> {
        self.accepting.as_mut().poll(cx).map(|(acceptor, accepted)| {
            self.accepting = acceptor.accept();
            accepted
        })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
