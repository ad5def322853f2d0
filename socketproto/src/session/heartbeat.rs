//! Heartbeats: a peer that says nothing is pinged, and one that stays silent is taken for dead (protocol.md 7.3).
//!
//! ```text
//!  a byte comes ──interval──▶ ping ──interval──▶ ping ──▶ timeout: the end
//!       ▲                                                    │
//!       └───────────── any byte, of whatever ────────────────┘
//! ```
//! Silence is the peer's only where this side has asked and would have heard: a ping that waits behind a large frame asks
//! nobody, a line that is left unread tells nothing, nor does one whose thread was held up.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::frame::Format;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json};
use crate::session::Session;
use crate::session::budget::after;
use crate::session::event::{CloseReason, count};
use crate::session::receive::origin;

/// A look that comes so much too late says that this thread was held up: what the peer said may have yet to be read.
const LATE: Duration = Duration::from_secs(1);

/// Two sides would ping at the same time, again and again. So each waits longer by up to this part of the interval, as the
/// random digits of its session say.
const SPREAD: u32 = 64;

/// The data of both messages.
#[derive(Debug, Deserialize, Serialize)]
struct Beat {
    session: String,
}

/// What is known of the peer's signs of life.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// When a byte last came.
    heard: Instant,
    /// When one last left.
    said: Instant,
    /// Bytes that had come and could not be taken yet.
    left: usize,
    asked: Option<Asked>,
    /// When to look. It is not moved with each byte, so it may be early.
    look: Instant,
}

/// What has been asked since the peer was last heard.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When it was last asked.
    last: Instant,
    /// Where the first ping ends, among all bytes of this side.
    end: u64,
    /// When the first ping left.
    left: Option<Instant>,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { heard: now, said: now, left: 0, asked: None, look: after(now, interval) }
    }

    /// So many bytes are there to be taken.
    #[inline]
    pub(super) fn hear(&mut self, bytes: usize, now: Instant) {
        if bytes > self.left {
            self.heard = now;
        }
    }

    /// So many of them stay there.
    #[inline]
    pub(super) fn leave(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// What ends behind this byte ends at another place, that `move_end` says.
    pub(super) fn move_end(&mut self, behind: u64, move_end: impl Fn(u64) -> u64) {
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.end > behind) {
            asked.end = move_end(asked.end);
        }
    }

    /// Bytes have left, `sent` of them since the line began.
    #[inline]
    pub(super) fn say(&mut self, bytes: usize, sent: u64, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.said = now;
        if let Some(asked) = &mut self.asked
            && asked.left.is_none()
            && asked.end <= sent
        {
            asked.left = Some(now);
        }
    }
}

impl Session {
    /// Takes a sign of life that is no input yet: a line that puts whole frames together has read something, and holds so
    /// many bytes of one.
    pub(crate) fn handle_sign_of_life(&mut self, unfinished: usize, now: Instant) {
        self.heartbeat.heard = now;
        self.heartbeat.leave(unfinished);
    }

    /// When a byte last came.
    #[cfg(all(test, feature = "websocket"))]
    pub(crate) fn last_heard(&self) -> Instant {
        self.heartbeat.heard
    }

    /// Whether the peer has begun a frame, and has yet to send the rest.
    fn is_receiving(&self) -> bool {
        self.heartbeat.left > 0
            || self.has_input()
            || self.deframer.as_ref().is_some_and(|deframer| deframer.pending() > 0)
            || self.rekey.as_ref().is_some_and(|rekey| rekey.pending() > 0)
    }

    /// When to look whether the peer is silent; only where it can be asked: HELLO has said so, and it would be answered.
    #[inline]
    pub(super) fn heartbeat_deadline(&self) -> Option<Instant> {
        let can_ask = self.agreement.heartbeat && !self.is_gated();
        can_ask.then_some(self.heartbeat.look)
    }

