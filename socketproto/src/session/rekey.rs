//! Secure mode with STP: on lines that lose bytes, and so on lines without an end of connection (protocol.md section 4).
//!
//! ```text
//!  bytes ─outer STP─▶ payload ─┬─ 0x01: record ─▶ candidate? else live ─▶ frames
//!                              └─ (0, 2), (1, 2): a handshake beside the live session
//! ```
//! Records are numbered, so behind a lost one none opens any more: another session then takes the place of the live one,
//! by a handshake that changes nothing until its first record opens, for anybody can play back an offer. What waits to be
//! sent is kept meanwhile, and until the peer has said in the new session that it is the one of the old: another gets
//! none of it.

mod handshake;
mod succession;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;
use tracing::{debug, warn};

use crate::frame::{self, Decoded, FrameError};
use crate::framing::{Deframer, FramingError, Piece};
use crate::id::{DataId, ServiceId};
use crate::message::{Header, Json};
use crate::secure::MAX_RECORD;
use crate::session::budget::{after, first};
use crate::session::event::{CloseReason, count};
use crate::session::records::{Opened, RECORD, Records};
use crate::session::secure::Handshake;
use crate::session::{Role, Session};

/// How long a client hears nothing before it makes sure that the server is there (protocol.md section 4).
const SILENCE: Duration = Duration::from_secs(45);

/// What such a line has beside its live session.
#[derive(Debug, Default)]
pub(super) struct Rekey {
    /// Takes payloads off the line, once frames travel in records.
    outer: Option<Deframer>,
    /// The session that takes the place of the live one when its first record opens.
    candidate: Option<Candidate>,
    /// Server: the offer that led to the live session; another copy of it leads nowhere.
    live_offer: String,
    /// When a record of the live session last opened.
    heard: Option<Instant>,
    /// The peer has yet to say HELLO in the live session.
    unconfirmed: bool,
    /// Frames that wait for that.
    stash: BytesMut,
    /// Bytes yet to come of a frame that is too large.
    skip: usize,
    /// Client: what is offered, in case that it gets lost.
    offer: Json,
    /// Client: how often it has been said.
    offers: usize,
    /// Client: an answer to the offer was none.
    misled: bool,
    /// Client: when the first attempt began, and the last one.
    opened: Option<Instant>,
    begun: Option<Instant>,
    /// Client: when the next one begins.
    again: Option<Instant>,
    /// Server: the offer that is being judged.
    judged: String,
    /// Server: until when it sends nothing, for the client is about to take another session.
    hold: Option<Instant>,
    /// Server: it has waited so, and no other session came of it.
    held_in_vain: bool,
    /// Server: until when it does not say again that a record does not open.
    quiet_until: Option<Instant>,
}

/// A session whose other side has yet to prove that it is there.
#[derive(Debug)]
struct Candidate {
    records: Box<Records>,
    /// Server: the offer that led to it.
    offer: String,
    /// Server: what was answered, in case that it gets lost.
    answer: Bytes,
}

impl Rekey {
    /// Bytes that wait for a HELLO.
    pub(super) fn set_aside(&self) -> usize {
        self.stash.len()
    }

    /// Where a frame waits until the peer has said that it is the known one. What tells it does not.
    pub(super) fn stash_for(&mut self, header: &Header) -> Option<&mut BytesMut> {
        (self.unconfirmed && !is_introduction(header)).then_some(&mut self.stash)
    }

    /// Bytes of an unfinished payload.
    pub(super) fn pending(&self) -> usize {
        self.outer.as_ref().map_or(0, Deframer::pending)
    }

    pub(super) fn shrink(&mut self) {
        self.outer.iter_mut().for_each(Deframer::shrink);
        if self.stash.is_empty() {
            self.stash = BytesMut::new();
        }
    }
}

impl Session {
    /// Whether nothing but what comes tells who is at the other end, so that sessions of the peer follow each other on one
    /// line.
    pub(super) fn is_endless(&self) -> bool {
        let is_secure = self.config.role == Role::Client || self.records.is_some();
        self.config.serial || (self.rekey.is_some() && is_secure)
    }

    // What comes

