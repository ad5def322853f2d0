//! What becomes of a received frame: the table of protocol.md section 6, and the gate of 5.3.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, trace, warn};

use crate::frame::{self, Decoded, Format, FrameError};
use crate::framing::{self, Deframer, Detected, Framer, Framing, FramingError, Piece};
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json, Message};
use crate::session::auth::SeedOutcome;
use crate::session::budget::after;
use crate::session::calls::Match;
use crate::session::dispatch::Untaken;
use crate::session::event::{CloseReason, Done, Event, Incoming, RequestId};
use crate::session::hello::{Cancel, Hello};
use crate::session::requests::Origin;
use crate::session::{Exchange, Role, Session};

/// How the TLS alert begins that a TLS server answers frames with, as a length: more than any frame can have.
const TLS_ALERT: usize = 0x1503;

/// How the answer of a web server begins, as a length: `HTTP`, more than any frame can have.
const HTTP_ANSWER: usize = 0x4854_5450;

/// The longest channel name, in characters (protocol.md section 4).
const MAX_CHANNEL_NAME: usize = 64;

impl Session {
    /// Tells the framing of the peer from its first byte (protocol.md section 3).
    pub(super) fn detect(&mut self, first: u8) {
        match framing::detect(first) {
            Some(Detected::Framing(framing)) => self.set_framing(framing),
            _ => self.close(CloseReason::UnknownFraming(first)),
        }
    }

    pub(super) fn set_framing(&mut self, framing: Framing) {
        self.deframer = Some(Deframer::new(framing, self.frame_limit()));
        self.framer = Framer::new(framing);
    }

    pub(super) fn handle_piece(&mut self, piece: Piece, now: Instant) {
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
        if let Some(error) = framing {
            self.handle_framing_error(error, now);
        }
        framing.is_some()
    }

    pub(super) fn handle_framing_error(&mut self, error: &FramingError, now: Instant) {
        if self.config.lossy {
            // The frame is dropped, and the next one found.
            return self.malformed(&error.to_string(), now);
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
        warn!(%reason, "connection is closed");
        self.close(reason);
    }

    fn handle_frame(&mut self, frame: Bytes, now: Instant) {
        let bytes = frame.len();
        match frame::decode(frame) {
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
            Err(FrameError::Malformed(reason)) => self.malformed(&reason, now),
            Err(FrameError::Checksum { envelope, format }) => self.damaged(envelope, format, now),
        }
    }

    fn malformed(&mut self, reason: &str, now: Instant) {
        self.counters.malformed += 1;
        if self.counters.malformed == 1 {
            warn!(reason, "malformed frame dropped; further ones are logged at debug level");
        } else {
            debug!(reason, "malformed frame dropped");
        }
        self.protocol_error(now);
    }

    /// A damaged request is never run; where it can be told whose it was, its caller hears of it.
    fn damaged(&mut self, envelope: Option<Header>, format: Format, now: Instant) {
        self.counters.checksum += 1;
        let first = self.counters.checksum == 1;
        // What a damaged envelope says may be wrong as well.
        let message = envelope.map(|header| self.config.dispatch.describe(&header));
        let message = message.as_ref().map(tracing::field::display);
        if first {
            warn!(message, "frame with a wrong checksum dropped; further ones are logged at debug level");
        } else {
            debug!(message, "frame with a wrong checksum dropped");
        }
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
            self.close(CloseReason::TooManyProtocolErrors);
        }
    }

