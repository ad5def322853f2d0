//! TCP.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::transport::host::HostPort;
use crate::transport::{Accept, Connect, Connected};

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
    pub(super) async fn bind(place: &HostPort) -> io::Result<Self> {
        let listener = TcpListener::bind((place.host.as_str(), place.port)).await?;
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
        !self.address.ip().is_loopback()
    }
}

fn connected(stream: TcpStream, peer: SocketAddr) -> Connected {
    // Answers gather in one write already, so Nagle's delay would only add to it. Where the option cannot be set the
    // line works all the same.
    let _ = stream.set_nodelay(true);
    Connected::stream(stream, format!("tcp://{peer}")).with_ip(peer.ip().to_canonical())
}
