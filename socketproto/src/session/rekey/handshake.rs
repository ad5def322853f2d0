//! The handshake on such a line, both roles: each message can be lost, come twice, or be a recording.
//!
//! ```text
//!  client                                        server
//!  offer, again after 1, 2 and 4 s ── (0, 2) ──▶ another: judged; a copy: the same answer again
//!  candidate                      ◀── (1, 2) ──  candidate; holds back what it has to send
//!            ◀── record: finished ──
//!  live                            ── record: finished ──▶ live
//! ```

use std::time::{Duration, Instant};

use tracing::{debug, trace, warn};

use crate::frame::{self, Format};
use crate::framing::{Framer, Framing};
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json};
use crate::secure::{Accepted, Channel, Initiator, Offer, Refused};
use crate::session::Session;
use crate::session::budget::after;
use crate::session::event::{AuthQuestion, CloseReason, Event, count};
use crate::session::records::{Prefix, Records};
use crate::session::rekey::{Candidate, SILENCE};
use crate::session::requests::Origin;
use crate::session::restart::wait_for_answer;
use crate::session::secure::{HANDSHAKE_TIMEOUT, Handshake, NO_RANDOM, NO_SECURE_MODE, NOT_PROVED};

/// The least time between the begins of two attempts, and between two words of a server that a record does not open
/// (protocol.md section 4).
const PAUSE: Duration = Duration::from_secs(1);

/// How long a client waits for the server's first record, which follows its answer at once.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server holds back what it has to send, for the client's first record: a moment, since an offer can be a
/// recording.
const HOLD: Duration = Duration::from_secs(2);

impl Session {
    // Client

    /// Begins a handshake; the live session goes on receiving.
    pub(in crate::session) fn begin_attempt(&mut self, now: Instant) {
        if let Some(rekey) = &mut self.rekey {
            (rekey.candidate, rekey.again, rekey.misled) = (None, None, false);
            rekey.opened.get_or_insert(now);
            rekey.begun = Some(now);
        }
        self.begin_handshake();
    }

    /// The live session is of no use any more, in one direction at least.
    pub(super) fn renew(&mut self, now: Instant) {
        if matches!(self.handshake, Handshake::Asked | Handshake::Offered { .. }) {
            // It is being made.
            return;
        }
        let Some(rekey) = &mut self.rekey else { return };
        let earliest = rekey.begun.map_or(now, |begun| after(begun, PAUSE));
        if earliest > now {
            rekey.again = Some(earliest);
        } else {
            self.begin_attempt(now);
        }
    }

    /// The first message can leave.
    pub(in crate::session) fn offer_in_clear(&mut self, initiator: Initiator, offer: Json, now: Instant) {
        if let Some(rekey) = &mut self.rekey {
            (rekey.offer, rekey.offers) = (offer, 0);
        }
        self.handshake = Handshake::Offered { initiator: Box::new(initiator), deadline: now };
        self.say_offer(now);
    }

    fn say_offer(&mut self, now: Instant) {
        let Some(rekey) = &mut self.rekey else { return };
        let (offer, said) = (rekey.offer.clone(), rekey.offers);
        rekey.offers = said.saturating_add(1);
        let mut until = after(now, wait_for_answer(said));
        if let Some(end) = self.answer_end() {
            until = until.min(end);
        }
        if let Handshake::Offered { deadline, .. } = &mut self.handshake {
            *deadline = until;
        }
        // Not again while the last one has yet to leave.
        if said == 0 || self.out.is_empty() {
            let (service_id, data_id) = (ServiceId::AUTH_REQUEST, DataId::AUTH_SECURE);
            let header = Header { service_id, data_id, status: Status::OKAY, message_id: None };
            self.say_in_clear(&header, &offer, Format::Json, now);
        }
    }

