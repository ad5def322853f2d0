//! The waits after errors of accept (protocol.md section 8).

use std::time::Duration;

use crate::limits::Limits;

/// Each is twice the one before, up to the longest; a success begins anew.
pub(super) struct Waits {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Waits {
    pub(super) fn new(limits: &Limits) -> Self {
        let (first, longest) = (limits.accept_backoff, limits.max_accept_backoff);
        Self { first, longest, next: first }
    }

    /// The wait after one more error.
    pub(super) fn grow(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest.max(self.first));
        wait
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_doubled_from_10_ms_to_1_s_and_begin_anew_after_a_success() {
        let mut waits = Waits::new(&Limits::default());
        let millis = |waits: &mut Waits| -> Vec<u128> { (0..9).map(|_| waits.grow().as_millis()).collect() };
        assert_eq!(millis(&mut waits), [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        waits.reset();
        assert_eq!(waits.grow().as_millis(), 10);
        let absurd = Limits { accept_backoff: Duration::MAX, ..Limits::default() };
        let mut waits = Waits::new(&absurd);
        assert_eq!((waits.grow(), waits.grow()), (Duration::MAX, Duration::MAX));
    }
}
