//! Messages that no callback takes, kept until somebody receives them (protocol.md sections 6 and 8).

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::id::{DataId, ServiceId};
use crate::limits::Limits;
use crate::message::{Json, Message};
use crate::session::budget::Earliest;
use crate::session::event::{CallKey, Received, count};

type Key = (ServiceId, DataId);

/// Somebody who waits for a message.
#[derive(Debug)]
struct Receiver {
    call: CallKey,
    deadline: Instant,
}

/// The messages of one line, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// By their place in the order of arrival.
    messages: BTreeMap<i64, Message>,
    queues: FxHashMap<Key, VecDeque<i64>>,
    bytes: usize,
    receivers: FxHashMap<Key, VecDeque<Receiver>>,
    earliest: Earliest,
    /// Counts the lines: an answer of an earlier one must never be taken for one of the next.
    line: u64,
}

/// What became of a message.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Put {
    /// Somebody waited for it.
    Given(CallKey, Message),
    /// It is kept; so many older ones had to go.
    Kept { dropped: Dropped },
}

/// How many messages had to go, by the limit that they went for.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Dropped {
    pub(super) of_its_kind: u64,
    pub(super) for_number: u64,
    pub(super) for_bytes: u64,
}

impl Inbox {
    /// Gives a message to the first who waits for it, or keeps it.
    pub(super) fn put(&mut self, message: Message, limits: &Limits) -> Put {
        let key = key(&message);
        if let Some(call) = self.next_receiver(key) {
            return Put::Given(call, message);
        }
        let at = self.messages.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let (header, data) = message.into_parts();
        let data = data.detached();
        self.bytes = self.bytes.saturating_add(cost(&data));
        self.messages.insert(at, Message::from_parts(header, data));
        let queue = self.queues.entry(key).or_default();
        queue.push_back(at);
        let of_its_kind = queue.len();
        let mut dropped = Dropped::default();
        if of_its_kind > limits.max_buffered_per_datum {
            self.drop_oldest(key, &mut dropped.of_its_kind);
        }
        let most = limits.max_frame.saturating_add(limits.max_buffered_bytes);
        while self.messages.len() > limits.max_buffered || self.bytes > most {
            let Some((_, oldest)) = self.messages.first_key_value() else { break };
            let reason = if self.messages.len() > limits.max_buffered {
                &mut dropped.for_number
            } else {
                &mut dropped.for_bytes
            };
            self.drop_oldest(self::key(oldest), reason);
        }
        Put::Kept { dropped }
    }

    fn drop_oldest(&mut self, (service_id, data_id): Key, dropped: &mut u64) {
        if self.take(service_id, data_id).is_some() {
            count(dropped);
        }
    }

    /// The oldest message of its kind.
    pub(crate) fn take(&mut self, service_id: ServiceId, data_id: DataId) -> Option<Message> {
        let queue = self.queues.get_mut(&(service_id, data_id))?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&(service_id, data_id));
        }
        let message = self.messages.remove(&first?)?;
        self.bytes = self.bytes.saturating_sub(cost(message.json()));
        Some(message)
    }

    /// Takes a message back whose receiver had gone: it is the next of its kind. Gives it to another who waits.
    pub(crate) fn put_back(&mut self, Received { message, line }: Received) -> Option<(CallKey, Message)> {
        if line != self.line {
            return None;
        }
        let key = key(&message);
        if let Some(call) = self.next_receiver(key) {
            return Some((call, message));
        }
        let at = self.messages.first_key_value().map_or(0, |(first, _)| first.saturating_sub(1));
        self.bytes = self.bytes.saturating_add(cost(message.json()));
        self.messages.insert(at, message);
        self.queues.entry(key).or_default().push_front(at);
        None
    }

    /// Waits for a message.
    pub(super) fn wait(&mut self, service_id: ServiceId, data_id: DataId, call: CallKey, deadline: Instant) {
        self.earliest.add(deadline);
        self.receivers.entry((service_id, data_id)).or_default().push_back(Receiver { call, deadline });
    }

    fn next_receiver(&mut self, key: Key) -> Option<CallKey> {
        let receivers = self.receivers.get_mut(&key)?;
        let first = receivers.pop_front();
        if receivers.is_empty() {
            self.receivers.remove(&key);
        }
        first.map(|receiver| receiver.call)
    }

    /// Forgets a receiver that has gone.
    pub(super) fn cancel(&mut self, call: CallKey) {
        self.retain(|receiver| receiver.call != call);
    }

    /// The receivers whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<CallKey> {
        let mut expired = Vec::new();
        if self.earliest.is_due(now) {
            let mut earliest = Earliest::default();
            self.retain(|receiver| {
                let lives = receiver.deadline > now;
                if lives {
                    earliest.add(receiver.deadline);
                } else {
                    expired.push(receiver.call);
                }
                lives
            });
            self.earliest = earliest;
        }
        expired
    }

    /// Ends all receivers.
    pub(super) fn end_receivers(&mut self) -> Vec<CallKey> {
        self.receivers.drain().flat_map(|(_, receivers)| receivers).map(|receiver| receiver.call).collect()
    }

    fn retain(&mut self, mut lives: impl FnMut(&Receiver) -> bool) {
        self.receivers.retain(|_, receivers| {
            receivers.retain(&mut lives);
            !receivers.is_empty()
        });
    }

    /// Another line begins: what came on the one before is gone, who waits goes on waiting.
    pub(super) fn begin_line(&mut self) {
        self.messages.clear();
        self.queues.clear();
        self.bytes = 0;
        self.line = self.line.saturating_add(1);
    }

    /// The number of the line whose messages these are.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest.get()
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn key(message: &Message) -> Key {
    (message.service_id(), message.data_id())
}

