//! Tells when all services of an endpoint have ended, their `stopping` hooks included, on whatever thread they live.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

/// Held by the actor of each service; when the last is dropped, all of them have ended. Nothing is ever sent.
pub(crate) type Alive = mpsc::Sender<()>;

/// The endpoint's end of all of them.
pub(super) struct Lifeline(Mutex<Ends>);

struct Ends {
    /// Where further ones come from; absent once the endpoint ends.
    source: Option<Alive>,
    ended: mpsc::Receiver<()>,
}

impl Lifeline {
    pub(super) fn new() -> Self {
        let (source, ended) = mpsc::channel(1);
        Self(Mutex::new(Ends { source: Some(source), ended }))
    }

    /// For one more service; none once the endpoint ends.
    pub(super) fn alive(&self) -> Option<Alive> {
        self.lock().source.clone()
    }

    /// No further service begins.
    pub(super) fn cut(&self) {
        self.lock().source = None;
    }

    /// Whether all have ended, after the cut.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().ended.poll_recv(cx).map(|_| ())
    }

    /// Each change is one step, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn the_end_is_told_when_the_last_has_ended() {
        let lifeline = Lifeline::new();
        let ended = || lifeline.poll_ended(&mut Context::from_waker(Waker::noop())).is_ready();
        let (first, second) = (lifeline.alive(), lifeline.alive());
        drop(first);
        assert!(!ended());
        lifeline.cut();
        assert!(lifeline.alive().is_none());
        assert!(!ended());
        drop(second);
        assert!(ended());
    }
}
