//! A connection that has nothing to do keeps no room for what may come.
//!
//! Buffers and tables that served the last message serve the next one, where that comes soon. Most connections of a
//! large endpoint are idle most of the time, and what each of them kept would be most of its memory.

use std::time::{Duration, Instant};

use crate::actor::connection::Connection;
use crate::actor::pump::Pump;

/// How long a connection has nothing to do before it gives back what it kept.
const REST: Duration = Duration::from_secs(1);

/// When to look whether the connection is idle.
#[derive(Default)]
pub(super) struct Rest {
    at: Option<Instant>,
    /// Bytes have moved since the look was agreed: another one follows. So a busy line sets no timer with each turn.
    stirred: bool,
}

impl Rest {
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it is time to give back. `moved` says that bytes have just come or gone.
    fn is_due(&mut self, moved: bool, now: Instant) -> bool {
        match self.at {
            None => self.at = moved.then_some(now + REST),
            Some(at) if at > now => self.stirred |= moved,
            Some(_) if moved || self.stirred => *self = Self { at: Some(now + REST), stirred: false },
            Some(_) => {
                self.at = None;
                return true;
            }
        }
        false
    }
}

impl Connection {
    /// Gives back what is of no use to an idle connection. The timer has to be armed afterwards.
    pub(super) fn rest(&mut self, now: Instant) {
        let moved = self.line.as_mut().is_some_and(Pump::has_moved);
        if self.rest.is_due(moved, now) {
            self.session.shrink();
            self.link.shrink();
            self.outcomes.shrink_to_fit();
            self.line.iter_mut().for_each(Pump::shrink);
            self.timer.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_gives_back_once_and_a_busy_one_does_not() {
        let start = Instant::now();
        let after = |times| start + REST * times;
        let mut rest = Rest::default();
        assert!(!rest.is_due(false, start) && rest.at().is_none(), "nothing has come yet");
        assert!(!rest.is_due(true, start));
        assert_eq!(rest.at(), Some(after(1)));
        assert!(!rest.is_due(true, start + REST / 2));
        assert!(!rest.is_due(false, after(1)), "there was something in between");
        assert!(!rest.is_due(true, after(2)), "and just now");
        assert!(rest.is_due(false, after(3)));
        assert!(!rest.is_due(false, after(4)) && rest.at().is_none(), "once");
    }
}
