//! A connection between accept and its actor, on its way to the thread where it will live.

use std::sync::Arc;

use actix::Addr;

use crate::actor::Endpoint;
use crate::actor::admission::Admitted;
use crate::actor::connection::{Connection, Start};
use crate::actor::listener::{Arrived, Gone, Listener, Peers};
use crate::link::Link;
use crate::mailbox::Mailbox;
use crate::transport::Connected;

/// A connection that is about to begin.
pub(super) struct Newcomer {
    pub(super) line: Connected,
    pub(super) admitted: Admitted,
    pub(super) link: Arc<Link>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) worker: usize,
    pub(super) peers: Peers,
    pub(super) place: Place,
}

/// The place of a connection at its listener; free again when this is dropped, wherever and however the connection ended.
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) listener: Addr<Listener>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.tell(Gone(self.id));
    }
}

impl Newcomer {
    /// Starts the connection on this thread.
    pub(super) fn begin(self) -> Addr<Connection> {
        let Self { line, admitted, link, endpoint, worker, peers, place } = self;
        // Its handshake may be yet to come.
        let on_line = Box::new(move || peers.0.arrived.notify_waiters());
        let on_end = Box::new(move || drop(place));
        let (line, dialer, ready) = (Some(line), None, None);
        Connection::start(Start { line, admitted, link, endpoint, worker, dialer, ready, on_line, on_end })
    }

    /// The same on a thread that is not the listener's.
    pub(super) fn begin_elsewhere(self) {
        let (id, listener) = (self.place.id, self.place.listener.clone());
        let addr = self.begin();
        listener.tell(Arrived(id, Some(addr)));
    }
}
