//! Requests of the peer: how many run, which are parked, and in which order their answers leave.
//!
//! A request that carried a message id is answered as soon as its outcome is known. Without ids the answers of one
//! (service, datum) leave in the order of the requests (protocol.md section 6), so an outcome may have to be held.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::frame::Format;
use crate::id::{DataId, ServiceId, Status};
use crate::limits::Limits;
use crate::message::Json;
use crate::session::budget::{Earliest, after};
use crate::session::event::{Incoming, RequestId};

/// Where an answer goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    pub(super) response: ServiceId,
    pub(super) data_id: DataId,
    pub(super) message_id: Option<u64>,
    pub(super) format: Format,
}

impl Origin {
    fn key(&self) -> Key {
        (self.response, self.data_id)
    }
}

type Key = (ServiceId, DataId);

/// A request that a handler works on; without an origin nothing is answered.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) origin: Option<Origin>,
    pub(super) handler: usize,
    deadline: Instant,
}

/// A request that waits until another one ends.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) incoming: Incoming,
    pub(super) origin: Option<Origin>,
    /// How long it may take, once it runs.
    pub(super) timeout: Duration,
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: RequestId,
    running: FxHashMap<RequestId, Running>,
    /// Requests that are over while their handlers may still work on them: those keep their places, or a peer that asks and
    /// gives up could have any number of them run.
    given_up: FxHashSet<RequestId>,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    earliest: Earliest,
    order: Order,
}

impl Requests {
    /// Names a request, and takes its place in the order of answers.
    #[inline]
    pub(super) fn open(&mut self, origin: Option<&Origin>) -> RequestId {
        self.next = self.next.wrapping_add(1);
        if let Some(origin) = origin.filter(|origin| origin.message_id.is_none()) {
            self.order.open(origin.key(), self.next);
        }
        self.next
    }

    /// Counts the request as running until its outcome comes.
    #[inline]
    pub(super) fn start(
        &mut self,
        incoming: &Incoming,
        origin: Option<Origin>,
        timeout: Duration,
        now: Instant,
    ) {
        let deadline = after(now, timeout);
        self.earliest.add(deadline);
        self.running.insert(incoming.request, Running { origin, handler: incoming.handler, deadline });
    }

    /// Ends a request, whose handler is done with it; none where it is over already.
    #[inline]
    pub(super) fn finish(&mut self, request: RequestId) -> Option<Running> {
        let running = self.running.remove(&request);
        if running.is_none() {
            self.given_up.remove(&request);
        }
        running
    }

    /// Ends a request whose handler may still work on it.
    pub(super) fn give_up(&mut self, request: RequestId) -> Option<Running> {
        let running = self.running.remove(&request)?;
        self.given_up.insert(request);
        Some(running)
    }

    /// Ends the request of this message id without an answer: its caller has gone. Gives what ran for it.
    pub(super) fn cancel(&mut self, message_id: u64) -> Option<(RequestId, Running)> {
        let is_meant =
            |origin: &Option<Origin>| origin.is_some_and(|origin| origin.message_id == Some(message_id));
        if let Some(at) = self.parked.iter().position(|parked| is_meant(&parked.origin)) {
            let parked = self.parked.remove(at)?;
            self.parked_bytes = self.parked_bytes.saturating_sub(cost(&parked.incoming));
            return None;
        }
        let request = *self.running.iter().find(|(_, running)| is_meant(&running.origin))?.0;
        Some((request, self.give_up(request)?))
    }

    /// Begins anew on another line; names of requests are not used again, so that late outcomes find nothing.
    pub(super) fn restart(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    pub(super) fn is_running(&self, request: RequestId) -> bool {
        self.running.contains_key(&request)
    }

    #[inline]
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many handlers work for this peer.
    #[inline]
    pub(super) fn working(&self) -> usize {
        self.running.len().saturating_add(self.given_up.len())
    }

    /// Sets a request aside until another one ends. Gives the bytes that are parked now.
    pub(super) fn park(&mut self, mut parked: Parked) -> usize {
        // What is counted is what is held.
        parked.incoming.data = parked.incoming.data.detached();
        self.parked_bytes = self.parked_bytes.saturating_add(cost(&parked.incoming));
        self.parked.push_back(parked);
        self.parked_bytes
    }

    #[inline]
    pub(super) fn unpark(&mut self) -> Option<Parked> {
        let parked = self.parked.pop_front()?;
        self.parked_bytes = self.parked_bytes.saturating_sub(cost(&parked.incoming));
        Some(parked)
    }

    /// Keeps no room for requests to come.
    pub(super) fn shrink(&mut self) {
        if self.running.is_empty() {
            self.earliest = Earliest::default();
        }
        self.running.shrink_to_fit();
        self.given_up.shrink_to_fit();
        self.parked.shrink_to_fit();
        self.order.0.shrink_to_fit();
    }

    #[inline]
    pub(super) fn parked_bytes(&self) -> usize {
        self.parked_bytes
    }

    #[inline]
    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Drops what has not been begun.
    pub(super) fn clear_parked(&mut self) {
        self.parked.clear();
        self.parked_bytes = 0;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest.get()
    }

    /// The requests whose handlers took too long; they stay until they are finished.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<RequestId> {
        let mut expired = Vec::new();
        if self.earliest.is_due(now) {
            for (request, running) in &self.running {
                if running.deadline <= now {
                    expired.push(*request);
                } else {
                    self.earliest.add(running.deadline);
                }
            }
        }
        expired.sort_unstable();
        expired
    }

