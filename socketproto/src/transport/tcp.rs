//! TCP.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream};

use crate::transport::Connected;

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

pub(super) async fn connect(host: &str, port: u16) -> io::Result<Connected> {
    let stream = TcpStream::connect((host, port)).await?;
    let peer = stream.peer_addr()?;
    Ok(connected(stream, peer))
}

fn connected(stream: TcpStream, peer: SocketAddr) -> Connected {
    // Answers gather in one write already, so Nagle's delay would only add to it. Where the option cannot be set the
    // line works all the same.
    let _ = stream.set_nodelay(true);
    Connected { stream: Box::new(stream), peer: url(peer).into(), ip: Some(peer.ip().to_canonical()) }
}

fn url(address: SocketAddr) -> String {
    format!("tcp://{address}")
}
