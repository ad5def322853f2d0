//! Calls of ours: which are outstanding, which wait, and whose answer a response is (protocol.md 7.2 and 8.1).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::id::{DataId, ServiceId, Status};
use crate::message::MAX_MESSAGE_ID;
use crate::session::budget::{Earliest, after};
use crate::session::event::CallKey;

/// The longest time a timed-out call without an id keeps its place.
const MAX_TOMBSTONE: Duration = Duration::from_secs(5);

/// A call to be made.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) call: CallKey,
    pub(crate) service_id: ServiceId,
    pub(crate) data_id: DataId,
    /// One JSON value.
    pub(crate) data: Vec<u8>,
    pub(crate) timeout: Duration,
    pub(crate) kind: CallKind,
    /// Made by a handler: it never waits for the window, for its caller may hold it (protocol.md 8.1).
    pub(crate) nested: bool,
    /// The response id, where the caller knows it; else the endpoint's table has it.
    pub(crate) response: Option<ServiceId>,
}

/// What is asked of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallKind {
    /// A request, whose answer is waited for.
    Request,
    /// A message, which is done when the transport has taken it.
    Send { status: Status },
    /// The next message of a service and datum that no callback takes.
    Receive,
    /// This side is to be trusted.
    Authenticate,
}

impl NewCall {
    /// The status its message carries.
    pub(super) fn status(&self) -> Status {
        match self.kind {
            CallKind::Send { status } => status,
            _ => Status::OKAY,
        }
    }
}

/// A call that waits until it can be written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) new: NewCall,
    pub(super) response: ServiceId,
    pub(super) deadline: Instant,
}

impl Waiting {
    fn key(&self) -> Key {
        (self.response, self.new.data_id)
    }
}

/// A call that has been written.
#[derive(Debug)]
struct Outstanding {
    call: CallKey,
    key: Key,
    deadline: Instant,
    timeout: Duration,
    nested: bool,
}

/// A place in the order of answers without ids: an outstanding call, or the tombstone of one that timed out, which
/// takes the answer that may still come.
#[derive(Debug)]
enum Place {
    Call(Outstanding),
    Tombstone { until: Instant },
}

type Key = (ServiceId, DataId);

/// The calls of one connection.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last_message_id: u64,
    by_id: FxHashMap<u64, Outstanding>,
    in_order: FxHashMap<Key, VecDeque<Place>>,
    waiting: VecDeque<Waiting>,
    /// Waiting calls of handlers, which the window does not hold up.
    nested: VecDeque<Waiting>,
    outstanding: Count,
    earliest: Earliest,
}

/// How many calls are outstanding.
#[derive(Debug, Default, Eq, PartialEq)]
struct Count {
    /// Those that count against the window.
    windowed: usize,
    /// Those that handlers made.
    nested: usize,
}

impl Count {
    fn add(&mut self, nested: bool) {
        let count = self.of(nested);
        *count = count.saturating_add(1);
    }

    fn remove(&mut self, nested: bool) {
        let count = self.of(nested);
        *count = count.saturating_sub(1);
    }

    fn of(&mut self, nested: bool) -> &mut usize {
        if nested { &mut self.nested } else { &mut self.windowed }
    }
}

/// How answers find their calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pairing {
    /// By message id.
    ById,
    /// The oldest call of the datum is answered first.
    InOrder,
    /// The same where answers can be lost: one call of a datum is outstanding.
    OneAtATime,
}

/// Whether the peer has been asked, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    NotYet,
    WithoutId,
    Under(u64),
}

/// Whose answer a response is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Match {
    Call(CallKey),
    /// The call is over.
    Late,
    /// No call has ever had this id.
    NeverIssued,
    /// No call waits for it: an ordinary message.
    None,
}

impl Calls {
    /// The next message id is the one behind this.
    pub(super) fn count_from(&mut self, message_id: u64) {
        self.last_message_id = message_id;
    }

    /// Lets a call wait for its turn.
    #[inline]
    pub(super) fn enqueue(&mut self, new: NewCall, response: ServiceId, now: Instant) {
        let deadline = after(now, new.timeout);
        self.earliest.add(deadline);
        let queue = if new.nested { &mut self.nested } else { &mut self.waiting };
        queue.push_back(Waiting { new, response, deadline });
    }

