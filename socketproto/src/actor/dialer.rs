//! Connecting: from an address to a line, again and again where a line is lost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use tracing::{debug, info};

use crate::backoff::{Attempts, Backoff};
use crate::session::CloseReason;
use crate::transport::{Connected, Connector};

/// How long a line may take to be there; a session has its own times.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives a client its next line.
pub(crate) struct Dialer {
    connector: Connector,
    attempts: Attempts,
    state: State,
}

enum State {
    /// A line is there.
    Idle,
    Waiting(Instant),
    Dialing(Pin<Box<dyn Future<Output = io::Result<Connected>>>>),
}

impl Dialer {
    /// A dialer whose first line is there already, or has to be dialed at once.
    pub(super) fn new(connector: Connector, backoff: Backoff, connected: bool) -> Self {
        let mut dialer = Self { connector, attempts: Attempts::new(backoff), state: State::Idle };
        if !connected {
            dialer.dial();
        }
        dialer
    }

    /// A line has been lost: waits before the next attempt.
    pub(super) fn lost(&mut self, reason: &CloseReason, ready_for: Option<Duration>, now: Instant) {
        let wait = match reason {
            CloseReason::Reconnect => Duration::ZERO,
            CloseReason::AuthenticationFailed(_) => self.attempts.longest(),
            _ => self.attempts.wait(ready_for, random()),
        };
        debug!(?wait, "connects again");
        self.state = State::Waiting(now + wait);
    }

    /// The application does not want to wait.
    pub(super) fn hurry(&mut self) {
        if let State::Waiting(_) = self.state {
            self.dial();
        }
    }

    /// The next line.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Connected> {
        loop {
            match &mut self.state {
                State::Idle => return Poll::Pending,
                State::Waiting(until) if *until > now => return Poll::Pending,
                State::Waiting(_) => self.dial(),
                State::Dialing(dialing) => match std::task::ready!(dialing.as_mut().poll(cx)) {
                    Ok(connected) => {
                        self.state = State::Idle;
                        return Poll::Ready(connected);
                    }
                    Err(error) => {
                        let wait = self.attempts.wait(None, random());
                        info!(%error, ?wait, "cannot connect");
                        self.state = State::Waiting(now + wait);
                        // Also where the wait is over at once: others have their turn.
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// When to poll again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(until) => Some(*until),
            State::Idle | State::Dialing(_) => None,
        }
    }

    fn dial(&mut self) {
        let connector = Connector::clone(&self.connector);
        self.state = State::Dialing(Box::pin(async move { dial(&connector).await }));
    }
}

/// Connects once.
pub(super) async fn dial(connector: &Connector) -> io::Result<Connected> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connector.dial()).await {
        Ok(connected) => connected,
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}")))
        }
    }
}

/// From 0 up to 1. Without random numbers every wait is the longest, which is safe.
fn random() -> f64 {
    SysRng.try_next_u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}
