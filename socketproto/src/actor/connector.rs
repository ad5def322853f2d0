//! Starting a client: the first line, and the wait until calls can be made.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::actor::admission::Admitted;
use crate::actor::connection::{Connection, Start};
use crate::actor::dialer::{Dialer, dial};
use crate::actor::workers::{HOME, Workers};
use crate::actor::{Endpoint, StartEndpoint};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::limits::Tally;
use crate::link::Link;
use crate::peer::Peer;
use crate::session::CloseReason;
use crate::transport::Connector;

/// What a client connects with.
pub(crate) struct Connect {
    pub(crate) connector: Connector,
    pub(crate) endpoint: StartEndpoint,
    pub(crate) backoff: Backoff,
    /// Connect later: calls wait.
    pub(crate) lazy: bool,
    /// The one thread it lives on.
    pub(crate) workers: Workers,
}

/// Connects, and waits until calls can be made. Gives the limits' counts beside the peer.
pub(crate) async fn connect(connect: Connect) -> Result<(Peer, Arc<Tally>)> {
    let Connect { connector, endpoint, backoff, lazy, workers } = connect;
    let address: Box<str> = connector.address().into();
    let line = if lazy {
        None
    } else {
        let failed = |source| Error::Connect { address: address.clone(), source };
        Some(dial(&connector).await.map_err(failed)?)
    };
    let shown = line.as_ref().map_or_else(|| address.clone().into(), |line| Arc::clone(&line.peer));
    let link = Arc::new(Link::new(shown, Arc::clone(&endpoint.routes), endpoint.config.limits.unsent_mark));
    let peer = Peer::of_client(Arc::clone(&link));
    let ending = workers.ending();
    let endpoint = Arc::new(Endpoint::start(endpoint, workers).await?);
    let tally = Arc::clone(&endpoint.tally);
    let dialer = Some(Dialer::new(connector, backoff, line.is_some()));
    let (sender, ready) = oneshot::channel();
    let sender = (!lazy).then_some(sender);
    let (on_line, on_end) = (Box::new(|| {}), Box::new(|| {}));
    if let Some(ending) = ending {
        close_with(ending, Arc::clone(&link));
    }
    let (worker, admitted) = (HOME, Admitted::default());
    Connection::start(Start {
        line,
        admitted,
        link,
        endpoint,
        worker,
        dialer,
        ready: sender,
        on_line,
        on_end,
    });
    if lazy {
        return Ok((peer, tally));
    }
    match ready.await {
        Ok(Ok(())) => Ok((peer, tally)),
        Ok(Err(reason)) => Err(not_ready(address, &reason)),
        Err(_) => Err(Error::ShutDown),
    }
}

/// Closes the connection when its thread has to end.
fn close_with(ending: CancellationToken, link: Arc<Link>) {
    actix_rt::spawn(async move {
        if let Either::Left(_) = select(pin!(ending.cancelled()), pin!(link.closed())).await {
            link.request_close();
        }
    });
}

fn not_ready(address: Box<str>, reason: &CloseReason) -> Error {
    match reason {
        CloseReason::PeerTooOld(reason) => Error::PeerTooOld { address, reason: (*reason).into() },
        CloseReason::WrongSecret => Error::WrongSecret { address, reason: reason.to_string().into() },
        CloseReason::PeerCanDoSecure => Error::PeerCanDoSecure { address, reason: reason.to_string().into() },
        CloseReason::AuthenticationFailed(reason) => {
            Error::AuthenticationFailed { address, reason: (*reason).into() }
        }
        CloseReason::Handshake { reason, .. } => Error::Handshake { address, reason: reason.as_str().into() },
        other => Error::NotReady { address, reason: other.to_string().into() },
    }
}