    /// The next call that can be written now, with its message id where ids are agreed.
    #[inline]
    pub(super) fn next_to_send(&mut self, pairing: Pairing, window: usize) -> Option<(Waiting, Option<u64>)> {
        let waiting = match self.take_first(pairing, true) {
            Some(nested) => nested,
            None if self.outstanding.windowed < window => self.take_first(pairing, false)?,
            None => return None,
        };
        let message_id = (pairing == Pairing::ById).then(|| self.next_message_id());
        Some((waiting, message_id))
    }

    #[inline]
    pub(super) fn next_message_id(&mut self) -> u64 {
        self.last_message_id = (self.last_message_id % MAX_MESSAGE_ID).saturating_add(1);
        self.last_message_id
    }

    /// The first call of a queue that no other call of its datum holds up.
    #[inline]
    fn take_first(&mut self, pairing: Pairing, nested: bool) -> Option<Waiting> {
        if pairing == Pairing::ById {
            return if nested { &mut self.nested } else { &mut self.waiting }.pop_front();
        }
        let queue = if nested { &self.nested } else { &self.waiting };
        let at = queue.iter().position(|waiting| !self.is_held_up(pairing, waiting.key()))?;
        let queue = if nested { &mut self.nested } else { &mut self.waiting };
        queue.remove(at)
    }

    fn is_held_up(&self, pairing: Pairing, key: Key) -> bool {
        match pairing {
            Pairing::ById => false,
            Pairing::InOrder => self.has_tombstone(key),
            Pairing::OneAtATime => self.in_order.contains_key(&key),
        }
    }

    /// The call has been written.
    #[inline]
    pub(super) fn sent(&mut self, waiting: &Waiting, message_id: Option<u64>) {
        let outstanding = Outstanding {
            call: waiting.new.call,
            key: waiting.key(),
            deadline: waiting.deadline,
            timeout: waiting.new.timeout,
            nested: waiting.new.nested,
        };
        self.outstanding.add(outstanding.nested);
        match message_id {
            Some(id) => {
                self.by_id.insert(id, outstanding);
            }
            None => self.in_order.entry(outstanding.key).or_default().push_back(Place::Call(outstanding)),
        }
    }

    /// Finds the call a response belongs to, and ends it.
    #[inline]
    pub(super) fn complete(
        &mut self,
        response: ServiceId,
        data_id: DataId,
        message_id: Option<u64>,
    ) -> Match {
        let key = (response, data_id);
        let Some(id) = message_id else { return self.complete_in_order(key) };
        match self.by_id.entry(id) {
            Entry::Occupied(outstanding) if outstanding.get().key == key => {
                let outstanding = outstanding.remove();
                self.outstanding.remove(outstanding.nested);
                Match::Call(outstanding.call)
            }
            // The id of another datum's call: nothing the peer was asked.
            Entry::Occupied(_) => Match::NeverIssued,
            Entry::Vacant(_) if id <= self.last_message_id => Match::Late,
            Entry::Vacant(_) => Match::NeverIssued,
        }
    }

    fn complete_in_order(&mut self, key: Key) -> Match {
        let Some(places) = self.in_order.get_mut(&key) else { return Match::None };
        let first = places.pop_front();
        if places.is_empty() {
            self.in_order.remove(&key);
        }
        match first {
            Some(Place::Call(outstanding)) => {
                self.outstanding.remove(outstanding.nested);
                Match::Call(outstanding.call)
            }
            Some(Place::Tombstone { .. }) => Match::Late,
            None => Match::None,
        }
    }

    /// Forgets a call whose caller has gone; an answer that still comes is late. Gives the message id where the peer
    /// has been asked under one.
    pub(super) fn cancel(&mut self, call: CallKey, now: Instant) -> Option<u64> {
        for queue in [&mut self.waiting, &mut self.nested] {
            queue.retain(|waiting| waiting.new.call != call);
        }
        self.bury(now, |outstanding| outstanding.call == call);
        let (id, _) = self.by_id.iter().find(|(_, outstanding)| outstanding.call == call)?;
        let id = *id;
        let outstanding = self.by_id.remove(&id)?;
        self.outstanding.remove(outstanding.nested);
        Some(id)
    }

