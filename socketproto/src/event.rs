//! What can be followed of connections.

/// A change in the life of a connection, as `.on_event(..)` sees it.
///
/// For each line there is one [`Connected`](Self::Connected), at most one [`Ready`](Self::Ready) or
/// [`Reconnected`](Self::Reconnected), and one [`Disconnected`](Self::Disconnected), in this order. An attempt to connect
/// that finds no line is no event. Nothing is told once [`Client::close`](crate::Client::close) or
/// [`Server::shutdown`](crate::Server::shutdown) has returned.
///
/// # What may be done in a follower
/// A follower runs on the thread of the connections, in the middle of the change that it is told of, and what
/// [`Peer::is_connected`](crate::Peer::is_connected) and its kin say is the state after it. It must not wait there: for a
/// call, for `close` or `shutdown` it would wait for ever, since what it waits for is done on its own thread. Spawned
/// (`tokio::spawn` works in a follower) all of that is allowed, also at [`Disconnected`](Self::Disconnected):
///
/// - connecting makes another client; the one that lost its line connects again by itself all the same;
/// - closing the client, or dropping its last handle, ends it: no attempt follows, and no further event;
/// - a call to a client's peer waits for the next line, within its own timeout; one to a server's peer fails at once with
///   [`Error::ConnectionLost`](crate::Error::ConnectionLost), for that peer was one line;
/// - a server can be shut down, or its last handle dropped.
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
