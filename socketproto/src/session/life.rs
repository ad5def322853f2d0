//! The life of a line: it is opened, becomes ready, is trusted, and ends (protocol.md sections 4, 5 and 8).

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::{debug, warn};

use crate::framing::Framing;
use crate::id::{DataId, Level, ServiceId, Status};
use crate::limits::{Breach, Limit};
use crate::message::Json;
use crate::session::budget::after;
use crate::session::event::{CallFailure, CloseReason, Event};
use crate::session::hello::Hello;
use crate::session::secure::Handshake;
use crate::session::{CHANNEL_NAME_TIMEOUT, Exchange, HELLO_TIMEOUT, LOGIN_TIMEOUT, Role, Session};

impl Session {
    /// The exchanges that a client begins (protocol.md section 4).
    pub(super) fn open(&mut self, now: Instant) {
        if self.rekey.is_some() {
            return self.begin_attempt(now);
        }
        if self.config.secure {
            return self.begin_handshake();
        }
        self.greet_server(now);
    }

    /// Says who this side is.
    pub(super) fn greet_server(&mut self, now: Instant) {
        if self.config.hello && self.is_endless() {
            self.greet(now);
            if self.records.is_some() && !self.presence.has_met() {
                // The server is there: it has proved it.
                self.introduce(now);
            }
            // Else the rest follows when the server is there.
            return;
        }
        if self.config.hello {
            let data = Hello::data(&self.config.session, &self.config.limits);
            self.ask(ServiceId::HELLO_REQUEST, DataId::HELLO, &data, now);
            self.hello = Exchange::Asked { deadline: after(now, HELLO_TIMEOUT) };
        }
        self.introduce(now);
    }

    /// The channel name and the authentication.
    pub(super) fn introduce(&mut self, now: Instant) {
        let name = Json::encode(&self.channel_name.as_deref()).unwrap_or_default();
        self.ask(ServiceId::CHANNEL_NAME_REQUEST, DataId::CHANNEL_NAME, &name, now);
        self.channel = Exchange::Asked { deadline: after(now, CHANNEL_NAME_TIMEOUT) };
        if self.config.legacy && self.config.auto_auth {
            self.begin_login(after(now, LOGIN_TIMEOUT), now);
        }
        if let Some(deadline) = self.auth.longest_wait() {
            self.begin_login(deadline, now);
        }
    }

