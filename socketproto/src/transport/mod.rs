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
mod open;
mod own;
#[cfg(all(unix, feature = "serial"))]
mod serial;
#[cfg(all(unix, feature = "unix"))]
mod systemd;
mod tcp;
#[cfg(all(unix, feature = "unix"))]
mod unix;

use std::io;
use std::sync::Arc;

pub(crate) use address::{Address, Options, Place};
pub use disturb::Direction;
pub(crate) use disturb::{Blow, Hub, Plan};
pub use line::Connected;
pub(crate) use line::{Io, Opening, Stream};
pub use open::OpenListener;
pub use own::{Accept, Connect};
pub(crate) use own::{Connector, Listener};

use crate::error::Error;

/// Opens a listener.
pub(crate) async fn bind(place: &Place) -> io::Result<Listener> {
    match place {
        Place::Tcp(place) => tcp::Acceptor::bind(place).await.map(Listener::new),
        Place::Memory { name } => memory::Acceptor::bind(name).map(Listener::new),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => serial::Acceptor::bind(serial.clone()).await.map(Listener::new),
        #[cfg(all(unix, feature = "unix"))]
        Place::Unix(place) => unix::Acceptor::bind(place).await.map(Listener::new),
        #[cfg(all(unix, feature = "unix"))]
        Place::Systemd(which) => systemd::bind(which),
    }
}

/// What gives a client its lines.
///
/// # Errors
/// [`Error::Address`] for a place where one can only listen.
pub(crate) fn connector(place: Place) -> Result<Connector, Error> {
    Ok(match place {
        Place::Tcp(place) => Arc::new(tcp::Connector(place)),
        Place::Memory { name } => Arc::new(memory::Connector(name)),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => Arc::new(serial::Connector(serial)),
        #[cfg(all(unix, feature = "unix"))]
        Place::Unix(place) => Arc::new(unix::Connector(place)),
        #[cfg(all(unix, feature = "unix"))]
        Place::Systemd(which) => {
            let reason =
                "systemd:// is for servers; connect to the address that the `.socket` unit listens on";
            return Err(Error::Address { address: which.to_string().into(), reason: reason.into() });
        }
    })
}

/// What a test disturbs the lines of a listener by; none where they leave the process.
pub(crate) fn hub(place: &Place) -> Option<io::Result<Arc<Hub>>> {
    match place {
        Place::Memory { name } => Some(memory::hub(name)),
        Place::Tcp(_) => None,
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(_) => None,
        #[cfg(all(unix, feature = "unix"))]
        Place::Unix(_) | Place::Systemd(_) => None,
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