    /// Takes payloads while they may be judged.
    pub(super) fn handle_payloads(&mut self, input: &mut BytesMut, now: Instant) {
        loop {
            self.take_opened(now);
            if !self.wants_input() {
                return;
            }
            if !input.is_empty() {
                self.first_byte = None;
            }
            let is_live = self.records.is_some();
            let limit = if is_live { MAX_RECORD.saturating_add(1) } else { self.frame_limit() };
            let Some(deframer) = self.line_deframer() else { return };
            deframer.set_max_frame(limit);
            let piece = deframer.decode(input);
            if self.config.lossy || !self.has_input() {
                self.pace.end();
            }
            match piece {
                Ok(Some(Piece::Frame(payload))) => self.handle_payload(payload, now),
                Ok(Some(piece)) => self.handle_piece(piece, now),
                Ok(None) => return,
                Err(_) if self.records.is_some() && !self.config.lossy => self.close(CloseReason::BadRecord),
                Err(error) => self.handle_framing_error(&error, now),
            }
        }
    }

    /// What takes payloads off the line.
    pub(super) fn line_deframer(&mut self) -> Option<&mut Deframer> {
        let outer = self.rekey.as_mut().and_then(|rekey| rekey.outer.as_mut());
        outer.or(self.deframer.as_mut())
    }

    fn handle_payload(&mut self, payload: Bytes, now: Instant) {
        let is_record = payload.first() == Some(&RECORD) && self.awaits_record();
        if !is_record && self.config.role == Role::Server && self.records.is_none() {
            // Somebody who needs no trust, or speaks Legacy.
            return self.handle_piece(Piece::Frame(payload), now);
        }
        if self.is_gated() && !self.takes_untrusted_frame(now) {
            return;
        }
        if is_record {
            return self.handle_record(payload.into(), now);
        }
        match frame::decode(payload) {
            Ok(Decoded { message, format, .. }) => {
                let (header, data) = message.into_parts();
                self.presence.heard = true;
                match (self.config.role, header.service_id, header.data_id) {
                    (Role::Client, ServiceId::AUTH_RESPONSE, DataId::AUTH_SECURE) => {
                        self.handle_accepted(&header, &data, now);
                    }
                    (Role::Client, ServiceId::AUTH_REQUEST, DataId::AUTH_SECURE) if self.is_own(&data) => {
                        self.echoed();
                    }
                    (Role::Server, ServiceId::AUTH_REQUEST, DataId::AUTH_SECURE) => {
                        self.handle_offer(&header, &data, format, now);
                    }
                    _ => {
                        count(&mut self.counters.gated);
                        debug!(message = %self.config.dispatch.describe(&header), "dropped: it came in clear");
                    }
                }
            }
            Err(FrameError::Malformed(reason)) => self.malformed(reason, now),
            Err(FrameError::TooDeep { .. }) => self.malformed("nested too deep", now),
            Err(FrameError::Checksum { .. }) => count(&mut self.counters.checksum),
        }
    }

    /// Whether the peer may think that there is a session: also of one that this side has lost, or never had.
    fn awaits_record(&self) -> bool {
        let has_candidate = self.rekey.as_ref().is_some_and(|rekey| rekey.candidate.is_some());
        let may_be_lost = self.config.lossy && self.level.is_none();
        self.config.role == Role::Client || self.records.is_some() || has_candidate || may_be_lost
    }

    /// Tries the session that is about to begin first, then the live one.
    fn handle_record(&mut self, mut payload: BytesMut, now: Instant) {
        let candidate = self.rekey.as_mut().and_then(|rekey| rekey.candidate.as_mut());
        let proof = candidate.map(|candidate| candidate.records.open(&mut payload, &mut BytesMut::new()));
        if proof == Some(Ok(Opened::Finished)) {
            return self.promote(now);
        }
        let opened = self.records.as_mut().map(|records| {
            let mut frames = records.take_opened();
            let opened = records.open(&mut payload, &mut frames);
            records.put_back(frames);
            opened
        });
        match opened {
            Some(Ok(Opened::Piece)) => self.heard_record(now),
            Some(Ok(Opened::Close(reason))) => self.peer_left(reason),
            _ => self.unopened(now),
        }
    }

