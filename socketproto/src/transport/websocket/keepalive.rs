//! Pings for a line that is idle, so that no proxy takes it for dead, and a dead one is noticed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// When to ping.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    timer: Pin<Box<Sleep>>,
    pinged: Option<Instant>,
}

/// What is due.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Due {
    Ping,
    /// The peer has been silent for this time, a ping included.
    Silent(Duration),
}

impl Keepalive {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, timer: Box::pin(tokio::time::sleep(interval)), pinged: None }
    }

    /// What is due now, where the last bytes came at `heard`.
    pub(super) fn poll(&mut self, heard: Instant, cx: &mut Context<'_>) -> Option<Due> {
        while let Poll::Ready(()) = self.timer.as_mut().poll(cx) {
            let now = Instant::now();
            let next = heard + self.interval;
            if next > now {
                self.pinged = None;
                self.timer.as_mut().reset(next);
                continue;
            }
            self.timer.as_mut().reset(now + self.interval);
            if self.pinged.is_some_and(|pinged| heard <= pinged) {
                return Some(Due::Silent(now - heard));
            }
            self.pinged = Some(now);
            return Some(Due::Ping);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;

    const INTERVAL: Duration = Duration::from_secs(5);

    async fn due(keepalive: &mut Keepalive, heard: Instant) -> Due {
        poll_fn(|cx| keepalive.poll(heard, cx).map_or(Poll::Pending, Poll::Ready)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_pinged_once_and_then_taken_for_dead() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(INTERVAL);
        assert_eq!(due(&mut keepalive, start).await, Due::Ping);
        assert_eq!(start.elapsed(), INTERVAL);
        assert_eq!(due(&mut keepalive, start).await, Due::Silent(2 * INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_is_not_pinged() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(INTERVAL);
        let heard = start + INTERVAL - Duration::from_millis(1);
        assert_eq!(due(&mut keepalive, heard).await, Due::Ping);
        assert_eq!(start.elapsed(), heard - start + INTERVAL);
        // It answers.
        let answered = Instant::now() + Duration::from_millis(1);
        assert_eq!(due(&mut keepalive, answered).await, Due::Ping);
        assert_eq!(Instant::now(), answered + INTERVAL);
    }
}
