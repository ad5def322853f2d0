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

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod auth;
mod breaches;
mod budget;
mod calls;
mod config;
pub(crate) mod dispatch;
pub(crate) mod event;
mod heartbeat;
mod hello;
mod inbox;
mod life;
mod memory;
mod operations;
mod pace;
mod posts;
mod receive;
mod records;
mod rekey;
mod requests;
mod reserved;
mod restart;
mod secure;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod transmit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rustc_hash::FxHashMap;
use tokio_util::codec::Decoder;
use tracing::debug;

use crate::frame::Format;
use crate::framing::{Deframer, Framer, Framing};
use crate::id::{DataId, Level, ServiceId, Status};
use crate::limits::Breach;
use crate::message::Json;
use crate::session::auth::Auth;
use crate::session::budget::Budget;
use crate::session::calls::{Asked, Calls};
use crate::session::dispatch::Dispatch;
use crate::session::heartbeat::Heartbeat;
use crate::session::hello::Agreement;
use crate::session::memory::give_back;
use crate::session::pace::Pace;
use crate::session::posts::Posts;
use crate::session::records::Records;
use crate::session::rekey::Rekey;
use crate::session::requests::Requests;
use crate::session::restart::Presence;
use crate::session::secure::Handshake;

pub(crate) use crate::session::auth::SENTINEL;
pub(crate) use crate::session::budget::{after, first};
pub(crate) use crate::session::calls::{CallKind, NewCall};
pub(crate) use crate::session::config::{Config, Role};
pub(crate) use crate::session::event::{
    AuthAnswer, AuthQuestion, CallFailure, CallKey, CallOutcome, CloseReason, Counters, Done, Event,
    Incoming, Received, RequestId,
};
pub(crate) use crate::session::inbox::Inbox;
pub(crate) use crate::session::reserved::is_channel_name;

/// How long a client waits for the answer to its HELLO (protocol.md section 3).
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a missing answer to the channel name is waited for before it is logged (protocol.md section 4).
const CHANNEL_NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client that authenticates by itself waits for the whole exchange (protocol.md 5.1).
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// How the peer was authenticated, once it is trusted by the secret.
    level: Option<Level>,
    handshake: Handshake,
    /// Set once the line is secure: frames travel in them.
    records: Option<Box<Records>>,
    /// What there is beside them where they can be lost.
    rekey: Option<Box<Rekey>>,
    /// The line carries whole messages.
    datagrams: bool,
    /// Frames that have come, whole or not, up to the second.
    frames: u8,
    calls: Calls,
    /// Services that calls brought along: request ids by response id.
    learnt: FxHashMap<ServiceId, ServiceId>,
    requests: Requests,
    posts: Posts,
    inbox: Inbox,
    /// Bytes that have left.
    sent: u64,
    format: Format,
    ready: bool,
    draining: bool,
    paused: bool,
    closed: Option<CloseReason>,
    first_byte: Option<Instant>,
    trust: Option<Instant>,
    login_begun: bool,
    /// When bytes that still wait were last seen to move.
    progress: Option<Instant>,
    heartbeat: Heartbeat,
    protocol_errors: Budget,
    untrusted_frames: Budget,
    /// Keys of the peer that were wrong.
    wrong_keys: u32,
    pace: Pace,
    breaches: Vec<Breach>,
    non_finite_warned: bool,
    counters: Counters,
    presence: Presence,
}

