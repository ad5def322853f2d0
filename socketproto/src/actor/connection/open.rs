//! How a connection gets a line, and what begins on it.

use std::io;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use tracing::info;

use crate::actor::connection::Connection;
use crate::actor::pump::{Pump, broken};
use crate::actor::tell;
use crate::event::ConnectionEvent;
use crate::service::Hook;
use crate::session::{CloseReason, after};
use crate::transport::{Connected, Io, Opening};

/// How long a client that is awaited waits for the first answer on a line without an end of connection: as long as for
/// HELLO elsewhere (protocol.md section 3). Where somebody has been heard, twice as long for all of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What has to be done before a line is there.
pub(super) struct Handshake {
    opening: Opening,
    until: Instant,
}

impl Connection {
    /// A line has come, or what leads to one.
    pub(super) fn open(&mut self, line: Connected, now: Instant) {
        match line.io {
            Io::Stream(stream) => self.begin(Pump::new(stream, line.notes), line.certificate, now),
            Io::Opening(opening) => {
                let until = after(now, self.endpoint.config.limits.first_byte_timeout);
                self.opening = Some(Handshake { opening, until });
            }
        }
    }

    pub(super) fn opening_until(&self) -> Option<Instant> {
        self.opening.as_ref().map(|handshake| handshake.until)
    }

    pub(super) fn poll_opening(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        if self.opening.is_some() && self.has_ended() {
            self.opening = None;
        }
        while let Some(handshake) = &mut self.opening {
            let opened = match handshake.opening.as_mut().poll(cx) {
                Poll::Ready(opened) => opened.map_err(|error| never_was(&error)),
                Poll::Pending if handshake.until <= now => {
                    Err(CloseReason::HandshakeTimeout(self.endpoint.config.limits.first_byte_timeout))
                }
                Poll::Pending => return,
            };
            self.opening = None;
            match opened {
                Ok(line) => self.open(line, now),
                Err(reason) => self.not_opened(&reason, now),
            }
        }
    }

    /// There is no line, and was none.
    fn not_opened(&mut self, reason: &CloseReason, now: Instant) {
        info!(%reason, "no connection");
        if let Some(breach) = reason.breach() {
            self.endpoint.tally.note(&breach, self.link.address(), now);
        }
        if self.ready.is_some() || self.dialer.is_none() {
            self.session.end(reason.clone());
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(reason.clone()));
        }
        if let Some(dialer) = &mut self.dialer {
            dialer.lost(reason, None, now);
        }
    }

    /// A line is there: the session begins on it.
    pub(super) fn begin(&mut self, line: Pump, certificate: Option<Arc<[u8]>>, now: Instant) {
        if self.ready.is_some() && self.endpoint.config.serial {
            self.awaited_since.get_or_insert(now);
        }
        self.session.reopen(now);
        if self.drain_until.is_some() {
            // Its handshake is over in the very turn that ends it.
            self.session.drain();
        }
        if line.keeps_borders() {
            self.session.expect_datagrams(now);
        }
        self.line = Some(line);
        if certificate.is_some() {
            self.session.handle_certificate(now);
        }
        self.link.show_certificate(certificate);
        match self.endpoint.handlers(&self.peer, self.worker) {
            Ok(handlers) => self.handlers = handlers,
            Err(_) => self.session.close(CloseReason::ServiceFailed),
        }
        self.jobs = self.handlers.iter().map(|_| Vec::new()).collect();
        self.show();
        (self.on_line)();
        tell(&self.handlers, &Hook::PeerConnected(self.peer.clone()));
        self.endpoint.announce(&self.peer, &ConnectionEvent::Connected);
        // What a service of this peer or a follower has just registered holds from the first message on.
        self.refresh_routes();
    }

    /// The peer has restarted at the other end of a line that is still there.
    pub(super) fn begin_again(&mut self, reason: &CloseReason, now: Instant) {
        let Some(line) = self.line.take() else { return };
        self.ready_since = None;
        self.part(reason);
        self.begin(line, None, now);
    }

    /// When whoever awaits the client is told that nobody answers.
    pub(super) fn answer_until(&self) -> Option<Instant> {
        let waits = self.ready.is_some() && self.line.is_some() && self.session.close_reason().is_none();
        let since = self.awaited_since.filter(|_| waits)?;
        Some(since + if self.session.has_heard() { 2 * ANSWER_TIMEOUT } else { ANSWER_TIMEOUT })
    }

    pub(super) fn be_ready(&mut self, now: Instant) {
        self.ready_since = Some(now);
        self.show();
        let event = if self.was_ready { ConnectionEvent::Reconnected } else { ConnectionEvent::Ready };
        self.was_ready = true;
        if let Some(dialer) = &mut self.dialer {
            dialer.ready();
        }
        self.endpoint.announce(&self.peer, &event);
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
    }
}

/// Why a line never was; what the transport says is the reason, whatever the kind.
fn never_was(error: &io::Error) -> CloseReason {
    match broken(error) {
        CloseReason::Peer => CloseReason::Transport(error.to_string()),
        reason => reason,
    }
}
