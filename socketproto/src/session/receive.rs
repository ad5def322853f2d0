//! What becomes of a received frame: the table of protocol.md section 6, and the gate of 5.3.

use std::borrow::Cow;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, trace, warn};

use crate::frame::{self, Decoded, Format, FrameError};
use crate::framing::{self, Deframer, Detected, Framer, Framing, FramingError, Piece};
use crate::id::{DataId, ServiceId, Status};
use crate::limits::{Breach, Limit};
use crate::message::{Header, Json, Message};
use crate::session::calls::Match;
use crate::session::dispatch::{Route, Untaken};
use crate::session::event::{CloseReason, Done, Event, Incoming, RequestId, count};
use crate::session::requests::{Origin, Parked};
use crate::session::{Exchange, Role, Session};

/// How the TLS alert begins that a TLS server answers frames with, as a length: more than any frame can have.
const TLS_ALERT: usize = 0x1503;

/// How the answer of a web server begins, as a length: `HTTP`, more than any frame can have.
const HTTP_ANSWER: usize = 0x4854_5450;

impl Session {
    /// Tells the framing of the peer from its first byte (protocol.md section 3).
    pub(super) fn detect(&mut self, first: u8) {
        match framing::detect(first) {
            Some(Detected::Framing(framing)) => {
                self.set_framing(framing);
                self.rekey = self.config.rekeys(Some(framing)).then(Box::default);
            }
            _ => self.close(CloseReason::UnknownFraming(first)),
        }
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.deframer = Some(Deframer::new(framing, self.frame_limit()));
        self.framer = Framer::new(framing);
    }

    #[inline]
    pub(super) fn handle_piece(&mut self, piece: Piece, now: Instant) {
        self.frames = self.frames.saturating_add(1);
        match piece {
            Piece::Frame(frame) => self.handle_frame(frame, now),
            // Between the frames of such a line is noise.
            Piece::Gap if self.config.lossy => {}
            Piece::Gap => self.malformed("bytes between frames", now),
            Piece::Broken(reason) => self.malformed(reason, now),
        }
    }

    /// Takes what a line of whole frames said of one that it did not take; false where that is none of the session's
    /// matters.
    pub(crate) fn handle_refused(&mut self, error: &io::Error, now: Instant) -> bool {
        let framing = error.get_ref().and_then(|inner| inner.downcast_ref());
        match framing {
            // No record is longer than the line was told to take.
            Some(_) if self.records.is_some() => self.close(CloseReason::BadRecord),
            Some(error) => self.handle_framing_error(error, now),
            None => {}
        }
        framing.is_some()
    }

    pub(super) fn handle_framing_error(&mut self, error: &FramingError, now: Instant) {
        self.pace.end();
        if self.config.lossy {
            // The frame is dropped, and the next one found.
            return self.malformed(error.to_string(), now);
        }
        let reason = match error {
            FramingError::TooLarge { found, .. }
                if self.config.role == Role::Client && found >> 16 == TLS_ALERT =>
            {
                CloseReason::TlsServer
            }
            FramingError::TooLarge { found: HTTP_ANSWER, .. } if self.config.role == Role::Client => {
                CloseReason::HttpServer
            }
            FramingError::TooLarge { found, limit } => {
                let untrusted = *limit != self.config.limits.max_frame;
                let setting = if untrusted { "untrusted_max_frame" } else { "max_frame" };
                CloseReason::FrameTooLarge { found: *found, limit: *limit, setting }
            }
            other => CloseReason::Transport(other.to_string()),
        };
        debug!(%reason, "connection is closed");
        self.close(reason);
    }

    #[inline]
    fn handle_frame(&mut self, frame: Bytes, now: Instant) {
        if self.is_gated() && !self.takes_untrusted_frame(now) {
            return;
        }
        let bytes = frame.len();
        match frame::decode_within(self.config.limits.max_nesting, frame) {
            Ok(Decoded { message, format, non_finite }) => {
                self.format = format;
                self.presence.heard = true;
                trace!(message = %self.config.dispatch.describe(message.header()), bytes, "received");
                if non_finite && !self.non_finite_warned {
                    self.non_finite_warned = true;
                    warn!("the peer sends NaN or Infinity, which JSON does not have; taken as null");
                }
                self.handle_message(message, format, now);
                self.greet_stranger(now);
            }
            Err(FrameError::Malformed(reason)) => self.malformed(reason, now),
            Err(FrameError::TooDeep { limit }) => {
                count(&mut self.counters.malformed);
                self.note(Breach::new(Limit::MaxNesting, limit.saturating_add(1), limit));
                self.protocol_error(now);
            }
            Err(FrameError::Checksum { envelope, format }) => self.damaged(envelope, format, now),
        }
    }