    /// Ends the line: calls that were sent fail at once, parked requests are dropped, nothing is dispatched any more.
    /// Calls that wait fail too, unless another line follows.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if self.closed.is_some() {
            return;
        }
        // A serial line has no end of its own.
        let is_proved = !self.config.serial
            && self.records.as_ref().is_some_and(|records| records.has_proved() && !records.has_ended());
        let reason = match reason {
            // Somebody in between may have cut it short, or have said that it ends.
            CloseReason::Peer if is_proved => CloseReason::Truncated(String::new()),
            CloseReason::Transport(said) if is_proved => CloseReason::Truncated(said),
            reason => reason,
        };
        let ends_line = !self.keeps_line(&reason);
        if let Some(records) = self.records.as_mut().filter(|_| ends_line) {
            records.say_farewell(&if reason == CloseReason::Local {
                String::new()
            } else {
                reason.to_string()
            });
        }
        debug!(%reason, counters = ?self.counters, "connection ends");
        if let Some(breach) = reason.breach() {
            self.note(breach);
        }
        self.events.retain(|event| matches!(event, Event::Completed { .. } | Event::WrongKey));
        for call in self.calls.end_sent(self.is_endless()) {
            self.completed(call, Err(CallFailure::Lost(reason.clone())));
        }
        self.end_operations(&reason);
        if !self.config.reconnect {
            self.fail_waiting(&reason);
        }
        self.requests.clear_parked();
        self.auth.restart();
        self.level = None;
        self.handshake = Handshake::Idle;
        self.closed = Some(reason);
    }

    /// Ends the session for good: no other line follows.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        self.config.reconnect = false;
        self.fail_waiting(&reason);
        self.close(reason.clone());
        // Where the line was lost before, it is this that counts from now on.
        self.closed = Some(reason);
    }

    /// The line is gone, and with it what it has yet to take, its requests, and a channel name that was taken over
    /// (protocol.md section 4). The next one may be long in coming.
    pub(crate) fn forget_line(&mut self) {
        self.requests.restart();
        if self.rekey.is_none() || !self.begins_again() {
            self.out = BytesMut::new();
            self.records = None;
            self.deframer = None;
        }
        self.channel_name.clone_from(&self.config.channel_name);
    }

    pub(super) fn fail_waiting(&mut self, reason: &CloseReason) {
        let mut waiting = self.calls.end_waiting();
        waiting.extend(self.posts.end_waiting());
        waiting.extend(self.inbox.end_receivers());
        waiting.extend(self.auth.end_waiting());
        for call in waiting {
            self.completed(call, Err(CallFailure::Unsent(Some(reason.clone()))));
        }
    }

    /// Begins anew on another line: nothing is kept but the calls and operations that wait and the names of requests.
    pub(crate) fn reopen(&mut self, now: Instant) {
        let mut next = Self::blank(self.config.clone(), now);
        // What follows a restart inside records goes on with them.
        if self.records.is_none() || self.closed != Some(CloseReason::PeerRestarted) {
            next.begin(now);
        }
        next.auth.take_waiting(&mut self.auth);
        std::mem::swap(&mut next.posts, &mut self.posts);
        std::mem::swap(&mut next.inbox, &mut self.inbox);
        next.inbox.begin_line();
        if let Some(deadline) = next.auth.longest_wait() {
            next.begin_login(deadline, now);
        }
        std::mem::swap(&mut next.calls, &mut self.calls);
        std::mem::swap(&mut next.learnt, &mut self.learnt);
        std::mem::swap(&mut next.requests, &mut self.requests);
        next.requests.restart();
        self.events.append(&mut next.events);
        std::mem::swap(&mut next.events, &mut self.events);
        std::mem::swap(&mut next.breaches, &mut self.breaches);
        next.succeed(self, now);
        next.check_ready(now);
        *self = next;
    }

    /// The line keeps the borders of frames, so nobody has to tell the framing by a first byte.
    pub(crate) fn expect_datagrams(&mut self, now: Instant) {
        self.datagrams = true;
        if self.deframer.is_none() {
            self.set_framing(Framing::Length);
            self.first_byte = None;
            self.check_ready(now);
        }
    }

    /// Takes no further requests; `is_idle` tells when those that run are answered.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.requests.clear_parked();
    }

    #[inline]
    pub(super) fn check_ready(&mut self, now: Instant) {
        if !self.ready && self.closed.is_none() {
            self.become_ready(now);
        }
    }

    /// Calls can be made, if everything is there that they need.
    fn become_ready(&mut self, now: Instant) {
        let speaks = match self.config.role {
            Role::Client => true,
            Role::Server if self.is_endless() => self.presence.heard,
            Role::Server => self.deframer.is_some(),
        };
        let known = match self.hello {
            Exchange::Asked { .. } => !self.needs_hello(),
            // Not answered yet: only where the address says so is the peer an old one.
            Exchange::Off => !(self.is_endless() && self.config.hello),
            Exchange::Done => true,
        };
        // A server sends nothing to a client that it does not trust, however that logs in.
        let manual = self.config.role == Role::Client && !self.config.auto_auth && !self.config.secure;
        let trusted = !self.config.secret || manual || self.auth.is_trusted();
        let settled = self.is_settled();
        if speaks && settled && known && trusted {
            self.ready = true;
            self.events.push_back(Event::Ready);
            if self.config.secure {
                self.logged_in(Ok(()));
            }
            self.send_calls(now);
            self.send_posts(now);
        }
    }

    /// Whether the peer has to answer HELLO: STP may lead to an old one, unless it knows secure mode (protocol.md section 4,
    /// step 3). On a serial line nothing else tells that somebody is there.
    pub(super) fn needs_hello(&self) -> bool {
        let is_new = self.config.secure && self.config.role == Role::Client;
        self.config.serial || is_new || self.config.framing != Some(Framing::Stp)
    }

    /// HELLO has no answer, or none that can be read.
    pub(super) fn hello_failed(&mut self) {
        self.hello = Exchange::Off;
        if self.needs_hello() && self.config.role == Role::Client {
            self.close(CloseReason::PeerTooOld("the peer does not answer HELLO"));
        }
    }

    pub(super) fn judge(&mut self, right: bool, now: Instant) {
        let was_trusted = self.auth.is_trusted();
        let Some(origin) = self.auth.judge(right) else { return };
        self.respond(&origin, Status::OKAY, if right { "true" } else { "false" }, now);
        self.level = right.then_some(Level::Legacy);
        if right {
            self.trust = None;
            self.check_ready(now);
        } else {
            if was_trusted {
                self.login_begun = false;
            }
            self.wrong_key(now);
        }
    }

    /// The peer has failed to prove the secret (protocol.md section 8): that is counted, told to whoever penalises its
    /// address, and happens so often at most. Somebody who was trusted has its time for another try.
    pub(super) fn wrong_key(&mut self, now: Instant) {
        let most = self.config.limits.wrong_keys;
        self.wrong_keys = self.wrong_keys.saturating_add(1);
        self.note(Breach::new(Limit::WrongKeys, self.wrong_keys, most));
        self.events.push_back(Event::WrongKey);
        if self.wrong_keys >= most && !self.config.serial {
            return self.close(CloseReason::TooManyWrongKeys(most));
        }
        self.restart_trust(now);
    }

    /// The line has proved a certificate of the peer; where certificates are taken for a secret it is trusted at once
    /// (protocol.md section 5).
    pub(crate) fn handle_certificate(&mut self, now: Instant) {
        if self.config.trust_certificates {
            self.auth.trust();
            self.trust = None;
            self.check_ready(now);
        }
    }

    /// The time a peer has to be trusted (protocol.md section 8).
    pub(super) fn restart_trust(&mut self, now: Instant) {
        if self.is_gated() && self.config.role == Role::Server && !self.login_begun && !self.config.serial {
            let (_, time) = self.trust_limit();
            self.trust = Some(after(now, time));
        }
    }

    /// How long a peer may go without trust, and which setting says so.
    pub(super) fn trust_limit(&self) -> (Limit, Duration) {
        let limits = &self.config.limits;
        let lenient = self.config.dispatch.has_public_data() || !self.config.auto_auth;
        if lenient && !self.login_begun {
            (Limit::PublicIdleTimeout, limits.public_idle_timeout)
        } else {
            (Limit::TrustTimeout, limits.trust_timeout)
        }
    }

    pub(super) fn authentication_failed(&mut self, reason: &'static str) {
        if self.auth.fail() {
            self.login_failed(reason);
        }
    }

    /// The attempt has ended; a client that has to be trusted cannot go on.
    pub(super) fn login_failed(&mut self, reason: &'static str) {
        warn!(reason, "authentication failed");
        self.logged_in(Err(reason));
        if self.config.auto_auth {
            self.close(CloseReason::AuthenticationFailed(reason));
        }
    }
}
