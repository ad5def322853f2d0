//! The protocol of one connection as a pure state machine: no I/O, no clock, no randomness of its own.
//!
//! ```text
//!  bytes ──handle_input──▶ ┌─────────┐ ──poll_event──▶ requests, outcomes of calls, questions
//!  outcomes, calls,        │ Session │
//!  answers, the time ────▶ └─────────┘ ──poll_transmit─▶ bytes
//! ```
//! Its owner drives it in this order, as often as something happens:
//!
//! 1. `handle_*`: what came in (bytes, outcomes of requests, calls to make, answers of the authenticator, the time);
//! 2. `poll_event` until there is none;
//! 3. `poll_transmit`, send what it gives, and report with `handle_sent`;
//! 4. sleep until something comes or `poll_timeout` is due, then call `handle_timeout`.
//!
//! When `close_reason` is there, everything is over: every call has been completed and nothing will be dispatched; the
//! bytes still in `poll_transmit` may be sent before the line is closed.

mod auth;
mod budget;
mod calls;
pub(crate) mod dispatch;
pub(crate) mod event;
mod hello;
mod receive;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;
use tracing::{debug, warn};

use crate::fault::Fault;
use crate::frame::{self, EncodeError, Format};
use crate::framing::{Deframer, Framer, Framing};
use crate::id::{AuthState, DataId, ServiceId, Status};
use crate::limits::Limits;
use crate::message::{Header, Json};
use crate::session::auth::Auth;
use crate::session::budget::{Budget, after};
use crate::session::calls::Calls;
use crate::session::dispatch::Dispatch;
use crate::session::hello::{Agreement, Hello};
use crate::session::requests::{Origin, Requests};

pub(crate) use crate::session::calls::NewCall;
pub(crate) use crate::session::event::{
    AuthAnswer, AuthQuestion, CallFailure, CallKey, CallOutcome, CloseReason, Counters, Event, Incoming,
    RequestId,
};
pub(crate) use crate::session::receive::is_channel_name;

/// How long a client waits for the answer to its HELLO (protocol.md section 3).
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a missing answer to the channel name is waited for before it is logged (protocol.md section 4).
const CHANNEL_NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// Buffers above this are given back when they are empty.
const RETAINED: usize = 64 * 1024;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Connects, starts the exchanges of protocol.md section 4, proves the secret.
    Client,
    /// Accepts.
    Server,
}

/// What an endpoint gives each of its sessions.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) role: Role,
    /// 16 hex digits, new at every start of the endpoint.
    pub(crate) session: Arc<str>,
    pub(crate) channel_name: Option<Arc<str>>,
    /// Whether a secret is set; the secret itself is the authenticator's.
    pub(crate) secret: bool,
    /// Client: whether to authenticate at once; else being trusted is no part of being ready.
    pub(crate) auto_auth: bool,
    /// Client: whether the peer is new, so that it answers HELLO.
    pub(crate) hello: bool,
    /// None: told by the first byte.
    pub(crate) framing: Option<Framing>,
    /// The format used before the first valid frame came.
    pub(crate) format: Format,
    pub(crate) limits: Arc<Limits>,
    pub(crate) dispatch: Arc<Dispatch>,
}

/// An answer of the peer that is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exchange {
    Off,
    Asked { deadline: Instant },
    Done,
}

impl Exchange {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Asked { deadline } => Some(deadline),
            Self::Off | Self::Done => None,
        }
    }
}

/// The protocol of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    config: Config,
    deframer: Option<Deframer>,
    framer: Framer,
    out: BytesMut,
    events: VecDeque<Event>,
    agreement: Agreement,
    hello: Exchange,
    channel: Exchange,
    channel_name: Option<Arc<str>>,
    auth: Auth,
    calls: Calls,
    requests: Requests,
    format: Format,
    ready: bool,
    draining: bool,
    closed: Option<CloseReason>,
    first_byte: Option<Instant>,
    trust: Option<Instant>,
    login_begun: bool,
    /// When bytes that still wait were last seen to move.
    progress: Option<Instant>,
    protocol_errors: Budget,
    non_finite_warned: bool,
    counters: Counters,
}

