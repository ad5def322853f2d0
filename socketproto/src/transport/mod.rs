//! Byte streams: addresses, connecting, accepting. One file for each kind; none knows of frames' content.

mod address;
mod memory;
mod tcp;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use address::{Address, Place};

/// A connected line.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connected line, and who is at its other end.
pub(crate) struct Connected {
    pub(crate) stream: Box<dyn Stream>,
    /// The peer's address as a URL.
    pub(crate) peer: Arc<str>,
    /// What connections are counted by; none where addresses say nothing.
    pub(crate) ip: Option<IpAddr>,
}

/// An open listener.
pub(crate) enum Listener {
    Tcp(tcp::Listener),
    Memory(memory::Listener),
}

impl Listener {
    /// Opens a listener.
    pub(crate) async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp { host, port } => tcp::Listener::bind(host, *port).await.map(Self::Tcp),
            Place::Memory { name } => memory::Listener::bind(name).map(Self::Memory),
        }
    }

    /// The address peers connect to, with the real port or name.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.address(),
            Self::Memory(listener) => Ok(listener.address()),
        }
    }

    /// The next connection.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connected>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx),
            Self::Memory(listener) => listener.poll_accept(cx),
        }
    }

    /// Whether peers can reach it from other machines.
    pub(crate) fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(listener) => !listener.is_loopback(),
            Self::Memory(_) => false,
        }
    }
}

/// Connects.
pub(crate) async fn connect(place: &Place) -> io::Result<Connected> {
    match place {
        Place::Tcp { host, port } => tcp::connect(host, *port).await,
        Place::Memory { name } => memory::connect(name).await,
    }
}

/// The descriptors this process may open; none where there is no such limit.
pub(crate) fn descriptor_limit() -> Option<usize> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    #[cfg(not(unix))]
    None
}