    fn heard_record(&mut self, now: Instant) {
        let Some(rekey) = &mut self.rekey else { return };
        rekey.heard = Some(now);
        if rekey.hold.take().is_some() {
            // Who makes an offer sends nothing behind it: that one was played back by somebody.
            rekey.held_in_vain = true;
            self.note_progress(now);
        }
    }

    fn unopened(&mut self, now: Instant) {
        count(&mut self.counters.unopened);
        if self.counters.unopened == 1 {
            warn!(
                "a record does not open: the line has lost one, or somebody else sends; further ones are logged at debug level"
            );
        } else {
            debug!("a record does not open");
        }
        match self.config.role {
            Role::Client => self.renew(now),
            Role::Server => self.tell_unopened(now),
        }
    }

    /// The peer has ended its session, for this reason.
    pub(super) fn peer_left(&mut self, reason: String) {
        self.close(match (self.config.serial, reason.is_empty()) {
            (true, _) => CloseReason::PeerLeft(reason),
            (false, true) => CloseReason::Peer,
            (false, false) => CloseReason::Said(reason),
        });
    }

    /// Takes the frames that records have brought.
    fn take_opened(&mut self, now: Instant) {
        let Some(records) = &mut self.records else { return };
        let mut frames = records.take_opened();
        self.skip(0, &mut frames);
        self.take_secure_frames(&mut frames, now);
        if let Some(records) = &mut self.records {
            records.put_back(frames);
        }
    }

    /// Drops a frame that is too large: nothing of what is inside records gets lost, so the next one can be found.
    pub(super) fn skip_frame(&mut self, error: &FramingError, frames: &mut BytesMut) {
        if let (FramingError::TooLarge { found, .. }, true) = (error, self.records.is_some()) {
            self.skip(found.saturating_add(size_of::<u32>()), frames);
        }
    }

    fn skip(&mut self, more: usize, frames: &mut BytesMut) {
        if let Some(rekey) = &mut self.rekey {
            rekey.skip = rekey.skip.saturating_add(more);
            let skipped = frames.split_to(rekey.skip.min(frames.len()));
            rekey.skip = rekey.skip.saturating_sub(skipped.len());
        }
    }

    // When

    /// Whether what waits is not sealed yet, for another session is about to take the place of the live one.
    pub(super) fn holds_back(&self) -> bool {
        let Some(rekey) = &self.rekey else { return false };
        let asks = self.config.role == Role::Client && !matches!(self.handshake, Handshake::Idle);
        self.closed.is_none() && (rekey.hold.is_some() || rekey.again.is_some() || asks)
    }

    /// What waits can leave from now on.
    fn note_progress(&mut self, now: Instant) {
        if self.unsent() > 0 {
            self.progress = Some(now);
        }
    }

    pub(super) fn rekey_deadline(&self) -> Option<Instant> {
        let rekey = self.rekey.as_ref()?;
        first([rekey.again, rekey.hold, self.silent_until()])
    }

    /// When a client has heard nothing for so long that it asks.
    fn silent_until(&self) -> Option<Instant> {
        let asks = self.config.role == Role::Server || !matches!(self.handshake, Handshake::Idle);
        let heard = self.rekey.as_ref().and_then(|rekey| rekey.heard);
        heard.filter(|_| !asks).map(|heard| after(heard, SILENCE))
    }

    pub(super) fn handle_rekey_timeout(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let is_silent = due(self.silent_until());
        let Some(rekey) = &mut self.rekey else { return };
        let asks = due(rekey.again) || is_silent;
        if due(rekey.hold) {
            (rekey.hold, rekey.held_in_vain) = (None, true);
            self.note_progress(now);
        }
        if asks {
            self.begin_attempt(now);
        }
    }
}

/// What either side says first.
fn is_introduction(header: &Header) -> bool {
    matches!(
        header.service_id,
        ServiceId::HELLO_REQUEST
            | ServiceId::HELLO_RESPONSE
            | ServiceId::CHANNEL_NAME_REQUEST
            | ServiceId::CHANNEL_NAME_RESPONSE
    )
}