impl Session {
    /// A session on a line that has just been opened. A client's first frames can be sent at once.
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let limits = &config.limits;
        let mut session = Self {
            deframer: config.framing.map(|framing| Deframer::new(framing, limits.max_frame)),
            framer: Framer::new(config.framing.unwrap_or(Framing::Length)),
            out: BytesMut::new(),
            events: VecDeque::new(),
            agreement: Agreement::unknown(limits),
            hello: Exchange::Off,
            channel: Exchange::Off,
            channel_name: config.channel_name.clone(),
            auth: Auth::default(),
            calls: Calls::default(),
            requests: Requests::default(),
            format: config.format,
            ready: false,
            draining: false,
            closed: None,
            first_byte: (config.role == Role::Server).then(|| after(limits.first_byte_timeout, now)),
            trust: None,
            login_begun: false,
            progress: None,
            protocol_errors: Budget::new(limits.protocol_errors, now),
            non_finite_warned: false,
            counters: Counters::default(),
            config,
        };
        match session.config.role {
            Role::Client => session.open(now),
            Role::Server => session.restart_trust(now),
        }
        session.check_ready(now);
        session
    }

    /// The exchanges that a client begins (protocol.md section 4).
    fn open(&mut self, now: Instant) {
        if self.config.hello {
            let data = Hello::data(&self.config.session, &self.config.limits);
            self.ask(ServiceId::HELLO_REQUEST, DataId::HELLO, &data, now);
            self.hello = Exchange::Asked { deadline: now + HELLO_TIMEOUT };
        }
        let name = Json::encode(&self.channel_name.as_deref()).unwrap_or_default();
        self.ask(ServiceId::CHANNEL_NAME_REQUEST, DataId::CHANNEL_NAME, &name, now);
        self.channel = Exchange::Asked { deadline: now + CHANNEL_NAME_TIMEOUT };
        if self.config.secret && self.config.auto_auth {
            self.auth.begin(now);
            self.ask(ServiceId::AUTH_REQUEST, DataId::AUTH_SEED, &Json::NULL, now);
        }
    }

    // What comes in

    /// Takes bytes from the line: as many as belong to whole frames that may be judged now. What is left stays in
    /// `input` for the next time.
    pub(crate) fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        while self.wants_input() {
            let limit = self.frame_limit();
            let Some(deframer) = &mut self.deframer else {
                match input.first() {
                    Some(first) => self.detect(*first),
                    None => return,
                }
                continue;
            };
            if !input.is_empty() {
                self.first_byte = None;
            }
            deframer.set_max_frame(limit);
            match deframer.decode(input) {
                Ok(Some(piece)) => self.handle_piece(piece, now),
                Ok(None) => break,
                Err(error) => self.handle_framing_error(&error),
            }
        }
        self.check_ready(now);
        let buffered = input.len() + self.deframer.as_ref().map_or(0, Deframer::pending);
        let limit = self.config.limits.untrusted_buffered;
        if self.is_gated() && buffered > limit {
            self.close(CloseReason::BufferTooLarge { found: buffered, limit, setting: "untrusted_buffered" });
        }
    }

    /// Whether bytes are taken: not while a verdict is awaited, for it judges the frames behind the key.
    pub(crate) fn wants_input(&self) -> bool {
        self.closed.is_none() && !self.auth.is_asking()
    }

    /// Takes the outcome of a request: with status okay `text` is the reply as JSON, else it is the fault's message.
    /// The outcome of a request that is over already is dropped.
    pub(crate) fn handle_reply(&mut self, request: RequestId, status: Status, text: &str, now: Instant) {
        let Some(running) = self.requests.finish(request) else { return };
        if let Some(origin) = running.origin {
            if status.is_okay() {
                self.answer(request, &origin, status, text, now);
            } else {
                let data = self.fault_data(text);
                self.answer(request, &origin, status, &data, now);
            }
        }
        self.resume(now);
    }

    /// Takes a call to make. Its outcome comes as an event, exactly once.
    pub(crate) fn handle_call(&mut self, new: NewCall, now: Instant) {
        let failure = match (&self.closed, self.config.dispatch.response_of(new.service_id)) {
            (Some(reason), _) => CallFailure::Lost(reason.clone()),
            (None, None) => CallFailure::UnknownService,
            (None, Some(response)) => {
                self.calls.enqueue(new, response, now);
                return self.send_calls(now);
            }
        };
        self.completed(new.call, Err(failure));
    }

    /// Forgets a call whose caller has gone.
    pub(crate) fn handle_cancel(&mut self, call: CallKey, now: Instant) {
        self.calls.cancel(call, now);
        self.send_calls(now);
    }

    /// Takes what the authenticator answered.
    pub(crate) fn handle_auth_answer(&mut self, answer: AuthAnswer, now: Instant) {
        match answer {
            AuthAnswer::Seed(Some(seed)) => {
                let data = Json::encode(&seed).unwrap_or_default();
                if let Some(origin) = self.auth.open_seed(seed) {
                    self.respond(&origin, Status::OKAY, data.as_str(), now);
                }
            }
            AuthAnswer::Seed(None) => {
                if let Some(origin) = self.auth.abandon() {
                    self.respond(&origin, Status::CALLBACK_ERROR, "null", now);
                }
            }
            AuthAnswer::Verdict(right) => self.judge(right, now),
            AuthAnswer::Key(key) => {
                if self.auth.key_sent() {
                    let data = Json::encode(&key).unwrap_or_default();
                    self.ask(ServiceId::AUTH_REQUEST, DataId::AUTH_KEY, &data, now);
                }
            }
        }
    }

    /// Takes the time; to be called when `poll_timeout` is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for call in self.calls.expired(now) {
            self.completed(call, Err(CallFailure::TimedOut));
        }
        self.expire_requests(now);
        self.send_calls(now);
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.channel.deadline()) {
            self.channel = Exchange::Off;
            debug!("the peer does not answer the channel name request");
        }
        if due(self.auth.deadline()) {
            self.authentication_failed("the server did not answer the authentication within 2 s");
        }
        if due(self.hello.deadline()) {
            self.hello_failed();
        }
        if due(self.first_byte) {
            self.close(CloseReason::FirstByteTimeout);
        }
        if due(self.trust) {
            self.close(CloseReason::TrustTimeout);
        }
        if due(self.write_deadline()) {
            self.close(CloseReason::WriteTimeout);
        }
    }

    /// Reports that the first bytes of `poll_transmit` have left.
    pub(crate) fn handle_sent(&mut self, bytes: usize, now: Instant) {
        self.out.advance(bytes.min(self.out.len()));
        if self.out.is_empty() {
            self.progress = None;
            if self.out.capacity() > RETAINED {
                self.out = BytesMut::new();
            }
        } else if bytes > 0 {
            self.progress = Some(now);
        }
    }

    /// Ends the session: calls fail at once, parked requests are dropped, nothing is dispatched any more.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if self.closed.is_some() {
            return;
        }
        debug!(%reason, counters = ?self.counters, "connection ends");
        self.events.retain(|event| matches!(event, Event::Completed { .. }));
        for call in self.calls.end_all() {
            self.completed(call, Err(CallFailure::Lost(reason.clone())));
        }
        self.requests.clear_parked();
        self.auth = Auth::default();
        self.closed = Some(reason);
    }

    /// Takes no further requests; `is_idle` tells when those that run are answered.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.requests.clear_parked();
    }

    // What goes out

    /// The next thing to do or to know.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send.
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        &self.out
    }

    /// When `handle_timeout` wants to be called; it may be early, never late.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        [
            self.calls.deadline(),
            self.requests.deadline(),
            self.channel.deadline(),
            self.auth.deadline(),
            self.hello.deadline(),
            self.first_byte,
            self.trust,
            self.write_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // What it is like

    /// Why the session has ended.
    pub(crate) fn close_reason(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Whether nothing runs and nothing waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.running() == 0 && self.out.is_empty()
    }

    pub(crate) fn auth_state(&self) -> AuthState {
        self.auth.state
    }

    /// The name of the channel: our own, or the one taken over.
    pub(crate) fn channel_name(&self) -> Option<&Arc<str>> {
        self.channel_name.as_ref()
    }

    /// Whether a secret is set and the peer has yet to prove it.
    fn is_gated(&self) -> bool {
        self.config.secret && !self.auth.is_trusted()
    }

    fn frame_limit(&self) -> usize {
        let limits = &self.config.limits;
        if self.is_gated() { limits.untrusted_max_frame.min(limits.max_frame) } else { limits.max_frame }
    }

    fn unsent_limit(&self) -> (usize, &'static str) {
        let limits = &self.config.limits;
        if self.is_gated() {
            (limits.untrusted_unsent, "untrusted_unsent")
        } else {
            (limits.max_unsent, "max_unsent")
        }
    }

    fn write_deadline(&self) -> Option<Instant> {
        self.progress.map(|progress| after(self.config.limits.write_timeout, progress))
    }

    // Parts of the work

    fn completed(&mut self, call: CallKey, outcome: CallOutcome) {
        self.events.push_back(Event::Completed { call, outcome });
    }

    fn check_ready(&mut self, now: Instant) {
        let speaks = self.config.role == Role::Client || self.deframer.is_some();
        let known = speaks && !(self.needs_hello() && matches!(self.hello, Exchange::Asked { .. }));
        let trusted = !self.config.secret || !self.config.auto_auth || self.auth.is_trusted();
        if !self.ready && known && trusted && self.closed.is_none() {
            self.ready = true;
            self.events.push_back(Event::Ready);
            self.send_calls(now);
        }
    }

    /// Whether the peer has to answer HELLO: STP may lead to an old one (protocol.md section 4, step 3).
    fn needs_hello(&self) -> bool {
        self.config.framing != Some(Framing::Stp)
    }

    /// HELLO has no answer, or none that can be read.
    fn hello_failed(&mut self) {
        self.hello = Exchange::Off;
        if self.needs_hello() {
            self.close(CloseReason::PeerTooOld);
        }
    }

    fn judge(&mut self, right: bool, now: Instant) {
        let was_trusted = self.auth.is_trusted();
        let Some(origin) = self.auth.judge(right) else { return };
        self.respond(&origin, Status::OKAY, if right { "true" } else { "false" }, now);
        if right {
            self.trust = None;
            self.check_ready(now);
        } else {
            warn!("the peer's key is wrong");
            if was_trusted {
                self.login_begun = false;
                self.restart_trust(now);
            }
        }
    }

    /// The time a peer has to be trusted (protocol.md section 8).
    fn restart_trust(&mut self, now: Instant) {
        if self.is_gated() && self.config.role == Role::Server && !self.login_begun {
            let limits = &self.config.limits;
            let lenient = self.config.dispatch.has_public_data() || !self.config.auto_auth;
            let time = if lenient { limits.public_idle_timeout } else { limits.trust_timeout };
            self.trust = Some(after(time, now));
        }
    }

    fn authentication_failed(&mut self, reason: &'static str) {
        if self.auth.fail() && self.config.auto_auth {
            self.close(CloseReason::AuthenticationFailed(reason));
        }
    }

    fn expire_requests(&mut self, now: Instant) {
        for request in self.requests.expired(now) {
            let Some(running) = self.requests.finish(request) else { continue };
            self.counters.expired += 1;
            self.events.push_back(Event::Expired { request, handler: running.handler });
            if let Some(origin) = running.origin {
                let data = self.fault_data("handler timed out");
                self.answer(request, &origin, Status::CALLBACK_ERROR, &data, now);
            }
        }
        self.resume(now);
    }

    /// Starts parked requests while there is room.
    fn resume(&mut self, now: Instant) {
        while self.requests.running() < self.config.limits.max_in_flight && self.closed.is_none() {
            let Some((incoming, origin)) = self.requests.unpark() else { return };
            self.requests.start(&incoming, origin, now);
            self.events.push_back(Event::Dispatch(incoming));
        }
    }

    fn send_calls(&mut self, now: Instant) {
        if !self.ready || self.closed.is_some() {
            return;
        }
        while let Some((waiting, message_id)) =
            self.calls.next_to_send(self.agreement.message_id, self.agreement.window)
        {
            let header = Header {
                service_id: waiting.new.service_id,
                data_id: waiting.new.data_id,
                status: Status::OKAY,
                message_id,
            };
            let format = self.format_for(message_id);
            // The caller wrote the data as JSON, which is UTF-8.
            let data = str::from_utf8(&waiting.new.data).unwrap_or("null");
            match self.send(&header, data, format, now) {
                Ok(()) => self.calls.sent(&waiting, message_id),
                Err(error) => {
                    self.completed(waiting.new.call, Err(CallFailure::NotSendable(error.to_string())));
                }
            }
            if self.closed.is_some() {
                return;
            }
        }
    }

    /// A struct frame has no room for a message id.
    fn format_for(&self, message_id: Option<u64>) -> Format {
        if message_id.is_some() { Format::Json } else { self.format }
    }

    /// Sends a request of the protocol's own.
    fn ask(&mut self, service_id: ServiceId, data_id: DataId, data: &Json, now: Instant) {
        let header = Header { service_id, data_id, status: Status::OKAY, message_id: None };
        if let Err(error) = self.send(&header, data.as_str(), self.format, now) {
            debug!(%service_id, %error, "not sent");
        }
    }

    /// Gives an answer its turn, and those that were held for it.
    fn answer(&mut self, request: RequestId, origin: &Origin, status: Status, data: &str, now: Instant) {
        if !self.requests.may_leave(origin, request) {
            return self.requests.hold(origin, request, status, Json::from_valid(data.to_owned().into()));
        }
        self.respond(origin, status, data, now);
        while let Some((origin, held)) = self.requests.next_held(origin) {
            self.respond(&origin, held.status, held.data.as_str(), now);
        }
    }

    /// Sends an answer; one that cannot be sent becomes status 2 with the reason.
    fn respond(&mut self, origin: &Origin, status: Status, data: &str, now: Instant) {
        let header = Header {
            service_id: origin.response,
            data_id: origin.data_id,
            status,
            message_id: origin.message_id,
        };
        let Err(error) = self.send(&header, data, origin.format, now) else { return };
        let header = Header { status: Status::CALLBACK_ERROR, ..header };
        let text = self.fault_data(&format!("response {error}"));
        if self.send(&header, &text, origin.format, now).is_ok() {
            return;
        }
        if let Err(error) = self.send(&header, "null", origin.format, now) {
            // Not even the bare status fits: the peer does not take what it asked for.
            self.close(match error {
                NotSent::TooLarge { size: found, max_frame: limit } => {
                    CloseReason::FrameTooLarge { found, limit, setting: "the peer's max_frame" }
                }
                NotSent::NoRoom { size, setting, .. } => {
                    let (limit, _) = self.unsent_limit();
                    CloseReason::BufferTooLarge { found: self.out.len() + size, limit, setting }
                }
                NotSent::Encode(error) => CloseReason::Transport(error.to_string()),
            });
        }
    }

    /// The data of an error outcome; a peer that is not trusted gets no text (protocol.md section 1).
    fn fault_data(&self, message: &str) -> String {
        #[derive(serde::Serialize)]
        struct FaultData<'a> {
            error: &'a str,
        }
        if message.is_empty() || self.is_gated() {
            return "null".to_owned();
        }
        let fault = Fault::callback_error(message);
        serde_json::to_string(&FaultData { error: fault.message() }).unwrap_or_else(|_| "null".to_owned())
    }

    /// Appends one frame to what is to be sent.
    fn send(&mut self, header: &Header, data: &str, format: Format, now: Instant) -> Result<(), NotSent> {
        let unsent = self.out.len();
        let (max_unsent, setting) = self.unsent_limit();
        let max_frame = self.agreement.max_frame;
        self.framer.frame(&mut self.out, |frame| {
            let start = frame.len();
            frame::encode(format, header, data, frame)?;
            let size = frame.len() - start;
            if size > max_frame {
                return Err(NotSent::TooLarge { size, max_frame });
            }
            if unsent + size > max_unsent {
                return Err(NotSent::NoRoom { size, free: max_unsent.saturating_sub(unsent), setting });
            }
            Ok(())
        })?;
        self.progress.get_or_insert(now);
        Ok(())
    }
}

/// Why a frame is not sent.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("of {size} bytes exceeds max_frame of {max_frame}")]
    TooLarge { size: usize, max_frame: usize },
    #[error("of {size} bytes exceeds the {free} bytes free of {setting}")]
    NoRoom { size: usize, free: usize, setting: &'static str },
    #[error("cannot be written: {0}")]
    Encode(#[from] EncodeError),
}