impl Session {
    /// A session on a line that has just been opened. A client's first frames can be sent at once.
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let mut session = Self::blank(config, now);
        session.begin(now);
        session
    }

    /// A session that has yet to begin.
    fn blank(config: Config, now: Instant) -> Self {
        let limits = &config.limits;
        Self {
            deframer: config.framing.map(|framing| Deframer::new(framing, limits.max_frame)),
            framer: Framer::new(config.framing.unwrap_or(Framing::Length)),
            out: BytesMut::new(),
            events: VecDeque::new(),
            agreement: Agreement::unknown(limits),
            hello: Exchange::Off,
            channel: Exchange::Off,
            channel_name: config.channel_name.clone(),
            auth: Auth::default(),
            level: None,
            handshake: Handshake::Idle,
            records: None,
            rekey: config.rekeys(config.framing).then(Box::default),
            datagrams: false,
            frames: 0,
            calls: Calls::default(),
            learnt: FxHashMap::default(),
            requests: Requests::default(),
            posts: Posts::default(),
            inbox: Inbox::default(),
            sent: 0,
            format: config.format,
            ready: false,
            draining: false,
            paused: false,
            closed: None,
            first_byte: (config.role == Role::Server && !config.serial)
                .then(|| after(now, limits.first_byte_timeout)),
            trust: None,
            login_begun: false,
            progress: None,
            heartbeat: Heartbeat::new(limits.heartbeat_interval, now),
            protocol_errors: Budget::new(limits.protocol_errors, limits.protocol_error_rate, now),
            untrusted_frames: Budget::new(limits.untrusted_frames, limits.untrusted_frame_rate, now),
            wrong_keys: 0,
            pace: Pace::default(),
            breaches: Vec::new(),
            non_finite_warned: false,
            counters: Counters::default(),
            presence: Presence::default(),
            config,
        }
    }

    fn begin(&mut self, now: Instant) {
        let Config { role, serial, hello, secure, legacy, .. } = self.config;
        match role {
            Role::Client => self.open(now),
            // In secure mode it is the client that begins.
            Role::Server if serial && hello && (legacy || !secure) => self.greet(now),
            Role::Server => self.restart_trust(now),
        }
        if serial || self.rekey.is_some() {
            self.calls.count_from(self.first_message_id());
        }
        self.check_ready(now);
    }

    /// A client's session that has no line yet; calls wait for `reopen`.
    pub(crate) fn waiting(config: Config, now: Instant) -> Self {
        let mut session = Self::new(config, now);
        session.closed = Some(CloseReason::NotConnected);
        session.out.clear();
        session.events.clear();
        session
    }

    // What comes in

    /// Takes bytes from the line: as many as belong to whole frames that may be judged now. What is left stays in
    /// `input` for the next time.
    pub(crate) fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        self.heartbeat.hear(input.len(), now);
        if self.config.secure {
            self.take_secure(input, now);
        } else {
            self.take_frames(input, now);
        }
        self.check_ready(now);
        match self.buffered(input) {
            // A record may end without a frame.
            0 if self.records.is_some() => self.pace.end(),
            0 => {}
            buffered => self.handle_begun(buffered, now),
        }
        self.heartbeat.leave(input.len());
    }

    /// The same where the line is secure, or can be.
    fn take_secure(&mut self, input: &mut BytesMut, now: Instant) {
        if self.rekey.is_some() {
            self.handle_payloads(input, now);
        } else if self.records.is_none() {
            self.take_secure_frames(input, now);
            // Of STP that has just been detected what follows is taken otherwise.
            if self.handshake.is_judged() && self.rekey.is_none() && !input.is_empty() {
                // Before the answer there is nothing that a client could say.
                self.close(CloseReason::BytesBehindOffer);
            }
        }
        if self.records.is_some() && self.rekey.is_none() {
            self.handle_records(input, now);
        }
    }

    /// The same apart from the way of frames in clear, which is to be as short as it can.
    #[inline(never)]
    fn take_secure_frames(&mut self, input: &mut BytesMut, now: Instant) {
        self.take_frames(input, now);
    }

    /// Takes frames while they may be judged. What follows the one that begins secure mode are records.
    #[inline(always)]
    fn take_frames(&mut self, input: &mut BytesMut, now: Instant) {
        let in_records = self.records.is_some();
        while self.wants_input() && in_records == self.records.is_some() {
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
                Ok(Some(piece)) => {
                    self.pace.end();
                    self.handle_piece(piece, now);
                }
                Ok(None) => break,
                Err(error) => {
                    self.handle_framing_error(&error, now);
                    self.skip_frame(&error, input);
                }
            }
        }
    }

    /// Bytes of the peer that have yet to become a message.
    fn buffered(&self, input: &BytesMut) -> usize {
        let pending = self.deframer.as_ref().map_or(0, Deframer::pending);
        // Where records can be lost, a frame is as slow as they are.
        let records = self.records.as_ref().filter(|_| self.rekey.is_none() || !self.config.lossy);
        let opened = records.map_or(0, |records| records.opened());
        let outer = self.rekey.as_ref().map_or(0, |rekey| rekey.pending());
        [pending, opened, outer].into_iter().fold(input.len(), usize::saturating_add)
    }

    /// Whether frames wait that have come, beside what is in the line's buffer.
    pub(crate) fn has_input(&self) -> bool {
        self.records.as_ref().is_some_and(|records| records.opened() > 0)
    }

    /// How many bytes of the frame that begins with `input` have yet to come, where its length is known.
    pub(crate) fn missing(&self, input: &[u8]) -> Option<usize> {
        self.deframer.as_ref().filter(|_| self.records.is_none()).and_then(|deframer| deframer.missing(input))
    }

    /// Whether bytes are taken: not while a verdict is awaited, for it judges the frames behind the key.
    pub(crate) fn wants_input(&self) -> bool {
        self.closed.is_none() && !self.auth.is_asking() && !self.handshake.is_judged() && !self.is_held_up()
    }

    /// An old peer knows no window: where too much of it is parked the line is left unread; so it is where the endpoint
    /// is short of memory. Never while a call of ours is outstanding, for its answer may be behind what is unread
    /// (protocol.md 8.1).
    fn is_held_up(&self) -> bool {
        let requests = &self.requests;
        let full = requests.has_parked() && requests.parked_bytes() >= self.config.limits.max_parked;
        let is_old = self.hello != Exchange::Done;
        (self.paused || (full && is_old)) && !self.calls.has_sent()
    }

    /// The endpoint is short of memory, or is not any more: requests are run one at a time, so that what is parked
    /// goes, and no more are read.
    pub(crate) fn pause(&mut self, paused: bool, now: Instant) {
        if std::mem::replace(&mut self.paused, paused) && !paused {
            self.resume(now);
        }
    }

    /// Takes a changed table; what it says holds from the next message on.
    pub(crate) fn set_dispatch(&mut self, dispatch: Arc<Dispatch>) {
        // An id that the endpoint declares itself has the role it says.
        self.learnt.retain(|response, request| dispatch.may_pair(*request, *response));
        self.config.dispatch = dispatch;
    }

    /// Takes the outcome of a request: with status okay `text` is the reply as JSON, else it is the fault's message;
    /// both were written by this side, so they are UTF-8. The outcome of a request that is over already is dropped.
    pub(crate) fn handle_reply(
        &mut self,
        request: RequestId,
        status: Status,
        text: impl AsRef<[u8]>,
        now: Instant,
    ) {
        let text = text.as_ref();
        let Some(running) = self.requests.finish(request) else {
            // It was over before, and now its handler is done with it.
            return self.resume(now);
        };
        if let Some(origin) = running.origin {
            if status.is_okay() {
                self.answer(request, &origin, status, text, now);
            } else {
                let data = self.fault_data(&String::from_utf8_lossy(text));
                self.answer(request, &origin, status, &data, now);
            }
        }
        self.resume(now);
    }

    /// A request that was over has not got as far as its handler.
    pub(crate) fn handle_gone(&mut self, request: RequestId, now: Instant) {
        self.requests.finish(request);
        self.resume(now);
    }

    /// Takes a call to make. Its outcome comes as an event, exactly once.
    pub(crate) fn handle_call(&mut self, new: NewCall, now: Instant) {
        let ended = self.closed.clone().filter(|_| !self.config.reconnect);
        match (new.kind, ended) {
            // What came before the end is received behind it.
            (CallKind::Receive, ended) => self.receive(&new, ended, now),
            (_, Some(reason)) => self.completed(new.call, Err(CallFailure::Unsent(Some(reason)))),
            (CallKind::Request, None) => self.request(new, now),
            (CallKind::Send { .. }, None) => self.post(new, now),
            (CallKind::Authenticate, None) => self.authenticate(&new, now),
        }
    }

    fn request(&mut self, new: NewCall, now: Instant) {
        match self.response_of(&new) {
            Ok(response) => {
                self.calls.enqueue(new, response, now);
                self.send_calls(now);
                self.resume(now);
            }
            Err(failure) => self.completed(new.call, Err(failure)),
        }
    }

    /// Forgets a call whose caller has gone.
    pub(crate) fn handle_cancel(&mut self, call: CallKey, now: Instant) {
        self.posts.cancel(call);
        self.inbox.cancel(call);
        self.auth.cancel(call);
        if let Some(message_id) = self.calls.cancel(call, now) {
            self.send_cancel(message_id, now);
        }
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
                    self.ask_login(DataId::AUTH_KEY, &data, now);
                }
            }
            AuthAnswer::Offered(made) => self.offer(made.map(|made| *made), now),
            AuthAnswer::Accepted(judged) => self.accept(judged.map(|judged| judged.map(|right| *right)), now),
        }
    }

    /// Takes the time; to be called when `poll_timeout` is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (call, asked) in self.calls.expired(now) {
            let failure =
                if asked == Asked::NotYet { CallFailure::Unsent(None) } else { CallFailure::TimedOut };
            self.completed(call, Err(failure));
            if let Asked::Under(message_id) = asked {
                self.send_cancel(message_id, now);
            }
        }
        self.expire_operations(now);
        if self.closed.is_some() {
            return;
        }
        self.expire_requests(now);
        self.send_calls(now);
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.channel.deadline()) {
            self.channel = Exchange::Off;
            debug!("the peer does not answer the channel name request");
        }
        if due(self.auth.deadline()) {
            self.auth_unanswered(now);
        }
        if due(self.handshake.deadline()) {
            self.handshake_unanswered(now);
        }
        if due(self.rekey_deadline()) {
            self.handle_rekey_timeout(now);
        }
        if due(self.hello.deadline()) {
            self.hello_unanswered(now);
        }
        if due(self.first_byte) {
            self.close(CloseReason::FirstByteTimeout(self.config.limits.first_byte_timeout));
        }
        if due(self.trust) {
            let (setting, limit) = self.trust_limit();
            self.close(CloseReason::TrustTimeout { setting, limit });
        }
        if due(self.frame_deadline()) {
            self.frame_too_slow();
        }
        if due(self.write_deadline()) {
            self.close(CloseReason::WriteTimeout(self.config.limits.write_timeout));
        }
        self.beat(now);
    }

    /// Reports that the first bytes of `poll_transmit` have left.
    pub(crate) fn handle_sent(&mut self, bytes: usize, now: Instant) {
        self.out.advance(bytes.min(self.out.len()));
        let left = match &mut self.records {
            None => bytes as u64,
            Some(records) if self.out.is_empty() => records.left(),
            Some(_) => 0,
        };
        self.sent = self.sent.saturating_add(left);
        self.heartbeat.say(bytes, self.sent, now);
        while let Some(call) = self.posts.taken(self.sent) {
            self.completed(call, Ok(Done::Sent));
        }
        if self.unsent() == 0 {
            self.progress = None;
        } else if bytes > 0 {
            self.progress = Some(now);
        }
        if self.out.is_empty() {
            give_back(&mut self.out);
        }
    }

    // What goes out

    /// The next thing to do or to know.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether `poll_event` has something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The bytes to send.
    #[inline]
    pub(crate) fn poll_transmit(&mut self) -> &[u8] {
        if self.records.is_some() {
            self.refill();
        }
        &self.out
    }

    /// When `handle_timeout` wants to be called; it may be early, never late.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let operations = self.operations_deadline();
        if self.closed.is_some() {
            return first([self.calls.deadline(), operations]);
        }
        first([
            operations,
            self.calls.deadline(),
            self.requests.deadline(),
            self.channel.deadline(),
            self.auth.deadline(),
            self.hello.deadline(),
            self.handshake.deadline(),
            self.rekey_deadline(),
            self.first_byte,
            self.trust,
            self.frame_deadline(),
            self.write_deadline(),
            self.heartbeat_deadline(),
        ])
    }
}
