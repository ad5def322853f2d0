//! From one session to the next, with the same peer or another.

use std::time::Instant;

use crate::framing::Framing;
use crate::message::Header;
use crate::session::event::CloseReason;
use crate::session::rekey::{Candidate, is_introduction};
use crate::session::{Exchange, Role, Session};

impl Session {
    /// The other side of a new session is there: it takes the place of the live one.
    pub(super) fn promote(&mut self, now: Instant) {
        let Some(rekey) = &mut self.rekey else { return };
        let Some(Candidate { mut records, offer, .. }) = rekey.candidate.take() else { return };
        let before = self.records.take();
        let was_clear = before.is_none();
        match before {
            None => rekey.outer = self.deframer.take(),
            Some(before) => {
                let sealed = self.sent.saturating_add(before.in_flight());
                if rekey.unconfirmed {
                    // Nothing but HELLO waits in it, and leaves no more.
                    let unsealed = before.unsealed() as u64;
                    self.posts.move_ends(sealed, |end| end.saturating_sub(unsealed));
                    self.heartbeat.move_end(sealed, |end| end.saturating_sub(unsealed));
                    records.succeed(*before);
                } else {
                    let begun = before.begun() as u64;
                    self.posts.move_ends(sealed, |end| end.saturating_add(begun));
                    self.heartbeat.move_end(sealed, |end| end.saturating_add(begun));
                    rekey.stash = records.succeed(*before);
                }
            }
        }
        (rekey.live_offer, rekey.heard, rekey.unconfirmed) = (offer, Some(now), true);
        (rekey.again, rekey.hold, rekey.held_in_vain, rekey.skip) = (None, None, false, 0);
        self.records = Some(records);
        self.set_framing(Framing::Length);
        self.presence.begin_session();
        self.hello = Exchange::Off;
        self.note_progress(now);
        if was_clear && self.has_met_somebody() {
            // Who was met in clear is not who has proved the secret.
            return self.peer_restarted(None);
        }
        self.prove(now);
    }

    /// Whether somebody was there before the line was secure.
    fn has_met_somebody(&self) -> bool {
        self.presence.has_met()
            || self.level.is_some()
            || self.requests.running() > 0
            || self.requests.has_parked()
    }

    /// The peer has said HELLO, and is who it was: it gets what waits.
    pub(in crate::session) fn confirm(&mut self, now: Instant) {
        let (Some(rekey), Some(records)) = (&mut self.rekey, &mut self.records) else { return };
        rekey.unconfirmed = false;
        let stash = std::mem::take(&mut rekey.stash);
        if !stash.is_empty() {
            records.plain().extend_from_slice(&stash);
            self.note_progress(now);
        }
    }

    /// HELLO leaves before what is set aside, so that leaves so many bytes later.
    #[inline]
    pub(in crate::session) fn note_ahead(&mut self, header: &Header, bytes: usize) {
        let Some(rekey) = self.rekey.as_ref().filter(|rekey| rekey.unconfirmed) else { return };
        if let (true, false, Some(records)) = (is_introduction(header), rekey.stash.is_empty(), &self.records)
        {
            let bytes = bytes as u64;
            let behind = self.sent.saturating_add(records.unsent()).saturating_sub(bytes);
            self.posts.move_ends(behind, |end| end.saturating_add(bytes));
            self.heartbeat.move_end(behind, |end| end.saturating_add(bytes));
        }
    }

    /// Goes on with the records of the session before, whose peer has turned out to be another.
    pub(in crate::session) fn inherit(&mut self, before: &mut Self, hello: bool, now: Instant) {
        let begins_again = before.begins_again();
        let (Some(rekey), Some(ended)) = (&mut self.rekey, &mut before.rekey) else { return };
        if ended.outer.is_none() || !begins_again {
            return;
        }
        let goes_on = before.closed == Some(CloseReason::PeerRestarted);
        let Some(records) = before.records.take().filter(|_| goes_on) else {
            self.deframer = ended.outer.take();
            return;
        };
        (rekey.outer, rekey.unconfirmed, rekey.heard) = (ended.outer.take(), true, Some(now));
        rekey.live_offer = std::mem::take(&mut ended.live_offer);
        (rekey.skip, rekey.begun) = (ended.skip, ended.begun);
        self.records = Some(records);
        self.set_framing(Framing::Length);
        // A record that is lost is missed; so what has been sealed leaves.
        std::mem::swap(&mut self.out, &mut before.out);
        self.note_progress(now);
        self.trust_peer();
        if self.config.role == Role::Client && !hello {
            self.greet(now);
        }
    }
}