fn cost(data: &Json) -> usize {
    data.as_str().len().saturating_add(Limits::BUFFERED_OVERHEAD)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEPT: Put = kept(0, 0, 0);

    const fn kept(of_its_kind: u64, for_number: u64, for_bytes: u64) -> Put {
        Put::Kept { dropped: Dropped { of_its_kind, for_number, for_bytes } }
    }

    fn message(data_id: u32, number: usize) -> Message {
        Message::new(20, data_id, Json::encode(&number).unwrap())
    }

    fn put(inbox: &mut Inbox, data_id: u32, number: usize) -> Put {
        inbox.put(message(data_id, number), &Limits::default())
    }

    fn take(inbox: &mut Inbox, data_id: u32) -> Option<usize> {
        inbox.take(20.into(), data_id.into()).map(|message| message.data().unwrap())
    }

    #[test]
    fn the_oldest_is_received_first_and_each_once() {
        let mut inbox = Inbox::default();
        for (data_id, number) in [(1, 10), (2, 20), (1, 11)] {
            assert_eq!(put(&mut inbox, data_id, number), KEPT);
        }
        assert_eq!(
            [take(&mut inbox, 1), take(&mut inbox, 1), take(&mut inbox, 1)],
            [Some(10), Some(11), None]
        );
        assert_eq!([take(&mut inbox, 2), take(&mut inbox, 2)], [Some(20), None]);
        assert_eq!((inbox.bytes, inbox.messages.len(), inbox.queues.len()), (0, 0, 0));
    }

    #[test]
    fn of_one_datum_64_are_kept() {
        let mut inbox = Inbox::default();
        for number in 0..64 {
            assert_eq!(put(&mut inbox, 1, number), KEPT);
        }
        assert_eq!(put(&mut inbox, 2, 0), KEPT, "another datum has its own");
        assert_eq!(put(&mut inbox, 1, 64), kept(1, 0, 0));
        assert_eq!(take(&mut inbox, 1), Some(1));
        assert_eq!(put(&mut inbox, 1, 65), KEPT);
    }

    #[test]
    fn of_all_data_1024_are_kept_and_the_oldest_goes() {
        let mut inbox = Inbox::default();
        for number in 0..1024 {
            assert_eq!(put(&mut inbox, number as u32, number), KEPT);
        }
        assert_eq!(put(&mut inbox, 5000, 1024), kept(0, 1, 0));
        assert_eq!((take(&mut inbox, 0), take(&mut inbox, 1)), (None, Some(1)));
    }

    #[test]
    fn bytes_are_bounded_by_one_frame_and_256_kib() {
        let limits = Limits { max_frame: 1000, ..Limits::default() };
        // Just as much as fits; the data of each are a number of one digit.
        let room = (1000 + 256 * 1024) / 257;
        let mut inbox = Inbox::default();
        for number in 0..room {
            assert_eq!(inbox.put(message(number as u32, 1), &limits), KEPT);
        }
        assert_eq!(inbox.put(message(5000, 1), &limits), kept(0, 0, 1));
        let mut inbox = Inbox::default();
        let most = Json::encode(&"x".repeat(1000 + 256 * 1024 - 258)).unwrap();
        assert_eq!(inbox.put(Message::new(20, 1, most), &limits), KEPT);
        assert_eq!(inbox.put(message(2, 1), &limits), kept(0, 0, 1));
        assert_eq!(take(&mut inbox, 2), Some(1));
    }

    #[test]
    fn who_waits_is_served_in_order_before_anything_is_kept() {
        let mut inbox = Inbox::default();
        let now = Instant::now();
        inbox.wait(20.into(), 1.into(), 70, now + Duration::from_secs(1));
        inbox.wait(20.into(), 1.into(), 71, now + Duration::from_secs(2));
        inbox.wait(20.into(), 1.into(), 72, now + Duration::from_secs(3));
        assert_eq!(put(&mut inbox, 1, 5), Put::Given(70, message(1, 5)));
        inbox.cancel(71);
        assert_eq!(inbox.deadline(), Some(now + Duration::from_secs(1)), "a lower bound");
        assert!(inbox.expired(now + Duration::from_secs(2)).is_empty());
        assert_eq!(inbox.expired(now + Duration::from_secs(3)), [72]);
        assert_eq!(put(&mut inbox, 1, 6), KEPT);
        assert_eq!(take(&mut inbox, 1), Some(6));
    }

    #[test]
    fn a_message_whose_receiver_has_gone_is_the_next_again_but_not_on_another_line() {
        let mut inbox = Inbox::default();
        put(&mut inbox, 1, 5);
        put(&mut inbox, 1, 6);
        let (message, line) = (inbox.take(20.into(), 1.into()).unwrap(), inbox.line());
        assert_eq!(inbox.put_back(Received { message: message.clone(), line }), None);
        assert_eq!([take(&mut inbox, 1), take(&mut inbox, 1)], [Some(5), Some(6)]);
        inbox.wait(20.into(), 1.into(), 70, Instant::now());
        assert_eq!(inbox.put_back(Received { message: message.clone(), line }), Some((70, message.clone())));
        inbox.begin_line();
        assert_eq!(inbox.put_back(Received { message, line }), None);
        assert_eq!(take(&mut inbox, 1), None);
    }

    #[test]
    fn whatever_comes_and_goes_it_is_what_a_plain_list_would_hold() {
        let limits = Limits {
            max_buffered_per_datum: 3,
            max_buffered: 7,
            max_frame: 0,
            max_buffered_bytes: 6 * 257,
            ..Limits::default()
        };
        let mut inbox = Inbox::default();
        let mut list: Vec<(u32, usize)> = Vec::new();
        let mut state: u64 = 1;
        for number in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let data_id = (state >> 33) as u32 % 4;
            let first = list.iter().position(|(kind, _)| *kind == data_id);
            if (state >> 40).is_multiple_of(3) {
                let expected = first.map(|at| list.remove(at).1);
                assert_eq!(take(&mut inbox, data_id), expected, "step {number}");
                continue;
            }
            // One digit each, so that six fit.
            let before = list.len();
            list.push((data_id, number % 10));
            if list.iter().filter(|(kind, _)| *kind == data_id).count() > 3 {
                list.remove(first.unwrap());
            }
            while list.len() > 6 {
                list.remove(0);
            }
            let dropped = (before + 1 - list.len()) as u64;
            let Put::Kept { dropped: Dropped { of_its_kind, for_number, for_bytes } } =
                inbox.put(message(data_id, number % 10), &limits)
            else {
                panic!("nobody waits")
            };
            assert_eq!(of_its_kind + for_number + for_bytes, dropped, "step {number}");
            assert_eq!((inbox.messages.len(), inbox.bytes), (list.len(), list.len() * 257));
        }
    }

    #[test]
    fn another_line_begins_without_messages() {
        let mut inbox = Inbox::default();
        put(&mut inbox, 1, 5);
        inbox.wait(20.into(), 2.into(), 70, Instant::now());
        inbox.begin_line();
        assert_eq!((take(&mut inbox, 1), inbox.bytes), (None, 0));
        assert_eq!(put(&mut inbox, 2, 7), Put::Given(70, message(2, 7)));
    }
}