    /// Whether a frame of a peer without trust is looked at. A serial line carries few.
    pub(super) fn takes_untrusted_frame(&mut self, now: Instant) -> bool {
        let takes = self.config.serial || self.untrusted_frames.take(now);
        if !takes {
            self.close(CloseReason::TooManyFrames(self.config.limits.untrusted_frames));
        }
        takes
    }

    pub(super) fn malformed(&mut self, reason: impl Into<Cow<'static, str>>, now: Instant) {
        let reason = reason.into();
        count(&mut self.counters.malformed);
        debug!(%reason, "malformed frame dropped");
        self.note(Breach::bare(Limit::Malformed).with_detail(reason));
        self.protocol_error(now);
    }

    /// A damaged request is never run; where it can be told whose it was, its caller hears of it.
    fn damaged(&mut self, envelope: Option<Header>, format: Format, now: Instant) {
        count(&mut self.counters.checksum);
        // What a damaged envelope says may be wrong as well.
        let message = envelope.map(|header| self.config.dispatch.describe(&header).to_string());
        debug!(message, "frame with a wrong checksum dropped");
        self.note(Breach::bare(Limit::Checksum).with_detail(message.unwrap_or_default()));
        self.protocol_error(now);
        let Some(header) = envelope.filter(|header| self.may_pass(header.service_id, header.data_id)) else {
            return;
        };
        if let Some(response) = self.config.dispatch.response_of(header.service_id) {
            self.refuse(&origin(response, &header, format), Status::CHECKSUM_ERROR, now);
        }
    }

    fn protocol_error(&mut self, now: Instant) {
        if !self.config.lossy && !self.protocol_errors.take(now) {
            self.close(CloseReason::TooManyProtocolErrors(self.config.limits.protocol_errors));
        }
    }

    #[inline]
    pub(super) fn handle_message(&mut self, message: Message, format: Format, now: Instant) {
        let (header, data) = message.into_parts();
        if !self.is_of_this_time(header.service_id, header.data_id) {
            count(&mut self.counters.gated);
            debug!(message = %self.config.dispatch.describe(&header), "dropped: it is in clear");
            return;
        }
        if header.service_id.is_reserved() {
            return self.handle_reserved(&header, &data, format, now);
        }
        if self.is_response(header.service_id) {
            return self.handle_response(header, data, now);
        }
        let response = self.config.dispatch.response_of(header.service_id);
        let origin = response.map(|response| origin(response, &header, format));
        if !self.may_pass(header.service_id, header.data_id) {
            count(&mut self.counters.gated);
            debug!(message = %self.config.dispatch.describe(&header), "refused: not authenticated");
            if let Some(origin) = origin {
                self.refuse(&origin, Status::AUTHENTICATION_REQUIRED, now);
            }
            return;
        }
        if self.is_gated() {
            self.restart_trust(now);
        }
        self.handle_request(header, data, origin, now);
    }

    /// Whether the gate lets a message through (protocol.md 5.3).
    #[inline]
    fn may_pass(&self, service_id: ServiceId, data_id: DataId) -> bool {
        self.is_of_this_time(service_id, data_id)
            && (!self.is_gated() || self.config.dispatch.is_whitelisted(service_id, data_id))
    }

    /// A request, or a message of a service that nobody declared: the latter is never answered.
    #[inline]
    fn handle_request(&mut self, header: Header, data: Json, origin: Option<Origin>, now: Instant) {
        if self.draining {
            debug!(message = %self.config.dispatch.describe(&header), "dropped: the endpoint shuts down");
            return;
        }
        let request = self.requests.open(origin.as_ref());
        self.route(request, header, data, origin, now);
    }

    /// Takes a request back whose callback was removed before it ran: the next in the order of priority takes it.
    pub(crate) fn handle_returned(&mut self, request: RequestId, message: Message, now: Instant) {
        let running = self.requests.finish(request).filter(|_| self.closed.is_none());
        let Some(running) = running else {
            // It was given up before, and its place is free now.
            return self.resume(now);
        };
        let (header, data) = message.into_parts();
        self.route(request, header, data, running.origin, now);
        self.resume(now);
    }

