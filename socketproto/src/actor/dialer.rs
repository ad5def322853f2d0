//! Connecting: from an address to a line, again and again where a line is lost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use tracing::{debug, info, warn};

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
            CloseReason::AuthenticationFailed(_) | CloseReason::Handshake { lasting: true, .. } => {
                let wait = self.attempts.longest();
                warn!(%reason, ?wait, "connects again, which helps once somebody has changed something");
                wait
            }
            _ => self.attempts.wait(ready_for, random()),
        };
        debug!(?wait, "connects again");
        self.state = State::Waiting(now + wait);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Connect;
    use std::sync::Arc;

    struct Nowhere;

    impl Connect for Nowhere {
        fn address(&self) -> String {
            "nowhere://".to_owned()
        }

        async fn connect(&self) -> io::Result<Connected> {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    #[test]
    fn what_somebody_has_to_change_first_is_tried_again_after_the_longest_wait() {
        let (max, now) = (Duration::from_secs(3600), Instant::now());
        let handshake = |lasting| CloseReason::Handshake { reason: String::new(), lasting };
        for (reason, longest) in [
            (CloseReason::AuthenticationFailed("a wrong secret"), true),
            (handshake(true), true),
            (handshake(false), false),
            (CloseReason::Peer, false),
        ] {
            let backoff = Backoff::new(Duration::from_millis(1), max);
            let mut dialer = Dialer::new(Arc::new(Nowhere), backoff, true);
            dialer.lost(&reason, None, now);
            assert_eq!(dialer.deadline() == Some(now + max), longest, "{reason}");
        }
    }
}
