//! Connecting: from an address to a line, again and again where a line is lost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use tracing::{debug, info, warn};

use crate::actor::repeats::Repeats;
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
    /// The attempts that have failed since calls could last be made; none while they can.
    failed: Option<Repeats>,
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
        let failed = (!connected).then(Repeats::default);
        let mut dialer = Self { connector, attempts: Attempts::new(backoff), state: State::Idle, failed };
        if !connected {
            dialer.dial();
        }
        dialer
    }

    /// A line has been lost: waits before the next attempt. Where no call could be made on it, it was an attempt that
    /// failed.
    pub(super) fn lost(&mut self, reason: &CloseReason, ready_for: Option<Duration>, now: Instant) {
        let wait = match reason {
            CloseReason::Reconnect => Duration::ZERO,
            // Somebody has to change something first.
            CloseReason::AuthenticationFailed(_)
            | CloseReason::WrongSecret
            | CloseReason::PeerCanDoSecure
            | CloseReason::Handshake { lasting: true, .. } => self.attempts.longest(),
            _ => self.attempts.wait(ready_for, random()),
        };
        if ready_for.is_some() {
            self.failed = Some(Repeats::default());
            debug!(?wait, "connects again");
        } else {
            self.tell_failure(&reason.to_string(), wait);
        }
        self.state = State::Waiting(now + wait);
    }

    /// The application does not want to wait.
    pub(super) fn hurry(&mut self) {
        if let State::Waiting(_) = self.state {
            self.dial();
        }
    }

    /// Calls can be made on the line.
    pub(super) fn ready(&mut self) {
        if let Some(failed) = self.failed.take() {
            info!(failed_attempts = failed.count(), "connected");
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
                        self.tell_failure(&error.to_string(), wait);
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

    /// A server may stay away for days, so this is told as seldom as its number doubles.
    fn tell_failure(&mut self, error: &str, wait: Duration) {
        let failed = self.failed.get_or_insert_default();
        let tell = failed.add(error);
        let attempts = failed.count();
        if tell {
            warn!(error, attempts, ?wait, "cannot connect; repeated failures are logged at debug level");
        } else {
            debug!(error, attempts, ?wait, "cannot connect");
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
    use crate::transport::{self, Address, ClientSetup, ServerSetup};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn connector(text: &str) -> Connector {
        transport::connector(address(text).place, ClientSetup::default()).unwrap()
    }

    async fn next(dialer: &mut Dialer) -> Connected {
        std::future::poll_fn(|cx| {
            let polled = dialer.poll(cx, Instant::now());
            if polled.is_pending() {
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }

    #[tokio::test]
    async fn each_attempt_begins_at_the_place_and_keeps_nothing_of_the_one_before() {
        let moves = address("mem://dialer-moves");
        let quick = Backoff::new(Duration::ZERO, Duration::ZERO);
        let first = transport::bind(&moves, &ServerSetup::default()).await.unwrap();
        let mut dialer = Dialer::new(connector("mem://dialer-moves"), quick, false);
        drop(next(&mut dialer).await);
        drop(first);
        dialer.lost(&CloseReason::Peer, None, Instant::now());
        let mut second = transport::bind(&moves, &ServerSetup::default()).await.unwrap();
        let _line = next(&mut dialer).await;
        let accepted = std::future::poll_fn(|cx| second.poll_accept(cx)).await.unwrap();
        assert_eq!(accepted.peer(), "mem://dialer-moves");
    }

    #[test]
    fn failures_are_counted_until_calls_can_be_made() {
        let mut dialer = Dialer::new(connector("mem://nobody"), Backoff::default(), true);
        let now = Instant::now();
        dialer.lost(&CloseReason::Peer, Some(Duration::ZERO), now);
        assert_eq!(
            dialer.failed.as_ref().map(Repeats::count),
            Some(0),
            "a line that was ready is no failure"
        );
        dialer.lost(&CloseReason::PeerTooOld("no answer"), None, now);
        dialer.lost(&CloseReason::Peer, None, now);
        assert_eq!(dialer.failed.as_ref().map(Repeats::count), Some(2));
        dialer.ready();
        assert!(dialer.failed.is_none());
    }

    #[test]
    fn what_somebody_has_to_change_first_is_tried_again_after_the_longest_wait() {
        let (max, now) = (Duration::from_secs(3600), Instant::now());
        let handshake = |lasting| CloseReason::Handshake { reason: String::new(), lasting };
        for (reason, longest) in [
            (CloseReason::AuthenticationFailed("a wrong secret"), true),
            (CloseReason::WrongSecret, true),
            (CloseReason::PeerCanDoSecure, true),
            (handshake(true), true),
            (handshake(false), false),
            (CloseReason::Peer, false),
        ] {
            let backoff = Backoff::new(Duration::from_millis(1), max);
            let mut dialer = Dialer::new(connector("mem://nobody"), backoff, true);
            dialer.lost(&reason, None, now);
            assert_eq!(dialer.deadline() == Some(now + max), longest, "{reason}");
        }
    }
}
