//! Connecting: from an address to a connection that is ready.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actor::connection::Connection;
use crate::actor::{Endpoint, StartHandler};
use crate::error::{Error, Result};
use crate::link::Link;
use crate::peer::Peer;
use crate::secret::Secret;
use crate::session::{CloseReason, Config};
use crate::transport::{self, Connected, Place};

/// How long the line may take to be there; a session has its own times.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client connects with.
pub(crate) struct Connect {
    pub(crate) place: Place,
    pub(crate) config: Config,
    pub(crate) secret: Option<Secret>,
    pub(crate) handlers: Vec<StartHandler>,
}

/// Connects, and waits until calls can be made.
pub(crate) async fn connect(connect: Connect) -> Result<Peer> {
    let Connect { place, config, secret, handlers } = connect;
    let address: Box<str> = place.to_string().into();
    let line = line(&place).await.map_err(|source| Error::Connect { address: address.clone(), source })?;
    let link = Arc::new(Link::new(Arc::clone(&line.peer)));
    let peer = Peer::of_client(Arc::clone(&link));
    let endpoint = Arc::new(Endpoint::start(config, handlers, secret)?);
    let (sender, ready) = oneshot::channel();
    Connection::start(line, link, endpoint, Some(sender), Box::new(|| {}));
    match ready.await {
        Ok(Ok(())) => Ok(peer),
        Ok(Err(reason)) => Err(not_ready(address, &reason)),
        Err(_) => Err(Error::ShutDown),
    }
}

async fn line(place: &Place) -> io::Result<Connected> {
    match tokio::time::timeout(CONNECT_TIMEOUT, transport::connect(place)).await {
        Ok(connected) => connected,
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}")))
        }
    }
}

fn not_ready(address: Box<str>, reason: &CloseReason) -> Error {
    match reason {
        CloseReason::PeerTooOld => Error::PeerTooOld { address },
        CloseReason::AuthenticationFailed(reason) => {
            Error::AuthenticationFailed { address, reason: (*reason).into() }
        }
        other => Error::NotReady { address, reason: other.to_string().into() },
    }
}