    /// The calls whose time is over, each with what is known of its request.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(CallKey, Asked)> {
        if !self.earliest.is_due(now) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for queue in [&mut self.waiting, &mut self.nested] {
            queue.retain(|waiting| {
                keep(waiting.deadline > now, (waiting.new.call, Asked::NotYet), &mut expired)
            });
        }
        self.by_id.retain(|id, outstanding| {
            let kept = keep(outstanding.deadline > now, (outstanding.call, Asked::Under(*id)), &mut expired);
            if !kept {
                self.outstanding.remove(outstanding.nested);
            }
            kept
        });
        let buried = self.bury(now, |outstanding| outstanding.deadline <= now);
        expired.extend(buried.into_iter().map(|call| (call, Asked::WithoutId)));
        for places in self.in_order.values_mut() {
            places.retain(|place| !matches!(place, Place::Tombstone { until } if *until <= now));
        }
        self.in_order.retain(|_, places| !places.is_empty());
        self.note_deadlines();
        expired
    }

    /// Ends the calls that were sent: their answers cannot come any more. Those that wait can be sent on another line,
    /// where ids begin anew. Where the next line is the same wire (`endless`) answers still may come: ids go on, and calls
    /// without ids leave tombstones for as long as they would have waited.
    pub(super) fn end_sent(&mut self, endless: bool) -> Vec<CallKey> {
        let mut by_id: Vec<_> = self.by_id.drain().map(|(id, outstanding)| (id, outstanding.call)).collect();
        by_id.sort_unstable();
        let mut calls: Vec<_> = by_id.into_iter().map(|(_, call)| call).collect();
        for place in self.in_order.values_mut().flatten() {
            if let Place::Call(outstanding) = place {
                calls.push(outstanding.call);
                *place = Place::Tombstone { until: outstanding.deadline };
            }
        }
        self.outstanding = Count::default();
        if !endless {
            self.in_order.clear();
            self.last_message_id = 0;
        }
        calls
    }

    /// Ends the calls that wait.
    pub(super) fn end_waiting(&mut self) -> Vec<CallKey> {
        let waiting = self.waiting.drain(..).chain(self.nested.drain(..));
        waiting.map(|waiting| waiting.new.call).collect()
    }

    /// Keeps no room for calls to come.
    pub(super) fn shrink(&mut self) {
        self.earliest = Earliest::default();
        self.note_deadlines();
        self.by_id.shrink_to_fit();
        self.in_order.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.nested.shrink_to_fit();
    }

    /// Whether the peer has been asked something that it has yet to answer.
    pub(super) fn has_sent(&self) -> bool {
        self.outstanding != Count::default()
    }

    /// The calls of handlers that are not over.
    #[inline]
    pub(super) fn nested(&self) -> usize {
        self.outstanding.nested.saturating_add(self.nested.len())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest.get()
    }

    fn has_tombstone(&self, key: Key) -> bool {
        let places = self.in_order.get(&key);
        places.is_some_and(|places| places.iter().any(|place| matches!(place, Place::Tombstone { .. })))
    }

    /// Turns calls without ids into tombstones.
    fn bury(&mut self, now: Instant, is_over: impl Fn(&Outstanding) -> bool) -> Vec<CallKey> {
        let mut buried = Vec::new();
        for place in self.in_order.values_mut().flatten() {
            let Place::Call(outstanding) = place else { continue };
            if is_over(outstanding) {
                self.outstanding.remove(outstanding.nested);
                buried.push(outstanding.call);
                let half = outstanding.timeout.checked_div(2).unwrap_or_default();
                let until = after(now, half.min(MAX_TOMBSTONE));
                self.earliest.add(until);
                *place = Place::Tombstone { until };
            }
        }
        buried
    }

    fn note_deadlines(&mut self) {
        for waiting in self.waiting.iter().chain(&self.nested) {
            self.earliest.add(waiting.deadline);
        }
        for outstanding in self.by_id.values() {
            self.earliest.add(outstanding.deadline);
        }
        for place in self.in_order.values().flatten() {
            self.earliest.add(match place {
                Place::Call(outstanding) => outstanding.deadline,
                Place::Tombstone { until } => *until,
            });
        }
    }
}

/// Lists a call that does not live on.
fn keep<T>(lives: bool, call: T, ended: &mut Vec<T>) -> bool {
    if !lives {
        ended.push(call);
    }
    lives
}
