//! The memory that a session holds, and gives back.

use bytes::BytesMut;

use crate::framing::Deframer;
use crate::session::Session;

impl Session {
    /// Bytes held for the peer: being received, parked, kept for `receive`, unsent.
    pub(crate) fn held(&self) -> usize {
        let pending = self.deframer.as_ref().map_or(0, Deframer::pending);
        pending + self.requests.parked_bytes() + self.inbox.bytes() + self.out.len()
    }

    /// Gives back the room that buffers and tables keep for what may come next. To be called when little has come for a
    /// while: room for the next message is made anew at its cost.
    pub(crate) fn shrink(&mut self) {
        if self.out.is_empty() {
            self.out = BytesMut::new();
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
