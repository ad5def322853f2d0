//! How long a client waits before it connects again (protocol.md section 4).

use std::time::Duration;

use crate::limits::NEVER;

/// A connection that was ready this long has shown that the server lives: the next wait begins small again.
const PROVEN: Duration = Duration::from_secs(10);

/// The waits between attempts to connect: exponential, with full jitter.
///
/// The bound of the wait doubles with each attempt from `min` up to `max`; the wait itself is any time up to the bound,
/// so that clients that lost one server do not come back together. A wrong secret or certificate waits `max` at once.
///
/// ```
/// use socketproto::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::default();
/// assert_eq!(backoff.min(), Duration::from_millis(100));
/// assert_eq!(backoff.max(), Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits between these bounds. A `max` below `min` counts as `min`, a time above 100 years as 100 years.
    pub fn new(min: Duration, max: Duration) -> Self {
        let (min, max) = (min.min(NEVER), max.min(NEVER));
        Self { min, max: max.max(min) }
    }

    /// The bound of the first wait.
    pub const fn min(&self) -> Duration {
        self.min
    }

    /// The bound that no wait exceeds.
    pub const fn max(&self) -> Duration {
        self.max
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

/// The attempts so far.
#[derive(Debug)]
pub(crate) struct Attempts {
    backoff: Backoff,
    /// The bound of the next wait.
    bound: Duration,
}

impl Attempts {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, bound: backoff.min }
    }

    /// The wait after a connection that was ready this long, or never. `random` is from 0 up to 1.
    pub(crate) fn wait(&mut self, ready_for: Option<Duration>, random: f64) -> Duration {
        if ready_for.is_some_and(|time| time >= PROVEN) {
            self.bound = self.backoff.min;
        }
        let wait = self.bound.mul_f64(random.clamp(0.0, 1.0));
        self.bound = self.bound.saturating_mul(2).min(self.backoff.max);
        wait
    }

    /// The wait after a refusal that will not go away soon.
    pub(crate) fn longest(&mut self) -> Duration {
        self.bound = self.backoff.max;
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bounds(attempts: &mut Attempts, count: usize) -> Vec<u128> {
        (0..count).map(|_| attempts.wait(None, 1.0).as_millis()).collect()
    }

    #[test]
    fn the_bound_doubles_up_to_the_largest() {
        let mut attempts = Attempts::new(Backoff::default());
        let expected = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(bounds(&mut attempts, 11), expected);
    }

    #[test]
    fn the_wait_is_any_part_of_the_bound() {
        let mut attempts = Attempts::new(Backoff::new(SECOND, SECOND));
        assert_eq!(attempts.wait(None, 0.0), Duration::ZERO);
        assert_eq!(attempts.wait(None, 0.25), SECOND / 4);
    }

    #[test]
    fn only_a_connection_that_was_ready_for_10_s_starts_anew() {
        let mut attempts = Attempts::new(Backoff::default());
        bounds(&mut attempts, 5);
        assert_eq!(attempts.wait(Some(10 * SECOND - Duration::from_millis(1)), 1.0).as_millis(), 3_200);
        assert_eq!(attempts.wait(Some(10 * SECOND), 1.0).as_millis(), 100);
    }

    #[test]
    fn a_lasting_refusal_waits_longest_at_once() {
        let mut attempts = Attempts::new(Backoff::default());
        assert_eq!(attempts.longest(), 30 * SECOND);
        assert_eq!(attempts.wait(None, 1.0), 30 * SECOND);
    }

    #[test]
    fn no_wait_is_too_long() {
        let mut attempts = Attempts::new(Backoff::new(Duration::MAX, Duration::MAX));
        let now = std::time::Instant::now();
        assert!(now.checked_add(attempts.wait(None, 1.0)).is_some());
        assert!(now.checked_add(attempts.longest()).is_some());
    }
}
