//! The one timer of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

/// Wakes the task at the earliest of its deadlines.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Whether the time the timer was set to has come.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.armed.is_some_and(|armed| armed <= now);
        if due {
            self.armed = None;
        }
        due
    }

    /// Forgets what the timer was set to; the next one is made anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Sets the timer. One that runs out too early is left alone: deadlines mostly move away, and a turn too many
    /// costs less than moving the timer with each of them.
    pub(super) fn arm(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) {
        let Some(deadline) = deadline.filter(|deadline| self.armed.is_none_or(|armed| *deadline < armed))
        else {
            return;
        };
        self.armed = Some(deadline);
        let at = tokio::time::Instant::from_std(deadline);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        sleep.as_mut().reset(at);
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
