//! How a connection ends its line, and itself.

use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use tracing::info;

use crate::actor::connection::{Connection, now};
use crate::actor::tell;
use crate::event::ConnectionEvent;
use crate::service::Hook;
use crate::session::CloseReason;

/// How long what is left to send may take when a connection is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(150);

/// How long a client's services may take to end; with the time above it stays below 200 ms (protocol.md section 4).
const SERVICES_TIMEOUT: Duration = Duration::from_millis(40);

/// How long a drained peer that was still sending may say nothing before its line is closed: it may be about to read what
/// was answered last.
const LINGER: Duration = Duration::from_secs(1);

impl Connection {
    /// Whether no line follows, and none is awaited.
    pub(super) fn has_ended(&self) -> bool {
        self.session.close_reason().is_some_and(|reason| *reason != CloseReason::NotConnected)
            && !self.session.goes_on()
    }

    /// Where the session has ended its line: sends what is left, for a moment, then goes on without a line or ends.
    pub(super) fn poll_closed(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Poll<()> {
        let Some(reason) = self.session.close_reason().cloned() else { return Poll::Pending };
        if self.opening.is_some() && !self.has_ended() {
            return Poll::Pending;
        }
        let is_drained = self.drain_until.or(self.linger_until).is_some();
        if self.session.begins_again() && self.line.is_some() && !is_drained {
            self.begin_again(&reason, now);
            // What came behind the news has to be read.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(line) = &mut self.line {
            let until = *self.flush_until.get_or_insert(now + FLUSH_TIMEOUT);
            match reason {
                CloseReason::Peer | CloseReason::Said(_) => line.shutdown_now(cx),
                CloseReason::Truncated | CloseReason::Transport(_) | CloseReason::Handshake { .. } => {}
                _ if until > now => {
                    ready!(line.poll_shutdown(&mut self.session, cx));
                    // A peer that broke a rule is not listened to any longer, and a serial line has no end.
                    if reason == CloseReason::Local && !self.endpoint.config.serial {
                        let mut heard = false;
                        let ended = line.poll_ended(cx, &mut heard);
                        if let Some(most) = self.linger_until.filter(|_| heard) {
                            self.flush_until = Some(until.max(most.min(now + LINGER)));
                        }
                        ready!(ended);
                    }
                }
                _ => {}
            }
            self.lose_line(&reason, now);
            // The dialer has to be polled.
            cx.waker().wake_by_ref();
        }
        if self.session.goes_on() { Poll::Pending } else { self.poll_services_ended(cx, now) }
    }

    /// A client's services are its own, and end with it.
    fn poll_services_ended(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Poll<()> {
        if self.dialer.is_none() {
            return Poll::Ready(());
        }
        self.endpoint.stop();
        let until = *self.end_until.get_or_insert(now + SERVICES_TIMEOUT);
        if until > now { self.endpoint.lifeline.poll_ended(cx) } else { Poll::Ready(()) }
    }

    /// The line is gone: nobody waits for it any more.
    pub(super) fn lose_line(&mut self, reason: &CloseReason, now: Instant) {
        if self.line.take().is_none() {
            return;
        }
        let ready_for = self.ready_since.take().map(|since| now.saturating_duration_since(since));
        if let Some(ready) = self.ready.take() {
            self.session.end(reason.clone());
            let _ = ready.send(Err(reason.clone()));
        }
        let goes_on = self.session.goes_on();
        if ready_for.is_some() || !goes_on {
            info!(%reason, "disconnected");
        }
        if let Some(dialer) = self.dialer.as_mut().filter(|_| goes_on) {
            dialer.lost(reason, ready_for, now);
        }
        self.part(reason);
    }

    /// Parts from the peer: what ran for it is cancelled, and everybody is told.
    pub(super) fn part(&mut self, reason: &CloseReason) {
        self.endpoint.memory.report(&self.link, 0, self.held);
        (self.held, self.retry_at) = (0, None);
        self.flush_until = None;
        for handler in 0..self.handlers.len() {
            self.cancel(handler, None);
        }
        if let Some(gatekeeper) = &mut self.gatekeeper {
            gatekeeper.clear();
        }
        let handlers = std::mem::take(&mut self.handlers);
        self.show();
        let reason: Box<str> = reason.to_string().into();
        tell(&handlers, &Hook::PeerGone { peer: self.peer.clone(), reason: reason.as_ref().into() });
        self.endpoint.release(&handlers);
        self.endpoint.announce(&self.peer, &ConnectionEvent::Disconnected { reason });
        // Who follows the event still sees whose line it was.
        self.session.forget_line();
        self.show();
    }

    /// Tells everybody who has to know that no line follows.
    pub(super) fn end(&mut self) {
        let reason = self.session.close_reason().cloned().unwrap_or(CloseReason::Local);
        self.session.end(reason.clone());
        self.lose_line(&reason, now());
        self.link.end(&reason, self.session.take_inbox());
        if let Some(on_end) = self.on_end.take() {
            on_end();
        }
    }
}
