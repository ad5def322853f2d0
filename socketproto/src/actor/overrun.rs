//! Methods that hold up their thread: all else that lives on it waits meanwhile, connections and their heartbeats too.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::link::Link;
use crate::message::Header;

/// What waits for the thread is so late before somebody is told (protocol.md 7.3).
const LATE: Duration = Duration::from_secs(1);

/// How long the methods of one service run without a break.
///
/// The clock is looked at before and behind the requests of one read, not between them: they are mostly many and short.
/// Where they were long once, it is looked at behind each, so that the next time the right one is named.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: Option<Instant>,
    requests: usize,
    is_suspect: bool,
}

/// What held up the thread: one of so many requests, or all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Overrun {
    took: Duration,
    requests: usize,
}

impl Watch {
    /// Requests are about to run.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.since, self.requests) = (Some(now), 0);
    }

    /// One of them has run; whether to look at the clock before the next.
    #[inline]
    pub(super) fn has_run(&mut self) -> bool {
        self.requests += 1;
        self.is_suspect
    }

    /// What ran since the last look, where that took too long.
    pub(super) fn look(&mut self, now: Instant) -> Option<Overrun> {
        let took = now.saturating_duration_since(self.since.replace(now)?);
        let requests = std::mem::take(&mut self.requests);
        if took < LATE {
            return None;
        }
        self.is_suspect = true;
        Some(Overrun { took, requests })
    }
}

impl Overrun {
    /// What an async method did in one go.
    pub(super) fn of_step(began: Instant, now: Instant) -> Option<Self> {
        let mut watch = Watch::default();
        watch.begin(began);
        watch.has_run();
        watch.look(now)
    }

    /// Says which datum it was, or where it was one of several, which was the last of them.
    pub(super) fn tell(self, link: &Link, header: &Header) {
        let (_, table) = link.routes().snapshot();
        let Self { took, requests } = self;
        warn!(
            message = %table.describe(header),
            peer = %link.address(),
            ?took,
            requests,
            "its handler held up the thread, and all connections on it: make it async and let it wait, or `blocking`, or \
             give its service a thread of its own with `own_thread`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn what_takes_a_second_is_told_of_once() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert_eq!(watch.look(start), None, "nothing has run");
        watch.begin(start);
        assert!(!watch.has_run());
        assert_eq!(watch.look(start + SECOND - MILLISECOND), None);
        watch.begin(start + SECOND);
        assert!(!watch.has_run());
        assert_eq!(watch.look(start + 2 * SECOND), Some(Overrun { took: SECOND, requests: 1 }));
        assert_eq!(watch.look(start + 2 * SECOND), None, "once");
        assert_eq!(watch.look(start + 2 * SECOND), None);
    }

    #[test]
    fn of_many_short_ones_together_the_number_is_told_and_from_then_on_each_is_looked_at() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.begin(start);
        for _ in 0..100 {
            assert!(!watch.has_run());
        }
        assert_eq!(watch.look(start + 2 * SECOND), Some(Overrun { took: 2 * SECOND, requests: 100 }));
        watch.begin(start + 3 * SECOND);
        for at in 1..4 {
            assert!(watch.has_run());
            assert_eq!(watch.look(start + 3 * SECOND + at * MILLISECOND), None);
        }
        assert!(watch.has_run());
        let overrun = Overrun { took: SECOND, requests: 1 };
        assert_eq!(watch.look(start + 4 * SECOND + 3 * MILLISECOND), Some(overrun));
    }

    #[test]
    fn a_step_of_an_async_method_counts_by_itself() {
        let start = Instant::now();
        assert_eq!(Overrun::of_step(start, start + SECOND - MILLISECOND), None);
        let overrun = Overrun { took: 3 * SECOND, requests: 1 };
        assert_eq!(Overrun::of_step(start, start + 3 * SECOND), Some(overrun));
    }
}
