//! Room that the connections of a thread use one after the other, so that an idle one holds none.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::link::Outgoing;
use crate::session::Event;

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

/// What a turn needs, kept for its memory; empty between turns.
#[derive(Default)]
pub(super) struct Room {
    /// What is taken from the link.
    pub(super) taken: Outgoing,
    /// Where the session lists its events.
    pub(super) events: VecDeque<Event>,
}

impl Room {
    /// The room of this thread. Where a turn panics it is not given back, and what is in it goes to no other.
    pub(super) fn borrow() -> Box<Self> {
        ROOM.take().unwrap_or_default()
    }

    pub(super) fn give_back(self: Box<Self>) {
        ROOM.set(Some(self));
    }
}