    /// Whether the outcome may leave at once; else it is held until the answers before it have left.
    #[inline]
    pub(super) fn may_leave(&self, origin: &Origin, request: RequestId) -> bool {
        origin.message_id.is_some() || self.order.is_first(origin.key(), request)
    }

    /// Holds an outcome until the answers before it have left.
    pub(super) fn hold(&mut self, origin: &Origin, request: RequestId, status: Status, data: Json) {
        self.order.hold(request, *origin, Answer { status, data });
    }

    /// After an answer has left: the next one that was held for it.
    #[inline]
    pub(super) fn next_held(&mut self, origin: &Origin) -> Option<(Origin, Answer)> {
        if origin.message_id.is_some() { None } else { self.order.advance(origin.key()) }
    }
}

fn cost(incoming: &Incoming) -> usize {
    incoming.data.as_str().len().saturating_add(Limits::PARKED_OVERHEAD)
}

/// An outcome that waits for its turn.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) data: Json,
}

/// The order of answers without message ids, per response id and datum.
#[derive(Debug, Default)]
struct Order(FxHashMap<Key, VecDeque<Place>>);

#[derive(Debug)]
struct Place {
    request: RequestId,
    held: Option<(Origin, Answer)>,
}

impl Order {
    #[inline]
    fn open(&mut self, key: Key, request: RequestId) {
        self.0.entry(key).or_default().push_back(Place { request, held: None });
    }

    fn is_first(&self, key: Key, request: RequestId) -> bool {
        self.0.get(&key).and_then(VecDeque::front).is_none_or(|place| place.request == request)
    }

    fn hold(&mut self, request: RequestId, origin: Origin, answer: Answer) {
        let places = self.0.get_mut(&origin.key());
        if let Some(place) =
            places.and_then(|places| places.iter_mut().find(|place| place.request == request))
        {
            place.held = Some((origin, answer));
        }
    }

    /// Removes the first place, whose answer has left, and takes the answer held at the one behind it. That place
    /// stays: its answer leaves next and is then advanced over in turn.
    fn advance(&mut self, key: Key) -> Option<(Origin, Answer)> {
        let places = self.0.get_mut(&key)?;
        places.pop_front();
        let next = places.front_mut().and_then(|place| place.held.take());
        if places.is_empty() {
            self.0.remove(&key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytestring::ByteString;

    use super::*;
    use crate::message::Message;

    fn origin(message_id: Option<u64>) -> Origin {
        Origin { response: 11.into(), data_id: 1.into(), message_id, format: Format::Json }
    }

    /// Finishes requests in this order and lists the order in which their answers leave.
    fn leave(requests: &mut Requests, origin: &Origin, finished: &[RequestId]) -> Vec<u32> {
        let mut left = Vec::new();
        for request in finished {
            let status = Status::new(u32::try_from(*request).unwrap()).unwrap();
            if !requests.may_leave(origin, *request) {
                requests.hold(origin, *request, status, Json::NULL);
                continue;
            }
            left.push(status.value());
            while let Some((_, answer)) = requests.next_held(origin) {
                left.push(answer.status.value());
            }
        }
        left
    }

    #[test]
    fn answers_without_ids_leave_in_the_order_of_the_requests() {
        let mut requests = Requests::default();
        let origin = origin(None);
        for expected in 1..=4 {
            assert_eq!(requests.open(Some(&origin)), expected);
        }
        assert_eq!(leave(&mut requests, &origin, &[3, 2, 1, 4]), [1, 2, 3, 4]);
        assert!(requests.order.0.is_empty());
    }

    #[test]
    fn no_room_is_kept_but_for_what_runs() {
        let mut requests = Requests::default();
        let timeout = Duration::from_secs(30);
        let header = *Message::new(10, 1, Json::NULL).header();
        let incoming =
            |request| Incoming { request, handler: 0, entry: 0, name: "x", header, data: Json::NULL };
        let now = Instant::now();
        for request in 1..=100 {
            requests.start(&incoming(request), None, timeout, now);
        }
        assert!((2..=100).all(|request| requests.finish(request).is_some()));
        requests.shrink();
        assert!(requests.running.capacity() < 10);
        assert_eq!(requests.deadline(), Some(now + timeout));
        requests.finish(1);
        requests.shrink();
        assert_eq!((requests.running.capacity(), requests.deadline()), (0, None));
    }

    #[test]
    fn a_parked_request_does_not_hold_the_frame_it_came_in() {
        let frame = ByteString::from(format!("[1]{}", " ".repeat(1000)));
        let data = Json::part_of(frame.clone(), 0..3);
        let header = *Message::new(10, 1, Json::NULL).header();
        let incoming = Incoming { request: 1, handler: 0, entry: 0, name: "x", header, data };
        let mut requests = Requests::default();
        let bytes = requests.park(Parked { incoming, origin: None, timeout: Duration::from_secs(30) });
        assert_eq!(bytes, 3 + Limits::PARKED_OVERHEAD);
        assert!(frame.into_bytes().is_unique(), "nobody else holds it");
        assert_eq!(requests.unpark().unwrap().incoming.data.as_str(), "[1]");
        assert_eq!(requests.parked_bytes(), 0);
    }

    #[test]
    fn answers_with_ids_leave_at_once() {
        let mut requests = Requests::default();
        let origin = origin(Some(9));
        requests.open(Some(&origin));
        requests.open(Some(&origin));
        assert_eq!(leave(&mut requests, &origin, &[2, 1]), [2, 1]);
    }
}
