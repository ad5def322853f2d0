//! Where the outcomes of calls arrive, each in a slot that keeps its caller's waker.

use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::session::{CallFailure, CallKey, CallOutcome, CloseReason};

/// The slots of one connection.
#[derive(Default)]
pub(super) struct Slots {
    slots: Slab<Slot>,
    serial: u32,
}

struct Slot {
    /// Tells this call from an earlier one in the same place.
    serial: u32,
    state: State,
}

enum State {
    Waiting(Waker),
    Done(CallOutcome),
}

impl Slots {
    /// A slot for one more call.
    #[inline]
    pub(super) fn insert(&mut self, waker: &Waker) -> CallKey {
        self.serial = self.serial.wrapping_add(1);
        let slot = Slot { serial: self.serial, state: State::Waiting(waker.clone()) };
        key(self.slots.insert(slot), self.serial)
    }

    /// The outcome of a call, once.
    #[inline]
    pub(super) fn poll(&mut self, call: CallKey, cx: &Context<'_>) -> Poll<CallOutcome> {
        if let Some(Slot { state: State::Waiting(waker), .. }) = self.slot(call) {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        let lost = Err(CallFailure::Lost(CloseReason::Local));
        Poll::Ready(self.remove(call).flatten().unwrap_or(lost))
    }

    /// Puts an outcome where its caller finds it, and gives whom to wake; gives the outcome back where the caller has
    /// gone.
    #[inline]
    pub(super) fn complete(
        &mut self,
        call: CallKey,
        outcome: CallOutcome,
    ) -> Result<Option<Waker>, CallOutcome> {
        let Some(slot) = self.slot(call) else { return Err(outcome) };
        match std::mem::replace(&mut slot.state, State::Done(outcome)) {
            State::Waiting(waker) => Ok(Some(waker)),
            State::Done(_) => Ok(None),
        }
    }

    /// Removes a call: none where there is no such, else its outcome where it has come.
    #[inline]
    pub(super) fn remove(&mut self, call: CallKey) -> Option<Option<CallOutcome>> {
        self.slot(call)?;
        Some(match self.slots.try_remove(index(call))?.state {
            State::Done(outcome) => Some(outcome),
            State::Waiting(_) => None,
        })
    }

    /// Ends all that wait; gives whom to wake.
    pub(super) fn fail(&mut self, failure: &CallFailure) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (_, slot) in &mut self.slots {
            if let State::Waiting(waker) = &slot.state {
                wakers.push(waker.clone());
                slot.state = State::Done(Err(failure.clone()));
            }
        }
        wakers
    }

    /// Keeps no room for calls to come.
    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    #[inline]
    fn slot(&mut self, call: CallKey) -> Option<&mut Slot> {
        self.slots.get_mut(index(call)).filter(|slot| u64::from(slot.serial) == call >> 32)
    }
}

/// A key is the place of the slot and, above it, the serial that tells its users apart.
fn key(index: usize, serial: u32) -> CallKey {
    u64::from(serial) << 32 | (index as u64 & u64::from(u32::MAX))
}

fn index(call: CallKey) -> usize {
    (call & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Status;
    use crate::message::Json;
    use crate::session::Done;

    fn answered() -> CallOutcome {
        Ok(Done::Answered(Status::OKAY, Json::NULL))
    }

    fn poll(slots: &mut Slots, call: CallKey) -> Poll<CallOutcome> {
        slots.poll(call, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_outcome_never_reaches_the_next_user_of_a_slot() {
        let mut slots = Slots::default();
        let first = slots.insert(Waker::noop());
        assert_eq!(slots.remove(first), Some(None));
        let second = slots.insert(Waker::noop());
        assert_eq!(index(first), index(second));
        assert_eq!(slots.complete(first, answered()).unwrap_err(), answered());
        assert!(poll(&mut slots, second).is_pending());
        assert!(slots.complete(second, answered()).is_ok());
        assert_eq!(poll(&mut slots, second), Poll::Ready(answered()));
        assert!(matches!(poll(&mut slots, second), Poll::Ready(Err(CallFailure::Lost(_)))), "once");
    }
}
