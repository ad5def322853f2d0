//! What a `Protocol` handle asks of a connection beside calls: send, receive, authenticate.

use std::time::Instant;

use tracing::debug;

use crate::limits::{Breach, Limit};
use crate::message::{Header, Json, Message};
use crate::session::budget::{after, first};
use crate::session::calls::NewCall;
use crate::session::event::{CallFailure, CallKey, CloseReason, Done, Received};
use crate::session::inbox::{Dropped, Inbox, Put};
use crate::session::{Role, Session};

impl Session {
    /// A message to be sent once the connection is ready.
    pub(super) fn post(&mut self, new: NewCall, now: Instant) {
        self.posts.enqueue(new, now);
        self.send_posts(now);
    }

    pub(super) fn send_posts(&mut self, now: Instant) {
        while self.is_ready() {
            let Some((new, deadline)) = self.posts.next() else { return };
            let header = Header {
                service_id: new.service_id,
                data_id: new.data_id,
                status: new.status(),
                message_id: None,
            };
            match self.send(&header, &new.data, self.format, now) {
                Ok(()) => self.posts.written(new.call, deadline, self.written()),
                Err(error) => {
                    self.note_unsent(&error);
                    self.completed(new.call, Err(CallFailure::NotSendable(error.to_string())));
                }
            }
        }
    }

    /// Bytes of frames that have been written since the line began.
    pub(super) fn written(&self) -> u64 {
        let waiting = self.records.as_ref().map_or(self.out.len() as u64, |records| records.unsent());
        self.sent.saturating_add(waiting).saturating_add(self.set_aside() as u64)
    }

    /// Somebody wants a message: one that is there, or the next.
    pub(super) fn receive(&mut self, new: &NewCall, ended: Option<CloseReason>, now: Instant) {
        match (self.inbox.take(new.service_id, new.data_id), ended) {
            (Some(message), _) => self.received(new.call, message),
            (None, Some(reason)) => self.completed(new.call, Err(CallFailure::Lost(reason))),
            (None, None) => {
                self.inbox.wait(new.service_id, new.data_id, new.call, after(now, new.timeout));
            }
        }
    }

    fn received(&mut self, call: CallKey, message: Message) {
        let line = self.inbox.line();
        self.completed(call, Ok(Done::Received(Box::new(Received { message, line }))));
    }

    /// Takes a message back whose receiver has gone before it came.
    pub(crate) fn handle_unreceived(&mut self, received: Received) {
        if let Some((call, message)) = self.inbox.put_back(received) {
            self.received(call, message);
        }
    }

    /// So many messages had to go for the one of this header.
    fn overflow(&mut self, header: &Header, dropped: &Dropped) {
        let limits = &self.config.limits;
        let found = [
            (Limit::MaxBufferedPerDatum, limits.max_buffered_per_datum, dropped.of_its_kind),
            (Limit::MaxBuffered, limits.max_buffered, dropped.for_number),
            (Limit::MaxBufferedBytes, limits.max_buffered_bytes, dropped.for_bytes),
        ];
        for (limit, allowed, times) in found.into_iter().filter(|(.., times)| *times > 0) {
            self.counters.overflowed = self.counters.overflowed.saturating_add(times);
            let message = self.config.dispatch.describe(header).to_string();
            debug!(message, times, limit = limit.name(), "messages that waited for `receive` were dropped");
            let breach = Breach { found: None, ..Breach::new(limit, 0_usize, allowed) };
            self.note(breach.with_detail(message).times(times));
        }
    }

    /// Keeps a message for `receive`.
    pub(super) fn buffer(&mut self, header: Header, data: Json) {
        match self.inbox.put(Message::from_parts(header, data), &self.config.limits) {
            Put::Given(call, message) => self.received(call, message),
            Put::Kept { dropped } => self.overflow(&header, &dropped),
        }
    }

    /// What is kept for `receive`, when no line follows.
    pub(crate) fn take_inbox(&mut self) -> Inbox {
        std::mem::take(&mut self.inbox)
    }

    /// Somebody wants this side to be trusted (protocol.md 5.1).
    pub(super) fn authenticate(&mut self, new: &NewCall, now: Instant) {
        // In secure mode a client can make calls a little later.
        let waits = self.config.secure && self.config.role == Role::Client && !self.ready;
        if self.auth.is_trusted() && !waits {
            return self.completed(new.call, Ok(Done::Trusted));
        }
        let refusal = if !self.config.secret {
            "no secret is set"
        } else if self.config.role == Role::Server {
            "the client authenticates, and has yet to do so"
        } else {
            let deadline = after(now, new.timeout);
            self.auth.wait(new.call, deadline);
            return self.begin_login(deadline, now);
        };
        self.completed(new.call, Err(CallFailure::NotTrusted(refusal)));
    }

    /// Begins the exchange, unless there is one, or nobody on the line yet.
    pub(super) fn begin_login(&mut self, deadline: Instant, now: Instant) {
        // In secure mode the line itself is the proof.
        if self.config.legacy
            && self.closed.is_none()
            && !self.is_awaiting_peer()
            && self.auth.begin(deadline)
        {
            self.ask_seed(now);
        }
    }

    /// Tells those who wait for it how the login ended.
    pub(super) fn logged_in(&mut self, outcome: Result<(), &'static str>) {
        for call in self.auth.end_waiting() {
            self.completed(call, outcome.map(|()| Done::Trusted).map_err(CallFailure::NotTrusted));
        }
    }

    /// The operations whose time is over.
    pub(super) fn expire_operations(&mut self, now: Instant) {
        let mut expired = self.posts.expired(now);
        expired.extend(self.inbox.expired(now));
        expired.extend(self.auth.expired(now));
        for call in expired {
            self.completed(call, Err(CallFailure::TimedOut));
        }
    }

    /// Ends what belongs to the line that has ended.
    pub(super) fn end_operations(&mut self, reason: &CloseReason) {
        let mut ended = self.posts.end_unsent();
        ended.extend(self.auth.end_waiting());
        for call in ended {
            self.completed(call, Err(CallFailure::Lost(reason.clone())));
        }
    }

    /// When the first of them ends.
    pub(super) fn operations_deadline(&self) -> Option<Instant> {
        first([self.posts.deadline(), self.inbox.deadline(), self.auth.waiting_deadline()])
    }
}
