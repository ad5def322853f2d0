//! What can be followed of connections.

/// A change in the life of a connection, as `.on_event(..)` sees it.
///
/// For each line there is one [`Connected`](Self::Connected), at most one [`Ready`](Self::Ready) or
/// [`Reconnected`](Self::Reconnected), and one [`Disconnected`](Self::Disconnected), in this order.
///
/// ```
/// use socketproto::{ConnectionEvent, Server};
///
/// # async fn demo() -> socketproto::Result<()> {
/// let server = Server::bind("mem://")
///     .on_event(|peer, event| match event {
///         ConnectionEvent::Disconnected { reason } => println!("{} left: {reason}", peer.address()),
///         other => println!("{}: {other:?}", peer.address()),
///     })
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The line is there; nothing has been agreed yet.
    Connected,
    /// Calls can be made: features are known, and the peer is trusted where a secret is set.
    Ready,
    /// The same for a client that had been ready before. Messages that a peer sent in between are missing.
    Reconnected,
    /// The line is gone. Calls that were sent have failed; a client connects again by itself.
    Disconnected {
        /// Why.
        reason: Box<str>,
    },
}
