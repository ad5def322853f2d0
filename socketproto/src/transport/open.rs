//! Sockets that listen already, because others made them.

use std::io;
use std::net::TcpListener;
#[cfg(all(unix, feature = "unix"))]
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use crate::transport::own::Listener;
use crate::transport::tcp;
#[cfg(all(unix, feature = "unix"))]
use crate::transport::unix;
use crate::transport::upgrade::Upgrades;

/// A socket that listens already, for [`Server::from_listener`](crate::Server::from_listener). It is made of a
/// `std::net::TcpListener` and, on Unix with the feature `unix`, of a `std::os::unix::net::UnixListener`.
///
/// ```
/// use socketproto::Server;
/// use socketproto::transport::OpenListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let listener = OpenListener::from(std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"));
/// let server = Server::from_listener(listener).start().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OpenListener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(all(unix, feature = "unix"))]
    Unix(UnixListener),
}

impl From<TcpListener> for OpenListener {
    fn from(listener: TcpListener) -> Self {
        Self(Socket::Tcp(listener))
    }
}

#[cfg(all(unix, feature = "unix"))]
impl From<UnixListener> for OpenListener {
    fn from(listener: UnixListener) -> Self {
        Self(Socket::Unix(listener))
    }
}

impl OpenListener {
    /// Registers it with the runtime of this thread.
    pub(crate) fn listen(self, upgrades: Arc<Upgrades>) -> io::Result<Listener> {
        match self.0 {
            Socket::Tcp(listener) => tcp::Acceptor::open(listener, upgrades).map(Listener::new),
            #[cfg(all(unix, feature = "unix"))]
            Socket::Unix(listener) => unix::Acceptor::open(listener, upgrades).map(Listener::new),
        }
    }

    /// Where it listens, for errors.
    pub(crate) fn address(&self) -> String {
        match &self.0 {
            Socket::Tcp(listener) => tcp::address_of(listener.local_addr()),
            #[cfg(all(unix, feature = "unix"))]
            Socket::Unix(listener) => unix::address_of(listener),
        }
    }
}
