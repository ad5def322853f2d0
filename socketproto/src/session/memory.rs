//! The memory that a session holds, and gives back.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::framing::Deframer;
use crate::session::{Event, Session};

/// Buffers above this are given back when they are empty.
pub(super) const RETAINED: usize = 64 * 1024;

/// Gives back the room of a buffer that is empty, where that is large.
#[inline]
pub(super) fn give_back(empty: &mut BytesMut) {
    // What has been taken off is no part of the capacity any more, but it is still held.
    if empty.try_reclaim(RETAINED + 1) {
        *empty = BytesMut::new();
    }
}

impl Session {
    /// Bytes held for the peer: being received, parked, kept for `receive`, unsent.
    pub(crate) fn held(&self) -> usize {
        let pending = self.deframer.as_ref().map_or(0, Deframer::pending);
        let records = self.records.as_ref().map_or(0, |records| records.held());
        let rekey = self.rekey.as_ref().map_or(0, |rekey| rekey.pending().saturating_add(rekey.set_aside()));
        let parts =
            [pending, self.requests.parked_bytes(), self.inbox.bytes(), self.out.len(), records, rekey];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    /// Exchanges the list of events while it is empty: one with room serves all sessions of a thread, and the idle ones
    /// hold none.
    pub(crate) fn swap_events(&mut self, empty: &mut VecDeque<Event>) {
        if self.events.is_empty() {
            std::mem::swap(&mut self.events, empty);
        }
    }

    /// Gives back the room that buffers and tables keep for what may come next. To be called when little has come for a
    /// while: room for the next message is made anew at its cost.
    pub(crate) fn shrink(&mut self) {
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
        if let Some(records) = &mut self.records {
            records.shrink();
        }
        if let Some(rekey) = &mut self.rekey {
            rekey.shrink();
        }
        self.framer.shrink();
        if let Some(deframer) = &mut self.deframer {
            deframer.shrink();
        }
        self.events.shrink_to_fit();
        self.requests.shrink();
        self.calls.shrink();
        self.posts.shrink();
    }
}
