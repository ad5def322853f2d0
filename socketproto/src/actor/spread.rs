//! Which worker gets the next connection.

use crate::actor::workers::HOME;

/// Counts the connections of each worker. The next one goes where there are fewest: connections last as long as their
/// peers like, so taking turns alone would not keep the numbers equal. Where they are equal, it is the next one's turn, so
/// that short connections, one after the other, do not all meet on one thread.
pub(super) struct Spread {
    counts: Vec<usize>,
    last: usize,
}

impl Spread {
    pub(super) fn new(workers: usize) -> Self {
        Self { counts: vec![0; workers], last: workers - 1 }
    }

    /// Chooses among the workers that are alive, and counts the connection there.
    pub(super) fn choose(&mut self, is_alive: impl Fn(usize) -> bool) -> usize {
        let first = self.last + 1;
        let turns = (first..first + self.counts.len()).map(|turn| turn % self.counts.len());
        // Of several with the fewest it is the first.
        let chosen = turns.filter(|worker| is_alive(*worker)).min_by_key(|worker| self.counts[*worker]);
        self.last = chosen.unwrap_or(HOME);
        self.count(self.last)
    }

    /// Counts a connection that cannot be elsewhere.
    pub(super) fn count(&mut self, worker: usize) -> usize {
        self.counts[worker] += 1;
        worker
    }

    /// One of its connections has ended.
    pub(super) fn release(&mut self, worker: usize) {
        self.counts[worker] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: usize) -> bool {
        true
    }

    #[test]
    fn connections_go_where_there_are_fewest() {
        let mut spread = Spread::new(3);
        assert_eq!([0; 4].map(|_| spread.choose(all)), [0, 1, 2, 0]);
        spread.release(2);
        assert_eq!([0; 3].map(|_| spread.choose(all)), [2, 1, 2]);
        spread.count(HOME);
        assert_eq!([0; 3].map(|_| spread.choose(all)), [1, 2, 0], "one more is at home");
    }

    #[test]
    fn short_connections_take_turns() {
        let mut spread = Spread::new(3);
        let chosen = [0; 4].map(|_| {
            let worker = spread.choose(all);
            spread.release(worker);
            worker
        });
        assert_eq!(chosen, [0, 1, 2, 0]);
    }

    #[test]
    fn a_worker_that_has_ended_gets_none() {
        let mut spread = Spread::new(3);
        assert_eq!([0; 3].map(|_| spread.choose(|worker| worker != 1)), [0, 2, 0]);
        assert_eq!(spread.choose(|_| false), HOME);
    }
}
