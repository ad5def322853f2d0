//! Which address a TCP listener takes.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// A port that is in use ends the search: on the next address a second instance would serve unnoticed beside the first.
pub(super) fn listen_on_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpListener> {
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
    let reason = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have the address {}", address.ip())
        }
        io::ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {}; take one from 1024 on, or let a service manager hand it over",
            address.port()
        ),
        _ => return error,
    };
    io::Error::new(error.kind(), reason)
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

    #[test]
    fn a_port_that_this_user_may_not_have_is_named() {
        let error = explain(address("127.0.0.1", 80), io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("this user may not listen on port 80; take one"), "{error}");
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
