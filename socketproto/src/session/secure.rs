//! Secure mode, both roles (protocol.md 5.2), without the secret: what takes it is asked of the authenticator.
//!
//! ```text
//!  client                                    server
//!  Asked      ── (0, 2), message 1 ──▶
//!                                            Asked: does it prove the secret?
//!  Offered   ◀── (1, 2), message 2 ──
//!            ◀── record: finished ──         records
//!  records    ── record: finished ──▶
//!  trusted                                   trusted
//! ```
//! Trust begins with the first record of the other side that opens, not with its message: that can be a recording.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::{debug, warn};

use crate::frame::Format;
use crate::framing::Framing;
use crate::id::{DataId, Level, ServiceId, Status};
use crate::message::{Header, Json};
use crate::secure::{Accepted, Channel, Initiator, Offer, Refused};
use crate::session::budget::after;
use crate::session::event::{AuthQuestion, CloseReason, Event, count};
use crate::session::receive::origin;
use crate::session::records::{Opened, Prefix, Records};
use crate::session::requests::Origin;
use crate::session::{Role, Session};

/// How long a client waits for the server's part of the handshake (protocol.md 5.2).
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The handshake of one line.
#[derive(Debug, Default)]
pub(super) enum Handshake {
    /// None is under way.
    #[default]
    Idle,
    /// Client: the authenticator makes the first message.
    Asked,
    /// Server: the authenticator judges it; the answer goes here.
    Judged(Origin),
    /// Client: it has left.
    Offered { initiator: Box<Initiator>, deadline: Instant },
    /// Client: records have begun, and the server's first has yet to open.
    Unproved { deadline: Instant },
}

impl Handshake {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Offered { deadline, .. } | Self::Unproved { deadline } => Some(*deadline),
            Self::Idle | Self::Asked | Self::Judged(_) => None,
        }
    }

    /// Whether a message of the other side waits for its judgement.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self, Self::Judged(_))
    }
}

impl Session {
    // Client

    /// Begins the handshake; all else waits for its end.
    pub(super) fn begin_handshake(&mut self) {
        self.handshake = Handshake::Asked;
        self.events.push_back(Event::Ask(AuthQuestion::Offer));
    }

    /// The first message can leave.
    pub(super) fn offer(&mut self, made: Option<(Initiator, Offer)>, now: Instant) {
        if !matches!(self.handshake, Handshake::Asked) {
            return;
        }
        let Some((initiator, offer)) = made else {
            return self.close(CloseReason::Transport(NO_RANDOM.to_owned()));
        };
        let data = Json::encode(&offer).unwrap_or_default();
        if self.rekey.is_some() {
            return self.offer_in_clear(initiator, data, now);
        }
        self.ask(ServiceId::AUTH_REQUEST, DataId::AUTH_SECURE, &data, now);
        let deadline = after(now, HANDSHAKE_TIMEOUT);
        self.handshake = Handshake::Offered { initiator: Box::new(initiator), deadline };
    }

    /// The server's answer.
    pub(super) fn handle_accepted(&mut self, header: &Header, data: &Json, now: Instant) {
        if self.rekey.is_some() {
            return self.handle_answer_in_clear(header, data, now);
        }
        let (initiator, deadline) = match std::mem::take(&mut self.handshake) {
            Handshake::Offered { initiator, deadline } => (initiator, deadline),
            // Nobody was asked yet, or has answered already.
            other => {
                self.handshake = other;
                return count(&mut self.counters.unhandled);
            }
        };
        match header.status {
            Status::OKAY => {}
            Status::OPERATION_NOT_PERMITTED => return self.close(CloseReason::WrongSecret),
            // What a peer says that does not know this datum; anybody can say it, so nothing is tried instead.
            _ => return self.close(CloseReason::PeerTooOld(NO_SECURE_MODE)),
        }
        let finished = data.decode_object::<Accepted>().ok().map(|accepted| initiator.finish(&accepted));
        match finished {
            Some(Ok(channel)) => {
                self.handshake = Handshake::Unproved { deadline };
                self.begin_records(channel, now);
            }
            _ => self.close(CloseReason::WrongSecret),
        }
    }

    /// The server has not done its part in time.
    pub(super) fn handshake_unanswered(&mut self, now: Instant) {
        if self.rekey.is_some() {
            return self.attempt_unanswered(now);
        }
        let reason = match self.handshake {
            Handshake::Unproved { .. } => CloseReason::WrongSecret,
            _ => CloseReason::PeerTooOld(NO_SECURE_MODE),
        };
        self.close(reason);
    }

    // Server

