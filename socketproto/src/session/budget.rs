//! Small parts the session is made of: a budget that refills, and the earliest of many deadlines.

use std::time::{Duration, Instant};

use crate::limits::NEVER;

/// A budget of events that refills with the time.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    size: u32,
    /// By how many it is refilled in a second.
    rate: u32,
    refilled: Instant,
}

impl Budget {
    pub(super) fn new(size: u32, rate: u32, now: Instant) -> Self {
        Self { left: size, size, rate, refilled: now }
    }

    /// Takes one; false where none is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives one back that should not have been taken.
    pub(super) fn give_back(&mut self) {
        self.left = self.left.saturating_add(1).min(self.size);
    }

    fn refill(&mut self, now: Instant) {
        let Some(interval) = Duration::from_secs(1).checked_div(self.rate) else { return };
        let interval = interval.max(Duration::from_nanos(1));
        let elapsed = now.saturating_duration_since(self.refilled);
        let gained = elapsed.as_nanos().checked_div(interval.as_nanos()).unwrap_or_default();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained).min(self.size);
        self.refilled = after(self.refilled, interval.saturating_mul(gained));
    }
}

/// The first of these deadlines. Asked at every turn of a connection, so without an iterator's detours.
#[inline]
pub(crate) fn first<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    let mut first: Option<Instant> = None;
    for deadline in deadlines {
        if let Some(deadline) = deadline
            && first.is_none_or(|first| deadline < first)
        {
            first = Some(deadline);
        }
    }
    first
}

/// A lower bound of many deadlines, kept without a timer or a queue entry for each.
///
/// It only moves down when deadlines are added. When the time has come the owner looks through what it holds, ends
/// what is over, and says which deadline is next. Work that ends in time costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Earliest(Option<Instant>);

impl Earliest {
    #[inline]
    pub(super) fn add(&mut self, deadline: Instant) {
        self.0 = Some(self.0.map_or(deadline, |known| known.min(deadline)));
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Instant> {
        self.0
    }

    /// Whether it is time to look; the bound is then forgotten, to be added to again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_some_and(|deadline| deadline <= now);
        if due {
            self.0 = None;
        }
        due
    }
}

/// The time this much later, or [`NEVER`].
#[inline]
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    // No clock ends so soon; where one did, what never comes would be due.
    now.checked_add(duration.min(NEVER)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refills_by_one_a_second_up_to_its_size() {
        let start = Instant::now();
        let mut budget = Budget::new(2, 1, start);
        assert!(budget.take(start) && budget.take(start) && !budget.take(start));
        let later = start + Duration::from_millis(1500);
        assert!(budget.take(later) && !budget.take(later));
        assert!(budget.take(start + Duration::from_secs(2)));
        let much_later = start + Duration::from_secs(1000);
        assert!(budget.take(much_later) && budget.take(much_later) && !budget.take(much_later));
    }

    #[test]
    fn a_budget_refills_as_often_as_it_says_and_not_at_all_at_0() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut budget = Budget::new(1, 4, start);
        assert!(budget.take(start) && !budget.take(after(249)));
        assert!(budget.take(after(250)) && !budget.take(after(499)));
        budget.give_back();
        budget.give_back();
        assert!(budget.take(after(499)) && !budget.take(after(499)), "never more than its size");
        let mut budget = Budget::new(1, 0, start);
        assert!(budget.take(start) && !budget.take(after(1_000_000)));
    }

    #[test]
    fn no_duration_is_too_long() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::MAX), after(now, NEVER));
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut earliest = Earliest::default();
        assert!(!earliest.is_due(at(9)));
        earliest.add(at(5));
        earliest.add(at(3));
        earliest.add(at(8));
        assert_eq!(earliest.get(), Some(at(3)));
        assert!(!earliest.is_due(at(2)));
        assert!(earliest.is_due(at(3)));
        assert_eq!(earliest.get(), None);
    }
}
