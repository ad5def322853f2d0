//! What a session is like: what its owner and its other parts ask of it.

use std::sync::Arc;
use std::time::Instant;

use crate::id::{AuthState, Level};
use crate::secure::MAX_RECORD;
use crate::session::budget::after;
use crate::session::event::{CloseReason, RequestId};
use crate::session::{Role, Session};

impl Session {
    /// Why the session has ended.
    pub(crate) fn close_reason(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Whether this side accepted the connection.
    pub(crate) fn is_server(&self) -> bool {
        self.config.role == Role::Server
    }

    /// Whether calls wait for another line, once this one has ended.
    pub(crate) fn goes_on(&self) -> bool {
        self.closed.is_none() || self.config.reconnect
    }

    /// Whether calls are sent at once.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.ready && self.closed.is_none()
    }

    /// Whether another session follows at once on the same line, since that has no end of its own.
    pub(crate) fn begins_again(&self) -> bool {
        self.closed.as_ref().is_some_and(|reason| self.keeps_line(reason))
    }

    /// The same of a session that ends for this reason.
    pub(super) fn keeps_line(&self, reason: &CloseReason) -> bool {
        match reason {
            CloseReason::PeerRestarted | CloseReason::PeerLeft(_) => true,
            CloseReason::HeartbeatTimeout(_) => self.config.serial,
            _ => false,
        }
    }

    /// Whether a request has yet to be answered.
    pub(crate) fn is_running(&self, request: RequestId) -> bool {
        self.requests.is_running(request)
    }

    /// Whether nothing runs and nothing waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.running() == 0 && self.unsent() == 0
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        let unsealed = self.records.as_ref().map_or(0, |records| records.unsealed());
        self.out.len().saturating_add(unsealed).saturating_add(self.set_aside())
    }

    /// Bytes of them that wait until the peer has said who it is.
    #[inline]
    pub(super) fn set_aside(&self) -> usize {
        self.rekey.as_ref().map_or(0, |rekey| rekey.set_aside())
    }

    /// How the peer was authenticated; none where it was not, or by a certificate alone.
    pub(crate) fn level(&self) -> Option<Level> {
        self.level
    }

    /// Whether the line is there, and trusted where a secret is set.
    pub(crate) fn is_established(&self) -> bool {
        self.closed.is_none() && !self.is_gated()
    }

    pub(crate) fn auth_state(&self) -> AuthState {
        self.auth.state
    }

    /// The name of the channel: our own, or the one taken over.
    pub(crate) fn channel_name(&self) -> Option<&Arc<str>> {
        self.channel_name.as_ref()
    }

    /// Whether a secret is set and the peer has yet to prove it.
    #[inline]
    pub(super) fn is_gated(&self) -> bool {
        self.config.secret && !self.auth.is_trusted()
    }

    /// Bytes of the largest frame that is taken now.
    #[inline]
    pub(crate) fn frame_limit(&self) -> usize {
        let limits = &self.config.limits;
        if self.is_gated() { limits.untrusted_max_frame.min(limits.max_frame) } else { limits.max_frame }
    }

    /// Bytes of the largest message that a line of whole messages takes now: a record has as many frames in it as there are.
    pub(crate) fn message_limit(&self) -> usize {
        if self.records.is_some() && !self.is_gated() { MAX_RECORD } else { self.frame_limit() }
    }

    #[inline]
    pub(super) fn unsent_limit(&self) -> (usize, &'static str) {
        let limits = &self.config.limits;
        if self.is_gated() {
            (limits.untrusted_unsent, "untrusted_unsent")
        } else {
            (limits.max_unsent, "max_unsent")
        }
    }

    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        // Where nobody has been heard yet, nobody has to read.
        let progress = self.progress.filter(|_| self.presence.heard || !self.config.serial);
        // What is held back does not wait for a reader.
        let progress = progress.filter(|_| self.rekey.is_none() || !self.out.is_empty());
        progress.map(|progress| after(progress, self.config.limits.write_timeout))
    }
}
