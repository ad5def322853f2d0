//! Lines to peers: addresses, connecting, accepting, and what an own transport has to do.
//!
//! One file for each kind; none knows what frames say. Each is built on the two traits that an own transport implements:
//! [`Connect`] for a client's half ([`Client::over`](crate::Client::over)), [`Accept`] for a server's
//! ([`Server::over`](crate::Server::over)).

mod address;
mod datagrams;
mod disturb;
mod host;
mod line;
mod memory;
mod own;
#[cfg(all(unix, feature = "serial"))]
mod serial;
mod tcp;

use std::io;
use std::sync::Arc;

pub(crate) use address::{Address, Options, Place};
pub use disturb::Direction;
pub(crate) use disturb::{Blow, Hub, Plan};
pub use line::Connected;
pub(crate) use line::{Io, Opening, Stream};
pub use own::{Accept, Connect};
pub(crate) use own::{Connector, Listener};

/// Opens a listener.
pub(crate) async fn bind(place: &Place) -> io::Result<Listener> {
    match place {
        Place::Tcp(place) => tcp::Acceptor::bind(place).await.map(Listener::new),
        Place::Memory { name } => memory::Acceptor::bind(name).map(Listener::new),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => serial::Acceptor::bind(serial.clone()).await.map(Listener::new),
    }
}

/// What gives a client its lines.
pub(crate) fn connector(place: Place) -> Connector {
    match place {
        Place::Tcp(place) => Arc::new(tcp::Connector(place)),
        Place::Memory { name } => Arc::new(memory::Connector(name)),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => Arc::new(serial::Connector(serial)),
    }
}

/// What a test disturbs the lines of a listener by; none where they leave the process.
pub(crate) fn hub(place: &Place) -> Option<io::Result<Arc<Hub>>> {
    match place {
        Place::Memory { name } => Some(memory::hub(name)),
        Place::Tcp(_) => None,
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(_) => None,
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
