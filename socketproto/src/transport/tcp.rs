//! TCP.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::transport::host::HostPort;
use crate::transport::{Accept, Connect, Connected};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// Connects to a host; its name is looked up anew each time, and all its addresses are tried.
pub(super) struct Connector(pub(super) HostPort);

impl Connect for Connector {
    fn address(&self) -> String {
        format!("tcp://{}", self.0)
    }

    async fn connect(&self) -> io::Result<Connected> {
        let stream = TcpStream::connect((self.0.host.as_str(), self.0.port)).await?;
        let peer = stream.peer_addr()?;
        Ok(connected(stream, peer))
    }
}

pub(super) struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
}

impl Acceptor {
    /// Listens on the first address of a host that this machine has.
    pub(super) async fn bind(place: &HostPort) -> io::Result<Self> {
        Self::new(listen_on_first(lookup_host((place.host.as_str(), place.port)).await?)?)
    }

    /// Takes over a socket that listens already.
    pub(super) fn open(listener: StdTcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::new(TcpListener::from_std(listener)?)
    }

    fn new(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        format!("tcp://{}", self.address)
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        let (stream, peer) = self.listener.accept().await?;
        Ok(connected(stream, peer))
    }

    fn is_exposed(&self) -> bool {
        !self.address.ip().to_canonical().is_loopback()
    }
}

/// A port that is in use ends the search: on the next address a second instance would serve unnoticed beside the first.
fn listen_on_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(in_use(address)),
            Err(error) => failed = explain(address, error),
        }
    }
    Err(failed)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again at once finds its port still held by connections that have ended. Windows has no such
    // wait, and there the option would let a second program share the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // `[::]` is every address of both families, whatever the system's default is.
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn in_use(address: SocketAddr) -> io::Error {
    let reason = format!(
        "port {} of {} is in use by another program or server; end it, or take port 0 for a free one",
        address.port(),
        address.ip()
    );
    io::Error::new(io::ErrorKind::AddrInUse, reason)
}

fn explain(address: SocketAddr, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            let reason = format!("this machine does not have the address {}", address.ip());
            io::Error::new(error.kind(), reason)
        }
        _ => error,
    }
}

/// The address of a listener that was made elsewhere.
pub(super) fn address_of(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|_| "tcp://".to_owned(), |address| format!("tcp://{address}"))
}

fn connected(stream: TcpStream, peer: SocketAddr) -> Connected {
    // Answers gather in one write already, so Nagle's delay would only add to it. Where the option cannot be set the
    // line works all the same.
    let _ = stream.set_nodelay(true);
    // A client that reaches `[::]` over IPv4 is shown and counted by its IPv4 address.
    let peer = match peer.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, peer.port()),
        IpAddr::V6(_) => peer,
    };
    Connected::stream(stream, format!("tcp://{peer}")).with_ip(peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, port: u16) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), port)
    }

    #[tokio::test]
    async fn the_first_address_that_the_machine_has_is_taken() {
        // From the block for documentation: no machine has it.
        let addresses = ["192.0.2.1", "127.0.0.1", "0.0.0.0"].map(|ip| address(ip, 0));
        let listener = listen_on_first(addresses.into_iter()).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), addresses[1].ip());
        let error = listen_on_first([addresses[0], addresses[0]].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "this machine does not have the address 192.0.2.1");
        assert_eq!(listen_on_first(std::iter::empty()).unwrap_err().to_string(), "the name has no address");
    }

    #[tokio::test]
    async fn a_port_in_use_ends_the_search() {
        let first = listen(address("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let addresses = [first.local_addr().unwrap(), address("127.0.0.1", 0)];
        let error = listen_on_first(addresses.into_iter()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("port {port} of 127.0.0.1 is in use")), "{error}");
    }
}