    /// Finds who takes a message.
    #[inline]
    fn route(
        &mut self,
        request: RequestId,
        header: Header,
        data: Json,
        origin: Option<Origin>,
        now: Instant,
    ) {
        let Some(route) = self.config.dispatch.find(header.service_id, header.data_id).copied() else {
            return self.leave(request, header, data, origin, now);
        };
        let Route { handler, entry, name, timeout } = route;
        let incoming = Incoming { request, handler, entry, name, header, data };
        if self.has_room() && !self.requests.has_parked() {
            self.requests.start(&incoming, origin, timeout, now);
            self.events.push_back(Event::Dispatch(incoming));
            return;
        }
        let found = self.requests.park(Parked { incoming, origin, timeout });
        let running = self.requests.running();
        self.note(Breach::new(Limit::MaxInFlight, running, self.config.limits.max_in_flight));
        let limits = &self.config.limits;
        // An old peer is left unread at the limit; a frame that was being read may exceed it.
        let grace = if self.hello == Exchange::Done { 0 } else { limits.max_frame };
        let limit = limits.max_parked;
        if found > limit.saturating_add(grace) {
            self.close(CloseReason::BufferTooLarge { found, limit, setting: "max_parked" });
        }
    }

    /// Nobody takes a message: it is kept for `receive`, or refused.
    fn leave(
        &mut self,
        request: RequestId,
        header: Header,
        data: Json,
        origin: Option<Origin>,
        now: Instant,
    ) {
        let untaken = match origin {
            Some(_) => self.config.dispatch.untaken(header.service_id, header.data_id),
            // Responses and messages of no service are declared nowhere.
            None => Untaken::Nobody,
        };
        // No stranger fills a server's memory. A client has chosen its server, and its own whitelist let this through.
        let is_known = self.config.role == Role::Client || !self.is_gated();
        let buffers = self.config.dispatch.buffers() && is_known;
        let status = match untaken {
            Untaken::Declared => Status::OPERATION_NOT_PERMITTED,
            Untaken::Nobody if buffers => Status::BUFFERING_UNHANDLED_REQUEST,
            Untaken::Served | Untaken::Nobody => Status::SERVICE_OR_DATA_UNKNOWN,
        };
        if status == Status::BUFFERING_UNHANDLED_REQUEST {
            trace!(message = %self.config.dispatch.describe(&header), "kept for `receive`");
            self.buffer(header, data);
        } else {
            count(&mut self.counters.unhandled);
            debug!(message = %self.config.dispatch.describe(&header), "nobody takes this message");
        }
        if let Some(origin) = origin {
            self.answer(request, &origin, status, "null", now);
        }
    }

    #[inline]
    fn handle_response(&mut self, header: Header, data: Json, now: Instant) {
        match self.calls.complete(header.service_id, header.data_id, header.message_id) {
            Match::Call(call) => {
                if self.is_gated() {
                    // It was asked for.
                    self.untrusted_frames.give_back();
                }
                let forgotten = self.is_forgotten(&header, &data);
                self.completed(call, Ok(Done::Answered(header.status, data)));
                if forgotten {
                    return self.peer_restarted(None);
                }
                self.send_calls(now);
            }
            Match::Late => {
                count(&mut self.counters.late);
                debug!(message = %self.config.dispatch.describe(&header), "the call it answers is over");
                self.send_calls(now);
            }
            Match::NeverIssued => self.malformed("a response whose message_id was never issued", now),
            Match::None if !self.may_pass(header.service_id, header.data_id) => {
                count(&mut self.counters.gated);
                let message = self.config.dispatch.describe(&header);
                // Nobody else hears of it: the program waits for a message that has come.
                if self.counters.gated == 1 && self.config.role == Role::Client {
                    warn!(
                        %message,
                        "answer dropped, for this side has not authenticated: authenticate, or put its request on the \
                         whitelist of this side too; further ones are logged at debug level"
                    );
                } else {
                    debug!(%message, "refused: not authenticated");
                }
            }
            Match::None => self.handle_request(header, data, None, now),
        }
    }

    /// Answers a request that no handler sees. Its answer keeps its place behind those of earlier requests.
    pub(super) fn refuse(&mut self, origin: &Origin, status: Status, now: Instant) {
        let request = self.requests.open(Some(origin));
        self.answer(request, origin, status, "null", now);
    }
}

#[inline]
pub(super) fn origin(response: ServiceId, header: &Header, format: Format) -> Origin {
    Origin { response, data_id: header.data_id, message_id: header.message_id, format }
}
