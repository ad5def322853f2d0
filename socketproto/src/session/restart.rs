//! Lines without an end of connection: who is at the other end is told by what comes (protocol.md section 4).
//!
//! ```text
//!  HELLO, again after 1, 2 and 4 s ──▶ the peer's HELLO ──▶ channel name, authentication ──▶ ready
//!          ▲                                                                                  │
//!          └── another session than the known one, or status 3 although trusted: the peer has restarted
//! ```
//! A restart ends the session with [`CloseReason::PeerRestarted`]. Its owner reopens it on the same line, and the HELLO
//! or heartbeat that told of the restart is the first message of what follows. So it does where the peer falls silent.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::frame::Format;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json, Message};
use crate::session::budget::after;
use crate::session::event::CloseReason;
use crate::session::hello::Hello;
use crate::session::secure::NO_SECURE_MODE;
use crate::session::{Config, Exchange, LOGIN_TIMEOUT, Role, Session};

/// The waits between the first HELLOs, which so leave at 0, 1, 2 and 4 s (protocol.md section 4).
const FIRST_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(2)];
/// The wait between further ones. A client goes on for ever, for nothing else tells it that its server is there.
const FURTHER_WAIT: Duration = Duration::from_secs(4);
/// The time for an authentication doubles so often: on a slow line the answers to one attempt have to be there before the
/// next one replaces its seed.
const MAX_DOUBLINGS: u32 = 4;

/// What such a line has told of the other end.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// The session of the peer's HELLO.
    session: Option<Box<str>>,
    /// HELLOs of ours.
    greetings: usize,
    /// Whether a valid frame has come.
    pub(super) heard: bool,
    /// Our own HELLO came back.
    echoes: bool,
    /// Attempts to authenticate that had no answer.
    logins: u32,
    /// The message id of the attempt that is under way.
    login_id: Option<u64>,
    /// A key has been refused.
    refused: bool,
    /// The message that told of a restart.
    news: Option<Box<(Header, Json, Format)>>,
}

impl Presence {
    /// Whether somebody has said HELLO.
    pub(super) fn has_met(&self) -> bool {
        self.session.is_some()
    }

    /// Records have begun, or begin anew: HELLO is said in them.
    pub(super) fn begin_session(&mut self) {
        (self.greetings, self.heard, self.refused) = (0, true, false);
    }

    /// Whether a proof of this side has been refused before; it has been now.
    pub(super) fn was_refused(&mut self) -> bool {
        std::mem::replace(&mut self.refused, true)
    }
}

/// How long an answer is waited for that such a line can lose, after so many attempts.
pub(super) fn wait_for_answer(attempts: usize) -> Duration {
    FIRST_WAITS.get(attempts).copied().unwrap_or(FURTHER_WAIT)
}

impl Session {
    /// Says HELLO, and when to do so again.
    pub(super) fn greet(&mut self, now: Instant) {
        let waits = match &self.records {
            None => !self.out.is_empty(),
            Some(records) => records.unsealed() > 0,
        };
        // Not while the last one has yet to leave.
        if !waits || self.hello == Exchange::Off {
            let data = Hello::data(&self.config.session, &self.config.limits);
            self.ask(ServiceId::HELLO_REQUEST, DataId::HELLO, &data, now);
        }
        let wait = wait_for_answer(self.presence.greetings);
        self.presence.greetings = self.presence.greetings.saturating_add(1);
        self.hello = Exchange::Asked { deadline: after(now, wait.saturating_add(self.own_delay())) };
    }

    /// Two sides that start together on a line of one direction at a time would talk at once, again and again. So
    /// each waits a little longer, up to 255 ms, as the random digits of its session say.
    fn own_delay(&self) -> Duration {
        Duration::from_millis(self.own_digits().into())
    }

    /// What tells the timing of this side from that of others.
    pub(super) fn own_digits(&self) -> u8 {
        let digits = self.config.session.get(14..16).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        digits.unwrap_or_default()
    }

    /// Where the message ids of this endpoint begin: answers to who was here before are still on their way, and must
    /// not be taken for ours.
    pub(super) fn first_message_id(&self) -> u64 {
        let digits = self.config.session.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        digits.unwrap_or_default().into()
    }

    /// HELLO has had no answer in time.
    pub(super) fn hello_unanswered(&mut self, now: Instant) {
        if !self.is_endless() {
            return self.hello_failed();
        }
        let is_last = self.presence.greetings > FIRST_WAITS.len();
        if is_last && !self.config.serial {
            // The line is not all that there is: another may lead to somebody.
            return self.hello_failed();
        }
        if self.config.role == Role::Server && is_last {
            // A client says HELLO when it comes, and is asked when it says anything else.
            self.hello = Exchange::Off;
            return;
        }
        self.greet(now);
    }

    /// Somebody is there who has not said HELLO, or whose HELLO got lost.
    pub(super) fn greet_stranger(&mut self, now: Instant) {
        // In secure mode it is the client that begins, and a stranger in clear is none of it.
        let is_mute = self.config.secure && !self.config.legacy && self.records.is_none();
        let Config { serial, hello, .. } = self.config;
        if serial && hello && !is_mute && self.hello == Exchange::Off && self.closed.is_none() {
            self.greet(now);
        }
    }

