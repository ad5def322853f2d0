//! TCP.

mod listen;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::transport::host::HostPort;
use crate::transport::moving::accepted;
use crate::transport::tcp::listen::listen_on_first;
use crate::transport::upgrade::Upgrades;
use crate::transport::{Accept, Connect, Connected};

/// A line without a byte is asked whether the other side is still there after this time, then again and again
/// (protocol.md 7.3).
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// Bytes that are not acknowledged for this long end the line (protocol.md 7.3).
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// An address of a name gets this long before the next one is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Connects to a host.
pub(super) struct Connector(pub(super) HostPort);

impl Connect for Connector {
    fn address(&self) -> String {
        format!("tcp://{}", self.0)
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (stream, peer) = connect(&self.0).await?;
        Ok(Connected::stream(stream, format!("tcp://{peer}")).with_ip(peer.ip()))
    }
}

pub(super) struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
    /// What stands in the address before `://`.
    scheme: &'static str,
    upgrades: Arc<Upgrades>,
}

impl Acceptor {
    /// Listens on the first address of a host that this machine has.
    pub(super) async fn bind(
        scheme: &'static str,
        place: &HostPort,
        upgrades: Arc<Upgrades>,
    ) -> io::Result<Self> {
        Self::new(scheme, listen_on_first(addresses(place).await?)?, upgrades)
    }

    /// Takes over a socket that listens already.
    pub(super) fn open(listener: StdTcpListener, upgrades: Arc<Upgrades>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::new("tcp", TcpListener::from_std(listener)?, upgrades)
    }

    fn new(scheme: &'static str, listener: TcpListener, upgrades: Arc<Upgrades>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, scheme, upgrades })
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        let (stream, peer) = self.listener.accept().await?;
        let peer = prepare(&stream, peer);
        let line = accepted(stream, format!("{}://{peer}", self.scheme), &self.upgrades)?;
        Ok(line.with_ip(peer.ip()))
    }

    fn is_exposed(&self) -> bool {
        !self.upgrades.require_tls && !self.address.ip().to_canonical().is_loopback()
    }
}

/// Connects to a host; its name is looked up anew each time.
pub(super) async fn connect(place: &HostPort) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = connect_to_first(addresses(place).await?).await?;
    let peer = prepare(&stream, stream.peer_addr()?);
    Ok((stream, peer))
}

/// The addresses of a host.
async fn addresses(place: &HostPort) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let HostPort { host, port } = place;
    lookup_host((host.as_str(), *port)).await.map_err(|error| {
        let reason =
            format!("the name `{host}` cannot be resolved: {error}; check its spelling, and the network");
        io::Error::new(error.kind(), reason)
    })
}

/// Connects to the first address that answers. One that stays silent does not keep the others from being tried.
async fn connect_to_first(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(addresses.next().map(TcpStream::connect));
        let outcome = match addresses.peek() {
            Some(_) => tokio::time::timeout(NEXT_ADDRESS, attempts.next()).await,
            None => Ok(attempts.next().await),
        };
        match outcome {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

/// The address of a listener that was made elsewhere.
pub(super) fn address_of(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|_| "tcp://".to_owned(), |address| format!("tcp://{address}"))
}

/// What every line is set to, and the peer as it is shown and counted.
fn prepare(stream: &TcpStream, peer: SocketAddr) -> SocketAddr {
    // Answers gather in one write already, so Nagle's delay would only add to it. Where an option cannot be set the
    // line works all the same.
    let _ = stream.set_nodelay(true);
    keep_alive(stream);
    // A client that reaches `[::]` over IPv4 is shown and counted by its IPv4 address.
    match peer.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, peer.port()),
        IpAddr::V6(_) => peer,
    }
}

/// Lets the operating system find out that the other side has vanished without a word.
fn keep_alive(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME);
    #[cfg(not(any(target_os = "haiku", target_os = "openbsd")))]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where nobody listens, while the socket lives.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_line_asks_whether_the_other_side_is_still_there() {
        let (listener, address) = listener().await;
        let client = TcpStream::connect(address).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        for stream in [&client, &server] {
            prepare(stream, peer);
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        }
        assert_eq!(prepare(&server, peer), client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_is_named() {
        // No name server is asked for a name with a blank in it.
        let place = HostPort { host: "no such host".to_owned(), port: 1 };
        let error = connect(&place).await.unwrap_err().to_string();
        assert!(error.starts_with("the name `no such host` cannot be resolved: "), "{error}");
    }

    #[tokio::test]
    async fn each_address_of_a_name_is_tried() {
        let (_socket, nobody) = closed();
        let (_listener, somebody) = listener().await;
        let stream = connect_to_first([nobody, nobody, somebody]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), somebody);
        let error = connect_to_first([nobody, nobody]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_to_first([]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_stays_silent_does_not_hold_up_the_next() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        // Nobody accepts: once the queue is full the system answers no more.
        let fill = (0..4).map(|_| tokio::time::timeout(NEXT_ADDRESS, TcpStream::connect(silent)));
        let _queue = futures_util::future::join_all(fill).await;
        let (_listener, somebody) = listener().await;
        let stream = connect_to_first([silent, somebody]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), somebody);
    }
}
