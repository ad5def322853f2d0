//! What a service is told besides requests.

use crate::peer::Peer;

/// What a service with `#[service(hooks)]` is told. Each hook runs between two requests, in the service's actor, and is
/// called also while an async or exclusive method waits; all of them do nothing by default.
///
/// A hook that panics is logged, and the service lives on.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use socketproto::prelude::*;
/// use socketproto::Lifecycle;
///
/// #[derive(Service)]
/// #[service(hooks)]
/// struct Guests {
///     #[did(1, read)]
///     seen: usize,
///     present: Arc<AtomicUsize>,
/// }
///
/// impl Lifecycle for Guests {
///     fn peer_connected(&mut self, _: &Peer) {
///         self.seen += 1;
///         self.present.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn peer_gone(&mut self, _: &Peer, _: &str) {
///         self.present.fetch_sub(1, Ordering::Relaxed);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let present = Arc::new(AtomicUsize::new(0));
/// let guests = Guests { seen: 0, present: present.clone() };
/// let server = Server::bind("mem://").service(guests).start().await?;
/// let client = Client::connect(server.address()).await?;
/// assert_eq!(client.read::<usize>(1).await?, 1);
/// assert_eq!(present.load(Ordering::Relaxed), 1);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` says `hooks` and does not implement `Lifecycle`",
    label = "asks for hooks that are not there",
    note = "add `impl socketproto::Lifecycle for {Self} {{}}` with the hooks you need, or leave `hooks` out"
)]
pub trait Lifecycle {
    /// The service's actor runs; no request has come yet.
    fn started(&mut self) {}

    /// A connection is there. It comes before the peer's first request and before its authentication: whether the
    /// peer is trusted, [`Peer::is_trusted`] tells then and later. The peer can be kept, and called.
    fn peer_connected(&mut self, peer: &Peer) {
        let _ = peer;
    }

    /// A connection has ended, for this reason. It comes once for each `peer_connected`; the peer's requests that ran
    /// have been cancelled, those marked `no_cancel` excepted.
    fn peer_gone(&mut self, peer: &Peer, reason: &str) {
        let _ = (peer, reason);
    }

    /// The endpoint has ended, and with it the service; methods that still wait are dropped behind this hook.
    /// [`Server::shutdown`](crate::Server::shutdown) returns after it.
    fn stopping(&mut self) {}
}

/// One call of a [`Lifecycle`].
#[derive(Clone, Debug)]
pub enum Hook {
    /// See [`Lifecycle::started`].
    Started,
    /// See [`Lifecycle::peer_connected`].
    PeerConnected(Peer),
    /// See [`Lifecycle::peer_gone`].
    PeerGone {
        /// Who it was.
        peer: Peer,
        /// Why the connection ended.
        reason: std::sync::Arc<str>,
    },
    /// See [`Lifecycle::stopping`].
    Stopping,
}

/// Calls the hook of a service that has them.
pub fn run_hook<S: Lifecycle>(service: &mut S, hook: &Hook) {
    match hook {
        Hook::Started => service.started(),
        Hook::PeerConnected(peer) => service.peer_connected(peer),
        Hook::PeerGone { peer, reason } => service.peer_gone(peer, reason),
        Hook::Stopping => service.stopping(),
    }
}
