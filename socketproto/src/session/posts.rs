//! Messages that are sent without waiting for an answer: which wait for the line, and which it has yet to take.

use std::collections::VecDeque;
use std::time::Instant;

use crate::session::budget::{Earliest, after};
use crate::session::calls::NewCall;
use crate::session::event::CallKey;

/// The messages on their way out of one connection.
#[derive(Debug, Default)]
pub(super) struct Posts {
    /// Until the connection is ready.
    waiting: VecDeque<(NewCall, Instant)>,
    /// Until the transport has taken their last byte.
    unsent: VecDeque<Unsent>,
    earliest: Earliest,
}

#[derive(Debug)]
struct Unsent {
    call: CallKey,
    deadline: Instant,
    /// Bytes of the line up to its end.
    end: u64,
}

impl Posts {
    /// Lets a message wait for its turn.
    pub(super) fn enqueue(&mut self, new: NewCall, now: Instant) {
        let deadline = after(now, new.timeout);
        self.earliest.add(deadline);
        self.waiting.push_back((new, deadline));
    }

    /// The next message to write.
    pub(super) fn next(&mut self) -> Option<(NewCall, Instant)> {
        self.waiting.pop_front()
    }

    /// It has been written; the line ends it at this byte.
    pub(super) fn written(&mut self, call: CallKey, deadline: Instant, end: u64) {
        self.unsent.push_back(Unsent { call, deadline, end });
    }

    /// Messages that end behind this byte end at another place, that `move_end` says.
    pub(super) fn move_ends(&mut self, behind: u64, move_end: impl Fn(u64) -> u64) {
        for unsent in self.unsent.iter_mut().filter(|unsent| unsent.end > behind) {
            unsent.end = move_end(unsent.end);
        }
    }

    /// The next message of which all bytes have been taken.
    pub(super) fn taken(&mut self, sent: u64) -> Option<CallKey> {
        self.unsent.front().filter(|unsent| unsent.end <= sent)?;
        self.unsent.pop_front().map(|unsent| unsent.call)
    }

    /// Forgets a message whose sender has gone: where it has not been written it never is.
    pub(super) fn cancel(&mut self, call: CallKey) {
        self.waiting.retain(|(new, _)| new.call != call);
        self.unsent.retain(|unsent| unsent.call != call);
    }

    /// The messages whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<CallKey> {
        let mut expired = Vec::new();
        if self.earliest.is_due(now) {
            let mut earliest = Earliest::default();
            let mut lives = |call, deadline| {
                if deadline > now {
                    earliest.add(deadline);
                } else {
                    expired.push(call);
                }
                deadline > now
            };
            self.unsent.retain(|unsent| lives(unsent.call, unsent.deadline));
            self.waiting.retain(|(new, deadline)| lives(new.call, *deadline));
            self.earliest = earliest;
        }
        expired
    }

    /// Keeps no room for messages to come.
    pub(super) fn shrink(&mut self) {
        self.waiting.shrink_to_fit();
        self.unsent.shrink_to_fit();
    }

    /// The line has ended: what it had yet to take is lost.
    pub(super) fn end_unsent(&mut self) -> Vec<CallKey> {
        self.unsent.drain(..).map(|unsent| unsent.call).collect()
    }

    /// Ends those that wait.
    pub(super) fn end_waiting(&mut self) -> Vec<CallKey> {
        self.waiting.drain(..).map(|(new, _)| new.call).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest.get()
    }
}
