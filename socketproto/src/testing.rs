//! For tests of programs that use this crate: lines that fail on demand.
//!
//! A server on a `mem://` address runs in the test's own process, and a [`Line`] does to its connections what networks
//! do: it splits, delays, damages and cuts them, at a byte that the test chooses.
//!
//! # Time
//! Inside an actix system (`actix::System::new().block_on(..)`, `#[actix::test]`) connections and handlers run on the
//! thread of the test, so that `tokio::time::pause()` there pauses their time as well: time-outs then pass at once, and
//! a test of them waits for nothing. Elsewhere they run on a thread of their own, in real time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::transport::{self, Address, Blow, Hub, Plan};

pub use crate::transport::Direction;

/// A hand on the connections of one `mem://` listener. Clones, and other handles of the listener, mean the same.
///
/// What is set holds for connections that are there and for those to come, until [`Line::clear`]. It belongs to the
/// listener and not to the handle: it stays when the handle is dropped, and a later listener of the same name begins
/// undisturbed.
///
/// The bytes of [`Line::corrupt`] and [`Line::cut`] are counted as they arrive, from the call on, over all connections
/// of the listener together; what is set happens once, to the connection whose byte it is. With [`Line::bytes`] a test
/// learns how many there are, and can then try each.
///
/// ```
/// use std::time::Duration;
///
/// use socketproto::prelude::*;
/// use socketproto::testing::{Direction, Line};
///
/// #[derive(Service, Client)]
/// struct Lamp {
///     #[did(1, read, write)]
///     on: bool,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let server = Server::bind("mem://").service(Lamp { on: true }).start().await?;
/// let line = Line::of(server.address())?;
/// line.split(1);
/// let client = Client::connect(server.address()).await?;
/// let lamp = LampClient::new(&client);
/// assert!(lamp.on().await?);
/// assert_eq!(line.connections(), 1);
///
/// line.freeze();
/// let error = lamp.on().timeout(Duration::from_millis(1)).await.unwrap_err();
/// assert!(error.to_string().contains("no answer within 1ms"));
/// line.clear();
/// assert!(lamp.on().await?);
///
/// line.cut(Direction::ToClient, 0);
/// let error = lamp.on().await.unwrap_err();
/// assert!(error.to_string().contains("connection lost, outcome unknown"));
/// assert_eq!(line.connections(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Line {
    address: Arc<str>,
    hub: Arc<Hub>,
}

impl Line {
    /// A handle of the listener at this address, as [`Server::address`](crate::Server::address) gives it.
    ///
    /// # Errors
    /// [`Error::Address`] where it is not a `mem://` address, [`Error::Connect`] where nobody listens there.
    pub fn of(address: &str) -> Result<Self> {
        let place = Address::parse(address)?.place;
        let Some(hub) = transport::hub(&place) else {
            let reason = "only lines within the process can be disturbed, listen on mem://";
            return Err(Error::Address { address: address.into(), reason: reason.into() });
        };
        let hub = hub.map_err(|source| Error::Connect { address: address.into(), source })?;
        hub.watch();
        Ok(Self { address: place.to_string().into(), hub })
    }

    /// At most this many bytes arrive with one read and leave with one write, in both directions; 0 counts as 1.
    ///
    /// Both sides see the same bytes in smaller pieces.
    pub fn split(&self, bytes: usize) {
        self.hub.change(|plan| plan.split = bytes.max(1));
    }

    /// What is written from now on arrives this much later, in both directions; so does the end of a connection.
    ///
    /// The order stays: what is written after a shorter delay was set waits for what is on its way. A line holds
    /// 64 KiB in each direction, those that are on their way included; then writes wait. The time is tokio's, so that
    /// it can be paused.
    pub fn delay(&self, delay: Duration) {
        self.hub.change(|plan| plan.delay = delay);
    }

    /// Flips the lowest bit of one byte: the one that arrives in this direction after `offset` others.
    ///
    /// The receiving side sees the damage, the sending side learns of it from answers alone. The lowest bit makes
    /// another digit of a digit, so that what arrives may still look right.
    pub fn corrupt(&self, direction: Direction, offset: u64) {
        self.hub.change(|plan| plan.strike(Blow::Flip, direction, offset));
    }

    /// Ends a connection in place of one byte: the one that would arrive in this direction after `offset` others.
    ///
    /// The receiving side gets the bytes before it; then reads and writes of both sides fail with `ConnectionReset`, and
    /// what was on its way in the other direction is lost. Calls that wait fail at once with
    /// [`Error::ConnectionLost`], and a client that is about to connect with [`Error::NotReady`].
    pub fn cut(&self, direction: Direction, offset: u64) {
        self.hub.change(|plan| plan.strike(Blow::Cut, direction, offset));
    }

    /// Ends every connection that is there, as [`Line::cut`] does, and loses what is on its way.
    pub fn cut_now(&self) {
        self.hub.cut();
    }

    /// Nothing arrives any more, in either direction, the end of a connection included, until [`Line::thaw`].
    ///
    /// Both sides see silence. What they write is kept on the line, up to 64 KiB in each direction; then writes wait,
    /// too. Time-outs run.
    pub fn freeze(&self) {
        self.hub.change(|plan| plan.frozen = true);
    }

    /// The receiving side of this direction takes nothing, and the line to it is full, until [`Line::thaw`].
    ///
    /// The receiving side sees silence. The sending side can write nothing, as if to a slow reader; where that lasts
    /// for [`Limits::write_timeout`](crate::Limits::write_timeout) it closes the connection. The other direction goes on.
    pub fn block(&self, direction: Direction) {
        self.hub.change(|plan| plan.block(direction));
    }

    /// Ends [`Line::freeze`] and [`Line::block`]: what was kept arrives.
    pub fn thaw(&self) {
        self.hub.change(Plan::thaw);
    }

    /// Forgets all that was set. What is on its way arrives at once; connections that were cut stay so.
    pub fn clear(&self) {
        self.hub.clear();
    }

    /// The connections that neither side has ended, nor a cut. One that waits to be accepted is counted.
    pub fn connections(&self) -> usize {
        self.hub.connections()
    }

    /// The bytes that have arrived in this direction, in all connections, since the first handle of the listener was
    /// taken.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.hub.arrived(direction)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("address", &self.address)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Server};

    #[test]
    fn a_line_is_a_handle_like_others() {
        fn check<T: Clone + Send + Sync + fmt::Debug>() {}
        check::<Line>();
    }

    #[tokio::test]
    async fn only_lines_within_the_process_are_disturbed() {
        let error = Line::of("tcp://127.0.0.1:1").unwrap_err();
        assert!(error.to_string().ends_with("listen on mem://"), "{error}");
        let error = Line::of("mem://testing-nobody").unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_was_set_belongs_to_the_listener() -> Result<()> {
        let server = Server::bind("mem://testing-shared").start().await?;
        Line::of(server.address())?.cut(Direction::ToServer, 0);
        let other = Line::of("mem://testing-shared?peer=old")?;
        assert!(matches!(Client::connect(server.address()).await, Err(Error::NotReady { .. })));
        other.freeze();
        server.shutdown().await?;
        drop(server);
        let server = Server::bind("mem://testing-shared").start().await?;
        let client = Client::connect(server.address()).await?;
        assert_eq!(other.connections(), 0);
        let line = Line::of(server.address())?;
        assert_eq!(format!("{line:?}"), r#"Line { address: "mem://testing-shared", connections: 1, .. }"#);
        client.close().await;
        Ok(())
    }
}