    /// Looks whether the peer is silent: asks it, or gives it up.
    pub(super) fn beat(&mut self, now: Instant) {
        let due = self.heartbeat_deadline().filter(|due| *due <= now && self.closed.is_none());
        let Some(due) = due else { return };
        let wait = self.heartbeat_wait();
        if !self.wants_input() {
            // It is this side that does not listen. The peer is not answered either, so it is told that somebody is here.
            self.heartbeat.heard = now;
            if self.unsent() == 0 {
                self.ping(now);
            }
            self.heartbeat.look = after(now, wait);
            return;
        }
        let Heartbeat { heard, said, .. } = self.heartbeat;
        self.heartbeat.asked.take_if(|asked| asked.last <= heard);
        let (ask, dead) = match self.heartbeat.asked {
            // What the peer asks may stand behind a large frame that is still on its way. So it is told without being asked
            // that somebody is there; not on a line that may have one direction at a time.
            None if self.is_receiving() && !self.config.serial => (after(heard.min(said), wait), None),
            None => (after(heard, wait), None),
            // That bytes leave at all is for `write_timeout` to see.
            Some(Asked { left: None, .. }) => (after(now, wait), None),
            Some(Asked { last, left: Some(left), .. }) => {
                let timeout = self.config.limits.heartbeat_timeout;
                (
                    after(last, wait),
                    Some(after(heard, timeout).max(after(left, timeout.saturating_sub(wait)))),
                )
            }
        };
        let late = LATE.min(self.config.limits.heartbeat_interval);
        if dead.is_some_and(|dead| dead <= now) {
            if now.saturating_duration_since(due) < late {
                return self.close(CloseReason::HeartbeatTimeout(self.config.limits.heartbeat_timeout));
            }
            self.heartbeat.look = after(now, late);
            return;
        }
        self.heartbeat.look = if ask <= now {
            self.ping(now);
            let timeout = self.config.limits.heartbeat_timeout;
            after(now, wait).min(after(heard, timeout).max(now))
        } else {
            dead.map_or(ask, |dead| dead.min(ask))
        };
    }

    /// How long nothing is heard before the peer is asked.
    fn heartbeat_wait(&self) -> Duration {
        let interval = self.config.limits.heartbeat_interval;
        // 255 is the most that two digits say.
        let step = interval.checked_div(SPREAD * 255).unwrap_or_default();
        interval.saturating_add(step.saturating_mul(self.own_digits().into()))
    }

    fn ping(&mut self, now: Instant) {
        let before = self.written();
        let data = self.beat_data();
        self.ask(ServiceId::HEARTBEAT_REQUEST, DataId::HEARTBEAT, &data, now);
        let end = self.written();
        if end == before {
            return;
        }
        self.heartbeat.asked.get_or_insert(Asked { last: now, end, left: None }).last = now;
    }

    fn beat_data(&self) -> Json {
        Json::encode(&Beat { session: self.config.session.as_ref().to_owned() }).unwrap_or_default()
    }

    /// The peer asks. It is answered whether or not that was agreed: after a restart nothing is, and the answer tells of it.
    pub(super) fn handle_ping(&mut self, header: &Header, data: &Json, format: Format, now: Instant) {
        let origin = origin(ServiceId::HEARTBEAT_RESPONSE, header, format);
        if self.is_gated() {
            return self.refuse(&origin, Status::AUTHENTICATION_REQUIRED, now);
        }
        if header.data_id != DataId::HEARTBEAT {
            return self.refuse(&origin, Status::SERVICE_OR_DATA_UNKNOWN, now);
        }
        let Some(beat) = self.decode_asked::<Beat>(data, &origin, now) else { return };
        if beat.session == *self.config.session {
            return self.echoed();
        }
        if self.is_restart(&beat.session) {
            return self.peer_restarted(Some((*header, data.clone(), format)));
        }
        let answer = self.beat_data();
        self.respond(&origin, Status::OKAY, answer.as_str(), now);
    }

    /// The peer answers, as a byte of any other message does too; what is of interest is who it is.
    pub(super) fn handle_pong(&mut self, header: &Header, data: &Json, format: Format) {
        if self.is_forgotten(header, data) {
            return self.peer_restarted(None);
        }
        let is_answer = header.data_id == DataId::HEARTBEAT && header.status.is_okay();
        match data.decode_object::<Beat>().ok().filter(|_| is_answer) {
            // An echo, which is told of where a request comes back.
            Some(beat) if beat.session == *self.config.session => {}
            Some(beat) if self.is_restart(&beat.session) => {
                self.peer_restarted(Some((*header, data.clone(), format)));
            }
            Some(_) => {}
            None => count(&mut self.counters.unhandled),
        }
    }
}