    /// Until when a line with an end is given the time for a first answer.
    fn answer_end(&self) -> Option<Instant> {
        let opened = self.rekey.as_ref().and_then(|rekey| rekey.opened);
        let opened = opened.filter(|_| !self.config.serial && self.records.is_none());
        opened.map(|opened| after(opened, HANDSHAKE_TIMEOUT))
    }

    /// Whether it is this side's own offer, which has come back.
    pub(super) fn is_own(&self, data: &Json) -> bool {
        self.rekey.as_ref().is_some_and(|rekey| rekey.offer == *data)
    }

    /// The server has not done its part in time.
    pub(in crate::session) fn attempt_unanswered(&mut self, now: Instant) {
        if self.answer_end().is_some_and(|end| end <= now) {
            return self.close(CloseReason::PeerTooOld(NO_SECURE_MODE));
        }
        let misled = self.rekey.as_ref().is_some_and(|rekey| rekey.misled);
        if matches!(self.handshake, Handshake::Offered { .. }) && !misled {
            self.say_offer(now);
        } else {
            self.begin_attempt(now);
        }
    }

    /// The server's answer, or somebody's.
    pub(in crate::session) fn handle_answer_in_clear(&mut self, header: &Header, data: &Json, now: Instant) {
        let is_awaited = matches!(self.handshake, Handshake::Offered { .. });
        match header.status {
            Status::AUTHENTICATION_REQUIRED => self.renew(now),
            Status::OKAY if is_awaited => self.finish_handshake(data, now),
            Status::OPERATION_NOT_PERMITTED if is_awaited => self.offer_refused(now),
            // What a peer says that does not know this datum.
            _ if is_awaited && self.records.is_none() => {
                self.close(CloseReason::PeerTooOld(NO_SECURE_MODE));
            }
            _ => count(&mut self.counters.unhandled),
        }
    }

    fn finish_handshake(&mut self, data: &Json, now: Instant) {
        let accepted = data.decode_object::<Accepted>().ok();
        let Handshake::Offered { initiator, .. } = &mut self.handshake else { return };
        if accepted.is_none_or(|accepted| initiator.take(&accepted).is_err()) {
            // An answer to an earlier offer, or nobody's; the right one may follow.
            if let Some(rekey) = &mut self.rekey {
                rekey.misled = true;
            }
            return count(&mut self.counters.unhandled);
        }
        let deadline = after(now, PROOF_TIMEOUT);
        let before = std::mem::replace(&mut self.handshake, Handshake::Unproved { deadline });
        let Handshake::Offered { initiator, .. } = before else { return };
        let records =
            initiator.into_channel().and_then(|channel| Records::begin(channel, Prefix::Stp, &mut self.out));
        if let (Some(rekey), Ok(records)) = (&mut self.rekey, records) {
            let (offer, answer) = Default::default();
            rekey.candidate = Some(Candidate { records: Box::new(records), offer, answer });
            self.progress.get_or_insert(now);
        }
    }

    /// Somebody says that the secret is wrong. That ends no live session, unless the server is not heard in it any more;
    /// and it may be said to an offer of before.
    fn offer_refused(&mut self, now: Instant) {
        let heard = self.rekey.as_ref().and_then(|rekey| rekey.heard);
        if self.records.is_some() && heard.is_some_and(|heard| after(heard, SILENCE) > now) {
            count(&mut self.counters.unhandled);
        } else if self.config.serial && !self.presence.was_refused() {
            self.begin_attempt(now);
        } else {
            self.close(CloseReason::WrongSecret);
        }
    }

    // Server

    /// A client offers a handshake, or somebody plays one back.
    pub(in crate::session) fn handle_offer_in_clear(
        &mut self,
        origin: Origin,
        offer: Option<Offer>,
        now: Instant,
    ) {
        let Some(rekey) = &mut self.rekey else { return };
        let Some(offer) = offer else {
            return self.refuse_in_clear(&origin, "a handshake that is malformed", now);
        };
        let copy = rekey.candidate.as_ref().filter(|candidate| candidate.offer == offer.m);
        if let Some(copy) = copy {
            if self.out.is_empty() {
                self.out.extend_from_slice(&copy.answer);
                self.progress = Some(now);
            }
        } else if self.records.is_some() && rekey.live_offer == offer.m {
            count(&mut self.counters.unhandled);
        } else {
            rekey.judged.clone_from(&offer.m);
            self.begin_login_time(now);
            self.handshake = Handshake::Judged(origin);
            self.events.push_back(Event::Ask(AuthQuestion::Accept(offer)));
        }
    }

