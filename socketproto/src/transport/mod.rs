//! Lines to peers: addresses, connecting, accepting, and what an own transport has to do.
//!
//! One file for each kind; none knows what frames say. Each is built on the two traits that an own transport implements:
//! [`Connect`] for a client's half ([`Client::over`](crate::Client::over)), [`Accept`] for a server's
//! ([`Server::over`](crate::Server::over)).

mod address;
mod datagrams;
mod disturb;
mod handshake;
mod host;
mod line;
mod memory;
mod moving;
mod notes;
mod open;
mod options;
mod own;
#[cfg(all(unix, feature = "serial"))]
mod serial;
mod setup;
mod source;
#[cfg(all(unix, feature = "unix"))]
mod systemd;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(all(unix, feature = "unix"))]
mod unix;
mod upgrade;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

use std::io;
use std::sync::Arc;

pub(crate) use address::{Address, Place};
pub use disturb::Direction;
pub(crate) use disturb::{Blow, Hub, Plan};
pub(crate) use handshake::HandshakeFailed;
pub use line::Connected;
pub(crate) use line::{Io, Opening, Stream};
pub(crate) use notes::{Farewell, Notes};
pub use open::OpenListener;
pub(crate) use options::Options;
pub use own::{Accept, Connect};
pub(crate) use own::{Connector, Listener};
pub(crate) use setup::{ClientSetup, ServerSetup};
pub(crate) use source::Source;
#[cfg(feature = "tls")]
pub use tls::{ClientTls, ServerTls};

use crate::error::Error;

/// Opens a listener.
///
/// # Errors
/// [`Error::Bind`] where the address cannot be listened on.
pub(crate) async fn bind(address: &Address, setup: &ServerSetup) -> Result<Listener, Error> {
    let Address { place, options } = address;
    let upgrades = Arc::new(setup.upgrades(Some(place), options));
    let listener = match place {
        Place::Tcp(host) => tcp::Acceptor::bind("tcp", host, upgrades).await.map(Listener::new),
        #[cfg(feature = "tls")]
        Place::Tls(host) => tcp::Acceptor::bind("tls", host, upgrades).await.map(Listener::new),
        Place::Memory { name } => memory::Acceptor::bind(name).map(Listener::new),
        #[cfg(feature = "websocket")]
        Place::WebSocket(place) => websocket::Acceptor::bind(place, upgrades).await.map(Listener::new),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => serial::Acceptor::bind(serial.clone()).await.map(Listener::new),
        #[cfg(all(unix, feature = "unix"))]
        Place::Unix(place) => unix::Acceptor::bind(place, upgrades).await.map(Listener::new),
        #[cfg(all(unix, feature = "unix"))]
        Place::Systemd(which) => systemd::bind(which, upgrades),
    };
    listener.map_err(|source| Error::Bind { address: place.to_string().into(), source })
}

/// What gives a client its lines.
///
/// # Errors
/// [`Error::Config`] where the setup does not fit the address, [`Error::Address`] for a place where one can only listen.
pub(crate) fn connector(place: Place, setup: ClientSetup) -> Result<Connector, Error> {
    setup.check(Some(&place))?;
    Ok(match place {
        Place::Tcp(place) => Arc::new(tcp::Connector(place)),
        #[cfg(feature = "tls")]
        Place::Tls(place) => {
            let tls = setup.encrypt_to(&place.host)?;
            Arc::new(tls::Connector { place, tls })
        }
        Place::Memory { name } => Arc::new(memory::Connector(name)),
        #[cfg(all(unix, feature = "serial"))]
        Place::Serial(serial) => Arc::new(serial::Connector(serial)),
        #[cfg(all(unix, feature = "unix"))]
        Place::Unix(place) => Arc::new(unix::Connector::new(place)?),
        #[cfg(all(unix, feature = "unix"))]
        Place::Systemd(which) => {
            let reason =
                "systemd:// is for servers; connect to the address that the `.socket` unit listens on";
            return Err(Error::Address { address: which.to_string().into(), reason: reason.into() });
        }
        #[cfg(feature = "websocket")]
        Place::WebSocket(place) => {
            #[cfg(feature = "tls")]
            let tls = place.is_tls().then(|| setup.encrypt_to(&place.host.host)).transpose()?;
            #[cfg(not(feature = "tls"))]
            let tls = None;
            Arc::new(websocket::Connector { place, tls })
        }
    })
}

/// What a test disturbs the lines of a listener by; none where they leave the process.
pub(crate) fn hub(place: &Place) -> Option<io::Result<Arc<Hub>>> {
    match place {
        Place::Memory { name } => Some(memory::hub(name)),
        _ => None,
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
