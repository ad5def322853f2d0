//! A connected line.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Sink, Stream as FuturesStream};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::transport::datagrams::Datagrams;
use crate::transport::notes::Notes;

/// A byte stream in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connected line, and who is at its other end: what an own transport gives.
///
/// ```
/// use socketproto::transport::Connected;
///
/// let (ours, theirs) = tokio::io::duplex(4096);
/// let line = Connected::stream(ours, "pipe://theirs");
/// assert_eq!(line.peer(), "pipe://theirs");
/// ```
#[must_use = "a line is closed when it is dropped"]
pub struct Connected {
    pub(crate) io: Io,
    pub(crate) peer: Arc<str>,
    pub(crate) ip: Option<IpAddr>,
    /// The peer's certificate, verified, as DER.
    pub(crate) certificate: Option<Arc<[u8]>>,
    /// Where the line holds more than the session sees.
    pub(crate) notes: Option<Arc<Notes>>,
    /// It may be used on another thread than the one that accepted it.
    pub(crate) any_thread: bool,
}

/// The line itself, or what has to be done before it is there.
pub(crate) enum Io {
    Stream(Box<dyn Stream>),
    Opening(Opening),
}

/// A handshake that is under way.
pub(crate) type Opening = Pin<Box<dyn Future<Output = io::Result<Connected>> + Send>>;

impl Connected {
    /// A byte stream. `peer` names the other end in logs and errors, as a URL.
    pub fn stream(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: impl Into<Arc<str>>,
    ) -> Self {
        Self::boxed(Box::new(stream), peer.into(), None)
    }

    /// A byte stream, and what a handshake has shown of the peer.
    pub(crate) fn boxed(stream: Box<dyn Stream>, peer: Arc<str>, certificate: Option<Arc<[u8]>>) -> Self {
        Self { io: Io::Stream(stream), peer, ip: None, certificate, notes: None, any_thread: false }
    }

    /// A line of whole datagrams that neither loses nor reorders them, as a WebSocket; each carries one frame, at most
    /// 2^28 - 1 bytes. Where the stream ends the peer has closed.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use futures_util::{Sink, Stream};
    /// use socketproto::transport::Connected;
    /// use std::io;
    ///
    /// fn line<S>(socket: S) -> Connected
    /// where
    ///     S: Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Send + Unpin + 'static,
    /// {
    ///     Connected::datagrams(socket, "radio://7")
    /// }
    /// ```
    pub fn datagrams(
        datagrams: impl FuturesStream<Item = io::Result<Bytes>>
        + Sink<Bytes, Error = io::Error>
        + Send
        + Unpin
        + 'static,
        peer: impl Into<Arc<str>>,
    ) -> Self {
        Self { notes: Some(Arc::default()), ..Self::stream(Datagrams::new(datagrams), peer) }
    }

    /// A line whose handshake has yet to be done. It is done in the task of the connection, so that a silent peer holds
    /// up no other; it may take as long as [`Limits::first_byte_timeout`](crate::Limits::first_byte_timeout).
    pub fn opening(
        handshake: impl Future<Output = io::Result<Self>> + Send + 'static,
        peer: impl Into<Arc<str>>,
    ) -> Self {
        let (io, peer) = (Io::Opening(Box::pin(handshake)), peer.into());
        Self { io, peer, ip: None, certificate: None, notes: None, any_thread: false }
    }

    /// Counts the line against [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address).
    pub fn with_ip(self, ip: IpAddr) -> Self {
        Self { ip: Some(ip), ..self }
    }

    /// Lets a server of several [workers](crate::ServerBuilder::workers) use the line on any of their threads. Without it
    /// the line stays on the thread that accepted it, which is the first.
    ///
    /// A socket of tokio belongs to the thread that made it: elsewhere it works, but each of its events goes through that
    /// thread. So it is better taken out of its runtime where it is accepted, and brought into the other one by the
    /// handshake, which is done there:
    ///
    /// ```
    /// use socketproto::transport::Connected;
    /// use std::io;
    /// use tokio::net::TcpStream;
    ///
    /// fn line(stream: TcpStream) -> io::Result<Connected> {
    ///     let stream = stream.into_std()?;
    ///     let handshake = async { Ok(Connected::stream(TcpStream::from_std(stream)?, "plug://7")) };
    ///     Ok(Connected::opening(handshake, "plug://7").on_any_thread())
    /// }
    /// ```
    pub fn on_any_thread(self) -> Self {
        Self { any_thread: true, ..self }
    }

    /// The peer's address, as a URL.
    pub fn peer(&self) -> &str {
        &self.peer
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("peer", &self.peer).finish_non_exhaustive()
    }
}
