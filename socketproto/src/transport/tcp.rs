//! TCP.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::Connected;

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

pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(super) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        TcpListener::bind((host, port)).await.map(Self)
    }

    pub(super) fn address(&self) -> io::Result<String> {
        self.0.local_addr().map(url)
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.0.local_addr().is_ok_and(|address| address.ip().is_loopback())
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Connected>> {
        self.0.poll_accept(cx).map(|accepted| {
            let (stream, peer) = accepted?;
            Ok(connected(stream, peer))
        })
    }
}

/// Connects to a name, which is resolved anew each time.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<Connected> {
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let stream = connect_to_first(addresses).await?;
    let peer = stream.peer_addr()?;
    Ok(connected(stream, peer))
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

fn connected(stream: TcpStream, peer: SocketAddr) -> Connected {
    // Answers gather in one write already, so Nagle's delay would only add to it. Where an option cannot be set the
    // line works all the same.
    let _ = stream.set_nodelay(true);
    keep_alive(&stream);
    Connected { stream: Box::new(stream), peer: url(peer).into(), ip: Some(peer.ip().to_canonical()) }
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

fn url(address: SocketAddr) -> String {
    format!("tcp://{address}")
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
            keep_alive(stream);
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        }
        assert_eq!(&*connected(server, peer).peer, format!("tcp://{}", client.local_addr().unwrap()));
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