    /// The authentication has had no answer in time. Where nobody can tell whether the server is there it begins again.
    pub(super) fn auth_unanswered(&mut self, now: Instant) {
        if !(self.config.serial && self.config.auto_auth) {
            return self.authentication_failed("the server did not answer the authentication within 2 s");
        }
        if self.auth.fail() {
            self.presence.logins = self.presence.logins.saturating_add(1);
            let doublings = self.presence.logins.min(MAX_DOUBLINGS);
            let wait = LOGIN_TIMEOUT.saturating_mul(2_u32.saturating_pow(doublings));
            self.begin_login(after(now, wait), now);
        }
    }

    /// Whether nothing is asked yet, for nobody has said HELLO.
    pub(super) fn is_awaiting_peer(&self) -> bool {
        self.config.serial && self.config.hello && self.hello != Exchange::Done
    }

    pub(super) fn ask_seed(&mut self, now: Instant) {
        if self.presence.logins > 0 && !self.out.is_empty() {
            // The last request has yet to leave.
            return;
        }
        // The answer to an attempt that was given up, or to one before a restart, may still come.
        let has_id = self.config.serial && self.agreement.message_id;
        self.presence.login_id = has_id.then(|| self.calls.next_message_id());
        self.ask_login(DataId::AUTH_SEED, &Json::NULL, now);
    }

    /// Sends a request of the authentication that is under way.
    pub(super) fn ask_login(&mut self, data_id: DataId, data: &Json, now: Instant) {
        self.ask_under(self.presence.login_id, ServiceId::AUTH_REQUEST, data_id, data, now);
    }

    /// Whether an answer belongs to the authentication that is under way.
    pub(super) fn is_of_login(&self, header: &Header) -> bool {
        self.presence.login_id.is_none() || self.presence.login_id == header.message_id
    }

    /// The server says that the key is wrong. On a serial line it may have lost the seed by a restart, or have been asked
    /// for another one meanwhile: once more then.
    pub(super) fn key_refused(&mut self, now: Instant) {
        if self.config.serial && !self.presence.was_refused() {
            return self.begin_login(after(now, LOGIN_TIMEOUT), now);
        }
        self.login_failed("the secret is wrong");
    }

    /// The peer has said who it is, for the first time on this line.
    pub(super) fn meet(&mut self, hello: &Hello, now: Instant) {
        if !self.is_endless() {
            return;
        }
        let known = self.presence.session.replace(hello.session.as_str().into());
        self.confirm(now);
        let is_new = known.is_none() && self.channel == Exchange::Off;
        if is_new && self.config.role == Role::Client && self.config.hello {
            self.introduce(now);
        }
    }

    /// The HELLO is our own.
    pub(super) fn echoed(&mut self) {
        if !self.is_endless() {
            return self.close(CloseReason::Echo);
        }
        // Nobody else has been heard by it.
        self.presence.heard = false;
        if !std::mem::replace(&mut self.presence.echoes, true) {
            warn!("the line echoes: our own HELLO came back; say `echo=on` in the address");
        }
    }

    /// Whether what carries this session is of another one than what was said so far.
    pub(super) fn is_restart(&self, session: &str) -> bool {
        self.is_endless()
            && match &self.presence.session {
                Some(known) => **known != *session,
                // Nobody said HELLO, and somebody is trusted: not necessarily this one, unless what it says proves it.
                None => self.auth.is_trusted() && self.records.is_none(),
            }
    }

    /// Whether the server has forgotten that it trusts us: an answer of its gate, which has no data.
    pub(super) fn is_forgotten(&self, header: &Header, data: &Json) -> bool {
        self.config.serial
            && self.records.is_none()
            && self.config.role == Role::Client
            && header.status == Status::AUTHENTICATION_REQUIRED
            && data.is_null()
            && self.auth.is_trusted()
    }

    /// Ends what was with the peer as it was. `news` is the message that told of it.
    pub(super) fn peer_restarted(&mut self, news: Option<(Header, Json, Format)>) {
        info!("the peer has restarted");
        self.close(CloseReason::PeerRestarted);
        self.presence.news = news.map(Box::new);
    }

    /// Begins with what ended the session before.
    pub(super) fn succeed(&mut self, before: &mut Self, now: Instant) {
        self.presence.echoes = before.presence.echoes;
        let news = before.presence.news.take();
        let is_hello = |header: &Header| {
            matches!(header.service_id, ServiceId::HELLO_REQUEST | ServiceId::HELLO_RESPONSE)
        };
        self.inherit(before, news.as_ref().is_some_and(|news| is_hello(&news.0)), now);
        if let Some(news) = news {
            let (header, data, format) = *news;
            self.presence.heard = true;
            self.format = format;
            self.handle_message(Message::from_parts(header, data), format, now);
        }
    }

    /// Whether a valid frame has come.
    pub(crate) fn has_heard(&self) -> bool {
        self.presence.heard
    }

    /// Why calls cannot be made yet.
    pub(crate) fn why_not_ready(&self) -> CloseReason {
        let Presence { heard, echoes, .. } = self.presence;
        match self.hello {
            _ if !heard || echoes => CloseReason::NoAnswer { echoes },
            _ if self.rekey.is_some() && self.records.is_none() => CloseReason::PeerTooOld(NO_SECURE_MODE),
            Exchange::Asked { .. } => CloseReason::PeerTooOld("the peer does not answer HELLO"),
            _ => CloseReason::AuthenticationFailed("the server did not answer the authentication"),
        }
    }
}
