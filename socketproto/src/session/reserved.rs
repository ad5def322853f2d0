//! Messages of the framework's own services: authentication, channel names, HELLO, cancel (protocol.md sections 4, 5
//! and 7).

use std::time::Instant;

use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::frame::Format;
use crate::id::{DataId, Level, ServiceId, Status};
use crate::message::{Header, Json};
use crate::session::auth::SeedOutcome;
use crate::session::budget::after;
use crate::session::event::{CloseReason, Event, count};
use crate::session::hello::{Cancel, Hello};
use crate::session::receive::origin;
use crate::session::requests::Origin;
use crate::session::{Exchange, Role, Session};

/// The longest channel name, in characters (protocol.md section 4).
const MAX_CHANNEL_NAME: usize = 64;

impl Session {
    /// A message that no callback ever sees.
    pub(super) fn handle_reserved(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        match header.service_id {
            ServiceId::AUTH_REQUEST => self.handle_auth_request(header, data, format, now),
            ServiceId::AUTH_RESPONSE => self.handle_auth_response(header, data, now),
            ServiceId::CHANNEL_NAME_REQUEST => self.handle_channel_request(header, data, format, now),
            ServiceId::CHANNEL_NAME_RESPONSE => self.handle_channel_response(header, data),
            ServiceId::HELLO_REQUEST => self.handle_hello_request(header, data, format, now),
            ServiceId::HELLO_RESPONSE => self.handle_hello_response(header, data, format, now),
            ServiceId::HEARTBEAT_REQUEST => self.handle_ping(header, data, format, now),
            ServiceId::HEARTBEAT_RESPONSE => self.handle_pong(header, data, format),
            ServiceId::CANCEL => self.handle_cancelled(header, data, now),
            // A request has an even id, its response the next.
            other if other.value() % 2 == 0 => {
                let response = ServiceId::new(other.value().saturating_add(1));
                let status = if self.is_gated() {
                    Status::AUTHENTICATION_REQUIRED
                } else {
                    Status::SERVICE_OR_DATA_UNKNOWN
                };
                self.refuse(&origin(response, header, format), status, now);
            }
            _ => count(&mut self.counters.unhandled),
        }
        self.check_ready(now);
    }

    /// The peer has given up a call (protocol.md 7.6).
    fn handle_cancelled(&mut self, header: &Header, data: &Json, now: Instant) {
        let cancelled = data.decode_object::<Cancel>().ok().filter(|_| header.data_id == DataId::CANCEL);
        let Some(cancel) = cancelled.filter(|_| !self.is_gated()) else {
            count(&mut self.counters.unhandled);
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
        // What is secure is nothing less afterwards.
        let taken = match header.data_id {
            DataId::AUTH_SECURE => self.config.secure,
            _ => self.config.legacy && self.records.is_none(),
        };
        if known && !taken {
            return self.refuse(&origin, Status::OPERATION_NOT_PERMITTED, now);
        }
        match header.data_id {
            DataId::AUTH_SECURE => self.handle_offer(header, data, format, now),
            DataId::AUTH_SEED => {
                self.begin_login_time(now);
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

    /// A login that has begun has a time of its own (protocol.md section 8).
    pub(super) fn begin_login_time(&mut self, now: Instant) {
        if !self.auth.is_trusted() && !self.login_begun && !self.config.serial {
            self.login_begun = true;
            self.trust = Some(after(now, self.config.limits.trust_timeout));
        }
    }

    fn handle_auth_response(&mut self, header: &Header, data: &Json, now: Instant) {
        if self.config.role == Role::Client && header.data_id == DataId::AUTH_SECURE {
            return self.handle_accepted(header, data, now);
        }
        // What was not asked for changes nothing, whatever its status.
        let is_asked = self.auth.awaits(header.data_id) && self.is_of_login(header);
        if self.config.role == Role::Server || !is_asked {
            count(&mut self.counters.unhandled);
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
            DataId::AUTH_SEED => match self.auth.seed_received(data, self.config.ignore_sentinel) {
                SeedOutcome::Question(question) => self.events.push_back(Event::Ask(question)),
                SeedOutcome::Sentinel => self.close(CloseReason::PeerCanDoSecure),
                SeedOutcome::Failed => self.login_failed("the server's seed is not 64 hex digits"),
                SeedOutcome::NotAsked => count(&mut self.counters.unhandled),
            },
            DataId::AUTH_KEY => match self.auth.verdict_received(data) {
                Some(true) => {
                    self.level = Some(Level::Legacy);
                    self.logged_in(Ok(()));
                }
                Some(false) => {
                    self.level = None;
                    self.key_refused(now);
                }
                None => count(&mut self.counters.unhandled),
            },
            _ => count(&mut self.counters.unhandled),
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
            count(&mut self.counters.unhandled);
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

    /// The data of a request of the protocol's own; one whose data are none is told why.
    pub(super) fn decode_asked<T: DeserializeOwned>(
        &mut self,
        data: &Json,
        origin: &Origin,
        now: Instant,
    ) -> Option<T> {
        match data.decode_object() {
            Ok(asked) => Some(asked),
            Err(error) => {
                let text = self.fault_data(&error.to_string());
                self.respond(origin, Status::CALLBACK_ERROR, &text, now);
                None
            }
        }
    }

    fn handle_hello_request(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::HELLO_RESPONSE, header, format);
        if header.data_id != DataId::HELLO {
            return self.refuse(&origin, Status::SERVICE_OR_DATA_UNKNOWN, now);
        }
        let Some(hello) = self.decode_asked::<Hello>(data, &origin, now) else { return };
        if hello.session == *self.config.session {
            return self.echoed();
        }
        if self.is_restart(&hello.session) {
            return self.peer_restarted(Some((*header, data.clone(), format)));
        }
        // The answer goes out under the old agreement: the peer cannot know ours before it.
        let answer = Hello::data(&self.config.session, &self.config.limits);
        self.respond(&origin, Status::OKAY, answer.as_str(), now);
        // On a serial line it tells as much as an answer.
        if self.hello == Exchange::Off || (self.is_endless() && self.hello != Exchange::Done) {
            self.agree(&hello, now);
        }
    }

    fn handle_hello_response(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        // On a serial line the answer may come when it is no longer expected.
        let asked = match self.hello {
            Exchange::Asked { .. } => true,
            Exchange::Off => self.is_endless() && self.config.hello,
            Exchange::Done => false,
        };
        let hello = data.decode_object::<Hello>().ok().filter(|_| header.status.is_okay());
        match hello.filter(|_| header.data_id == DataId::HELLO) {
            Some(hello) if (asked || self.is_endless()) && hello.session == *self.config.session => {
                self.echoed();
            }
            Some(hello) if self.is_restart(&hello.session) => {
                self.peer_restarted(Some((*header, data.clone(), format)));
            }
            Some(hello) if asked => {
                self.agree(&hello, now);
                self.check_ready(now);
            }
            None if asked && header.data_id == DataId::HELLO => self.hello_failed(),
            _ => count(&mut self.counters.unhandled),
        }
    }

    fn agree(&mut self, hello: &Hello, now: Instant) {
        self.hello = Exchange::Done;
        self.agreement = hello.agree(&self.config.limits);
        debug!(agreement = ?self.agreement, "hello");
        self.meet(hello, now);
    }
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