    pub(super) fn handle_message(&mut self, message: Message, format: Format, now: Instant) {
        let (header, data) = message.into_parts();
        if header.service_id.is_reserved() {
            return self.handle_reserved(&header, &data, format, now);
        }
        if self.is_response(header.service_id) {
            return self.handle_response(header, data, now);
        }
        let response = self.config.dispatch.response_of(header.service_id);
        let origin = response.map(|response| origin(response, &header, format));
        if !self.may_pass(header.service_id, header.data_id) {
            self.counters.gated += 1;
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
    fn may_pass(&self, service_id: ServiceId, data_id: DataId) -> bool {
        !self.is_gated() || self.config.dispatch.is_whitelisted(service_id, data_id)
    }

    /// A request, or a message of a service that nobody declared: the latter is never answered.
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
        let Some(running) = self.requests.finish(request).filter(|_| self.closed.is_none()) else { return };
        let (header, data) = message.into_parts();
        self.route(request, header, data, running.origin, now);
        self.resume(now);
    }

    /// Finds who takes a message.
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
        let incoming = Incoming { request, route, header, data };
        if self.has_room() && !self.requests.has_parked() {
            self.requests.start(&incoming, origin, now);
            self.events.push_back(Event::Dispatch(incoming));
            return;
        }
        let found = self.requests.park(incoming, origin);
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
            self.counters.unhandled += 1;
            debug!(message = %self.config.dispatch.describe(&header), "nobody takes this message");
        }
        if let Some(origin) = origin {
            self.answer(request, &origin, status, "null", now);
        }
    }

    fn handle_response(&mut self, header: Header, data: Json, now: Instant) {
        match self.calls.complete(header.service_id, header.data_id, header.message_id) {
            Match::Call(call) => {
                let forgotten = self.is_forgotten(&header, &data);
                self.completed(call, Ok(Done::Answered(header.status, data)));
                if forgotten {
                    return self.peer_restarted(None);
                }
                self.send_calls(now);
            }
            Match::Late => {
                self.counters.late += 1;
                debug!(message = %self.config.dispatch.describe(&header), "the call it answers is over");
                self.send_calls(now);
            }
            Match::NeverIssued => self.malformed("a response whose message_id was never issued", now),
            Match::None if !self.may_pass(header.service_id, header.data_id) => {
                self.counters.gated += 1;
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

    /// The framework's own services (protocol.md sections 4, 5 and 7).
    fn handle_reserved(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        match header.service_id {
            ServiceId::AUTH_REQUEST => self.handle_auth_request(header, data, format, now),
            ServiceId::AUTH_RESPONSE => self.handle_auth_response(header, data, now),
            ServiceId::CHANNEL_NAME_REQUEST => self.handle_channel_request(header, data, format, now),
            ServiceId::CHANNEL_NAME_RESPONSE => self.handle_channel_response(header, data),
            ServiceId::HELLO_REQUEST => self.handle_hello_request(header, data, format, now),
            ServiceId::HELLO_RESPONSE => self.handle_hello_response(header, data, format, now),
            ServiceId::CANCEL => self.handle_cancelled(header, data, now),
            // A request has an even id, its response the next.
            other if other.value() % 2 == 0 => {
                let response = ServiceId::new(other.value() + 1);
                let status = if self.is_gated() {
                    Status::AUTHENTICATION_REQUIRED
                } else {
                    Status::SERVICE_OR_DATA_UNKNOWN
                };
                self.refuse(&origin(response, header, format), status, now);
            }
            _ => self.counters.unhandled += 1,
        }
        self.check_ready(now);
    }

    /// The peer has given up a call (protocol.md 7.6).
    fn handle_cancelled(&mut self, header: &Header, data: &Json, now: Instant) {
        let cancelled = data.decode_object::<Cancel>().ok().filter(|_| header.data_id == DataId::CANCEL);
        let Some(cancel) = cancelled.filter(|_| !self.is_gated()) else {
            self.counters.unhandled += 1;
            return;
        };
        if let Some((request, running)) = self.requests.cancel(cancel.message_id) {
            self.events.push_back(Event::Cancelled { request, handler: running.handler });
            self.resume(now);
        }
    }

    fn handle_auth_request(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::AUTH_RESPONSE, header, format);
        let known = matches!(header.data_id, DataId::AUTH_SEED | DataId::AUTH_KEY | DataId::AUTH_SECURE);
        if self.config.role == Role::Client || (known && !self.config.secret) {
            return self.refuse(&origin, Status::OPERATION_NOT_PERMITTED, now);
        }
        match header.data_id {
            DataId::AUTH_SEED => {
                if !self.auth.is_trusted() && !self.login_begun && !self.config.serial {
                    self.login_begun = true;
                    self.trust = Some(after(now, self.config.limits.trust_timeout));
                }
                let question = self.auth.seed_requested(origin);
                self.events.push_back(Event::Ask(question));
            }
            DataId::AUTH_KEY => match self.auth.key_received(data, origin) {
                Some(question) => self.events.push_back(Event::Ask(question)),
                None => self.respond(&origin, Status::OKAY, "false", now),
            },
            _ => self.refuse(&origin, Status::SERVICE_OR_DATA_UNKNOWN, now),
        }
    }

    fn handle_auth_response(&mut self, header: &Header, data: &Json, now: Instant) {
        // What was not asked for changes nothing, whatever its status.
        let is_asked = self.auth.awaits(header.data_id) && self.is_of_login(header);
        if self.config.role == Role::Server || !is_asked {
            self.counters.unhandled += 1;
            return;
        }
        if !header.status.is_okay() {
            return self.authentication_failed(match header.status {
                Status::OPERATION_NOT_PERMITTED => {
                    "the server has no secret, or does not take this kind of login"
                }
                _ => "the server refused the authentication",
            });
        }
        match header.data_id {
            DataId::AUTH_SEED => match self.auth.seed_received(data) {
                SeedOutcome::Question(question) => self.events.push_back(Event::Ask(question)),
                SeedOutcome::Failed => self.login_failed("the server's seed is not 64 hex digits"),
                SeedOutcome::NotAsked => self.counters.unhandled += 1,
            },
            DataId::AUTH_KEY => match self.auth.verdict_received(data) {
                Some(true) => self.logged_in(Ok(())),
                Some(false) => self.key_refused(now),
                None => self.counters.unhandled += 1,
            },
            _ => self.counters.unhandled += 1,
        }
    }

    fn handle_channel_request(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::CHANNEL_NAME_RESPONSE, header, format);
        if self.config.role == Role::Client {
            return self.refuse(&origin, Status::OPERATION_NOT_PERMITTED, now);
        }
        if header.data_id != DataId::CHANNEL_NAME {
            return self.refuse(&origin, Status::SERVICE_OR_DATA_UNKNOWN, now);
        }
        if data.is_null() {
            self.channel = Exchange::Done;
            let name = Json::encode(&self.channel_name.as_deref()).unwrap_or_default();
            return self.respond(&origin, Status::OKAY, name.as_str(), now);
        }
        let Some(name) = channel_name(data) else {
            let text =
                self.fault_data("a channel name is text of 1 to 64 characters without control characters");
            return self.respond(&origin, Status::CALLBACK_ERROR, &text, now);
        };
        // One exchange a connection; an invalid name is none.
        if std::mem::replace(&mut self.channel, Exchange::Done) != Exchange::Done {
            if let Some(own) = self.config.channel_name.as_deref().filter(|own| *own != name) {
                warn!(own, theirs = name, "the client's channel name differs and is taken over");
            }
            self.channel_name = Some(name.into());
        }
        self.respond(&origin, Status::OKAY, "null", now);
    }

    fn handle_channel_response(&mut self, header: &Header, data: &Json) {
        if self.config.role == Role::Server || header.data_id != DataId::CHANNEL_NAME {
            self.counters.unhandled += 1;
            return;
        }
        if !matches!(self.channel, Exchange::Asked { .. }) {
            return;
        }
        self.channel = Exchange::Done;
        if self.channel_name.is_none() && header.status.is_okay() {
            self.channel_name = channel_name(data).map(Into::into);
        }
    }

    fn handle_hello_request(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::HELLO_RESPONSE, header, format);
        if header.data_id != DataId::HELLO {
            return self.refuse(&origin, Status::SERVICE_OR_DATA_UNKNOWN, now);
        }
        let hello = match data.decode_object::<Hello>() {
            Ok(hello) => hello,
            Err(error) => {
                let text = self.fault_data(&error.to_string());
                return self.respond(&origin, Status::CALLBACK_ERROR, &text, now);
            }
        };
        if hello.session == *self.config.session {
            return self.echoed();
        }
        if self.is_restart(&hello) {
            return self.peer_restarted(Some((*header, data.clone(), format)));
        }
        // The answer goes out under the old agreement: the peer cannot know ours before it.
        let answer = Hello::data(&self.config.session, &self.config.limits);
        self.respond(&origin, Status::OKAY, answer.as_str(), now);
        // On a serial line it tells as much as an answer.
        if self.hello == Exchange::Off || (self.config.serial && self.hello != Exchange::Done) {
            self.agree(&hello, now);
        }
    }

    fn handle_hello_response(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        // On a serial line the answer may come when it is no longer expected.
        let asked = match self.hello {
            Exchange::Asked { .. } => true,
            Exchange::Off => self.config.serial && self.config.hello,
            Exchange::Done => false,
        };
        let hello = data.decode_object::<Hello>().ok().filter(|_| header.status.is_okay());
        match hello.filter(|_| header.data_id == DataId::HELLO) {
            Some(hello) if (asked || self.config.serial) && hello.session == *self.config.session => {
                self.echoed();
            }
            Some(hello) if self.is_restart(&hello) => {
                self.peer_restarted(Some((*header, data.clone(), format)));
            }
            Some(hello) if asked => {
                self.agree(&hello, now);
                self.check_ready(now);
            }
            None if asked && header.data_id == DataId::HELLO => self.hello_failed(),
            _ => self.counters.unhandled += 1,
        }
    }

    fn agree(&mut self, hello: &Hello, now: Instant) {
        self.hello = Exchange::Done;
        self.agreement = hello.agree(&self.config.limits);
        debug!(agreement = ?self.agreement, "hello");
        self.meet(hello, now);
    }

    /// Answers a request that no handler sees. Its answer keeps its place behind those of earlier requests.
    fn refuse(&mut self, origin: &Origin, status: Status, now: Instant) {
        let request = self.requests.open(Some(origin));
        self.answer(request, origin, status, "null", now);
    }
}

fn origin(response: ServiceId, header: &Header, format: Format) -> Origin {
    Origin { response, data_id: header.data_id, message_id: header.message_id, format }
}

/// A name for the channel; none where the data are no such text.
fn channel_name(data: &Json) -> Option<String> {
    let name: String = data.decode().ok()?;
    is_channel_name(&name).then_some(name)
}

/// Whether a text can name a channel: 1 to 64 characters, none of them a control character (protocol.md section 4).
pub(crate) fn is_channel_name(name: &str) -> bool {
    (1..=MAX_CHANNEL_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}