    /// A client offers a handshake.
    pub(super) fn handle_offer(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::AUTH_RESPONSE, header, format);
        let offer = data.decode_object::<Offer>().ok().filter(Offer::is_acceptable);
        if self.rekey.is_some() {
            return self.handle_offer_in_clear(origin, offer, now);
        }
        match offer.filter(|_| self.frames == 1 && self.records.is_none()) {
            Some(offer) => {
                self.begin_login_time(now);
                self.handshake = Handshake::Judged(origin);
                self.events.push_back(Event::Ask(AuthQuestion::Accept(offer)));
            }
            None => self.refuse_handshake(&origin, NOT_FIRST, now),
        }
    }

    /// The authenticator has judged the client's offer.
    pub(super) fn accept(&mut self, judged: Option<Result<(Channel, Accepted), Refused>>, now: Instant) {
        let Handshake::Judged(origin) = std::mem::take(&mut self.handshake) else { return };
        if self.rekey.is_some() {
            return self.accept_in_clear(&origin, judged, now);
        }
        match judged {
            Some(Ok((channel, accepted))) => {
                let data = Json::encode(&accepted).unwrap_or_default();
                self.respond(&origin, Status::OKAY, data.as_str(), now);
                self.begin_records(channel, now);
            }
            Some(Err(Refused)) => {
                self.wrong_key(now);
                self.refuse_handshake(&origin, NOT_PROVED, now);
            }
            None => self.close(CloseReason::Transport(NO_RANDOM.to_owned())),
        }
    }

    /// What is refused is not told why: whoever asks has proved nothing.
    fn refuse_handshake(&mut self, origin: &Origin, reason: &'static str, now: Instant) {
        warn!(reason, "secure handshake refused");
        self.respond(origin, Status::OPERATION_NOT_PERMITTED, "null", now);
        self.close(CloseReason::HandshakeRefused(reason));
    }

    // Both

    /// Whether a message belongs to what may be said now. A client in secure mode neither hears nor says anything in clear but
    /// the handshake: whoever is there has proved nothing.
    #[inline]
    pub(super) fn is_of_this_time(&self, service_id: ServiceId, data_id: DataId) -> bool {
        let is_clear = self.config.secure && self.config.role == Role::Client && self.records.is_none();
        !is_clear || (service_id, data_id) == (ServiceId::AUTH_RESPONSE, DataId::AUTH_SECURE)
    }

    /// Whether it is settled if the line is secure, and what has to be proved for that is. Where a certificate is trusted that
    /// is not so from the begin: the client's first frame says it.
    pub(super) fn is_settled(&self) -> bool {
        match &self.records {
            Some(records) => records.has_proved(),
            None => !self.config.secure || (self.frames > 0 && !self.handshake.is_judged()),
        }
    }

    fn begin_records(&mut self, channel: Channel, now: Instant) {
        let prefix = if self.datagrams { Prefix::Long } else { Prefix::Short };
        match Records::begin(channel, prefix, &mut self.out) {
            Ok(records) => {
                self.records = Some(Box::new(records));
                self.set_framing(Framing::Length);
                self.progress.get_or_insert(now);
            }
            Err(Refused) => self.close(CloseReason::BadRecord),
        }
    }

    /// Takes records, and the frames in them, while they may be judged.
    pub(super) fn handle_records(&mut self, input: &mut BytesMut, now: Instant) {
        let mut frames = self.records.as_mut().map(|records| records.take_opened()).unwrap_or_default();
        loop {
            self.take_secure_frames(&mut frames, now);
            if !self.wants_input() || !self.open_record(input, &mut frames, now) {
                break;
            }
        }
        if let Some(records) = &mut self.records {
            records.put_back(frames);
        }
    }

    /// Opens one record; false where there is none.
    fn open_record(&mut self, input: &mut BytesMut, frames: &mut BytesMut, now: Instant) -> bool {
        let Some(records) = &mut self.records else { return false };
        match records.open(input, frames) {
            Ok(Opened::Nothing) => return false,
            Ok(Opened::Piece) => {}
            Ok(Opened::Finished) => self.prove(now),
            Ok(Opened::Close(reason)) => self.peer_left(reason),
            Err(Refused) => self.close(CloseReason::BadRecord),
        }
        true
    }

    /// The other side has proved that it knows the secret, now and here.
    pub(super) fn prove(&mut self, now: Instant) {
        self.trust_peer();
        debug!("secure mode");
        if self.config.role == Role::Client {
            self.greet_server(now);
        }
        self.check_ready(now);
    }

    pub(super) fn trust_peer(&mut self) {
        self.handshake = Handshake::Idle;
        self.auth.trust();
        self.level = Some(Level::Secure);
        self.trust = None;
    }

    /// Seals what waits, once what was sealed before has left.
    pub(super) fn refill(&mut self) {
        let is_due = self.out.is_empty() && !self.holds_back();
        if let Some(records) = self.records.as_mut().filter(|_| is_due)
            && records.refill(&mut self.out).is_err()
        {
            self.close(CloseReason::BadRecord);
        }
    }
}

/// What a server says of a handshake that it does not even look into.
const NOT_FIRST: &str = "a handshake that is malformed, or does not come first";

/// What a server says of a handshake that does not open.
pub(super) const NOT_PROVED: &str = "the client's secret is wrong, or its key id unknown";

/// What a client says of a server that does not answer as one of this protocol.
pub(super) const NO_SECURE_MODE: &str = "the peer does not know secure mode";

/// What keeps a handshake from being begun or answered.
pub(super) const NO_RANDOM: &str = "the operating system gives no random numbers for the handshake";