    /// The authenticator has judged the offer.
    pub(in crate::session) fn accept_in_clear(
        &mut self,
        origin: &Origin,
        judged: Option<Result<(Channel, Accepted), Refused>>,
        now: Instant,
    ) {
        let (channel, accepted) = match judged {
            Some(Ok(right)) => right,
            Some(Err(Refused)) => {
                if self.records.is_none() {
                    // Beside a live session it need not be its peer that has tried.
                    self.wrong_key(now);
                }
                return self.refuse_in_clear(origin, NOT_PROVED, now);
            }
            // The client tries again.
            None => return warn!("{NO_RANDOM}"),
        };
        let start = self.out.len();
        let data = Json::encode(&accepted).unwrap_or_default();
        if !self.say_in_clear(&answer_to(origin, Status::OKAY), &data, origin.format, now) {
            return;
        }
        let Ok(records) = Records::begin(channel, Prefix::Stp, &mut self.out) else { return };
        let answer = self.out.get(start..).unwrap_or_default().to_vec().into();
        let Some(rekey) = &mut self.rekey else { return };
        let offer = std::mem::take(&mut rekey.judged);
        rekey.candidate = Some(Candidate { records: Box::new(records), offer, answer });
        if self.records.is_some() && !rekey.held_in_vain {
            rekey.hold = Some(after(now, HOLD));
        }
    }

    /// A line without an end goes on; one with an end is closed, unless there is a session that somebody could mean to end.
    fn refuse_in_clear(&mut self, origin: &Origin, reason: &'static str, now: Instant) {
        warn!(reason, "secure handshake refused");
        self.say_in_clear(
            &answer_to(origin, Status::OPERATION_NOT_PERMITTED),
            &Json::NULL,
            origin.format,
            now,
        );
        if !self.config.serial && self.records.is_none() {
            self.close(CloseReason::HandshakeRefused(reason));
        }
    }

    /// The client has to make another session.
    pub(super) fn tell_unopened(&mut self, now: Instant) {
        let Some(rekey) = &mut self.rekey else { return };
        if rekey.quiet_until.is_none_or(|until| until <= now) {
            rekey.quiet_until = Some(after(now, PAUSE));
            let (service_id, data_id) = (ServiceId::AUTH_RESPONSE, DataId::AUTH_SECURE);
            let status = Status::AUTHENTICATION_REQUIRED;
            let header = Header { service_id, data_id, status, message_id: None };
            self.say_in_clear(&header, &Json::NULL, Format::Json, now);
        }
    }

    // Both

    /// Says a frame of the handshake; false where too much waits for a peer that takes nothing.
    fn say_in_clear(&mut self, header: &Header, data: &Json, format: Format, now: Instant) -> bool {
        let message = self.config.dispatch.describe(header);
        if self.out.len() > self.config.limits.untrusted_unsent {
            debug!(%message, "not sent: the peer takes nothing");
            return false;
        }
        if self.out.is_empty() {
            self.progress = Some(now);
        }
        let (nesting, data) = (self.config.limits.max_nesting, data.as_str().as_bytes());
        let framed = Framer::new(Framing::Stp)
            .frame(&mut self.out, |frame| frame::encode_within(nesting, format, header, data, frame));
        trace!(%message, "sent in clear");
        framed.is_ok()
    }
}

fn answer_to(origin: &Origin, status: Status) -> Header {
    let Origin { response, data_id, message_id, .. } = *origin;
    Header { service_id: response, data_id, status, message_id }
}
