//! TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use crate::transport::host::HostPort;
use crate::transport::upgrade::Upgrades;
use crate::transport::{Accept, Connect, Connected, upgrade};

/// Connects to a host; its name is looked up anew each time, and all its addresses are tried.
pub(super) struct Connector(pub(super) HostPort);

impl Connect for Connector {
    fn address(&self) -> String {
        format!("tcp://{}", self.0)
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (stream, peer) = connect(&self.0).await?;
        Ok(Connected::stream(stream, format!("tcp://{peer}")).with_ip(peer.ip().to_canonical()))
    }
}

/// Connects to a host.
pub(super) async fn connect(place: &HostPort) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    let peer = stream.peer_addr()?;
    send_at_once(&stream);
    Ok((stream, peer))
}

pub(super) struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
    /// What stands in the address before `://`.
    scheme: &'static str,
    upgrades: Arc<Upgrades>,
}

impl Acceptor {
    pub(super) async fn bind(
        scheme: &'static str,
        place: &HostPort,
        upgrades: Arc<Upgrades>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((place.host.as_str(), place.port)).await?;
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
        send_at_once(&stream);
        let line = upgrade(stream, format!("{}://{peer}", self.scheme), &self.upgrades);
        Ok(line.with_ip(peer.ip().to_canonical()))
    }

    fn is_exposed(&self) -> bool {
        !self.upgrades.require_tls && !self.address.ip().is_loopback()
    }
}

/// Answers gather in one write already, so Nagle's delay would only add to it.
fn send_at_once(stream: &TcpStream) {
    // Where the option cannot be set the line works all the same.
    let _ = stream.set_nodelay(true);
}
