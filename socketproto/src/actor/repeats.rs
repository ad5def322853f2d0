//! What goes wrong again and again: told at first, then seldom.

/// Reasons remembered; a further one is told as often as their number allows, like those that repeat.
const REASONS: usize = 4;

/// Failures in a row. Each reason is told once, and their number each time it has doubled: a week of failures is a
/// handful of log lines.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    count: u64,
    told: Vec<String>,
}

impl Repeats {
    /// Counts one more; says whether to tell of it.
    pub(super) fn add(&mut self, reason: &str) -> bool {
        self.count = self.count.saturating_add(1);
        let is_new = self.told.len() < REASONS && !self.told.iter().any(|told| told == reason);
        if is_new {
            self.told.push(reason.to_owned());
        }
        is_new || self.count.is_power_of_two()
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_each_time_its_number_has_doubled() {
        let mut repeats = Repeats::default();
        let told: Vec<_> = (1..=1000_u64).filter(|_| repeats.add("refused")).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(repeats.count(), 1000);
    }

    #[test]
    fn another_reason_is_told_at_once_but_not_each_time_it_comes_back() {
        let mut repeats = Repeats::default();
        let reasons = ["refused", "reset"].into_iter().cycle();
        assert_eq!(reasons.take(1000).filter(|reason| repeats.add(reason)).count(), 10);
    }

    #[test]
    fn reasons_without_end_are_told_as_seldom() {
        let mut repeats = Repeats::default();
        let told = (0..1000).filter(|number| repeats.add(&format!("reason {number}"))).count();
        assert_eq!(told, 4 + 7);
    }
}
