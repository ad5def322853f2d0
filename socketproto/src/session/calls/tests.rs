//! Tests of the calls of one connection.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Line {
    calls: Calls,
    now: Instant,
    pairing: Pairing,
    window: usize,
}

impl Line {
    fn new(with_id: bool, window: usize) -> Self {
        let pairing = if with_id { Pairing::ById } else { Pairing::InOrder };
        Self { calls: Calls::default(), now: Instant::now(), pairing, window }
    }

    /// Makes a call of 4 s and writes what can be written; lists what was written.
    fn call(&mut self, call: CallKey, nested: bool) -> Vec<CallKey> {
        let new = NewCall {
            kind: CallKind::Request,
            call,
            service_id: 10.into(),
            data_id: 1.into(),
            data: b"null".to_vec(),
            timeout: 4 * SECOND,
            nested,
            response: None,
        };
        self.calls.enqueue(new, 11.into(), self.now);
        self.pump()
    }

    fn pump(&mut self) -> Vec<CallKey> {
        let mut written = Vec::new();
        while let Some((waiting, id)) = self.calls.next_to_send(self.pairing, self.window) {
            self.calls.sent(&waiting, id);
            written.push(waiting.new.call);
        }
        written
    }

    fn answer(&mut self, message_id: Option<u64>) -> Match {
        self.calls.complete(11.into(), 1.into(), message_id)
    }
}

#[test]
fn an_answer_with_an_id_completes_that_call_alone() {
    let mut line = Line::new(true, 8);
    line.call(70, false);
    line.call(71, false);
    assert_eq!(line.answer(Some(2)), Match::Call(71));
    assert_eq!(line.answer(Some(2)), Match::Late);
    assert_eq!(line.answer(Some(3)), Match::NeverIssued);
    assert_eq!(line.answer(None), Match::None);
    assert_eq!(line.calls.complete(21.into(), 1.into(), Some(1)), Match::NeverIssued);
    assert_eq!(line.answer(Some(1)), Match::Call(70));
}

#[test]
fn an_answer_without_an_id_completes_the_oldest_call() {
    let mut line = Line::new(false, 8);
    line.call(70, false);
    line.call(71, false);
    assert_eq!(line.answer(None), Match::Call(70));
    assert_eq!(line.answer(None), Match::Call(71));
    assert_eq!(line.answer(None), Match::None);
    assert_eq!(line.calls.outstanding, Count::default());
}

#[test]
fn calls_beyond_the_window_wait_but_not_those_of_handlers() {
    let mut line = Line::new(true, 1);
    assert_eq!(line.call(70, false), [70]);
    assert!(line.call(71, false).is_empty());
    assert_eq!(line.call(72, true), [72]);
    assert_eq!(line.answer(Some(1)), Match::Call(70));
    assert_eq!(line.pump(), [71]);
}

#[test]
fn a_call_that_times_out_leaves_a_tombstone_that_takes_the_late_answer() {
    let mut line = Line::new(false, 8);
    line.call(70, false);
    line.now += 4 * SECOND;
    assert_eq!(line.calls.expired(line.now), [(70, Asked::WithoutId)]);
    assert!(line.call(71, false).is_empty(), "nothing is written while the tombstone is open");
    assert_eq!(line.answer(None), Match::Late);
    assert_eq!(line.pump(), [71]);
    assert_eq!(line.answer(None), Match::Call(71));
}

#[test]
fn a_line_that_loses_frames_has_one_call_of_a_datum() {
    let mut line = Line::new(false, 8);
    line.pairing = Pairing::OneAtATime;
    assert_eq!(line.call(70, false), [70]);
    assert!(line.call(71, false).is_empty());
    assert_eq!(line.answer(None), Match::Call(70));
    assert_eq!(line.pump(), [71]);
    line.now += 4 * SECOND;
    line.calls.expired(line.now);
    assert!(line.call(72, false).is_empty(), "the tombstone of the call that timed out is open");
    line.now += 2 * SECOND;
    line.calls.expired(line.now);
    assert_eq!(line.pump(), [72]);
}

#[test]
fn a_tombstone_ends_after_half_of_the_timeout() {
    let mut line = Line::new(false, 8);
    line.call(70, false);
    line.now += 4 * SECOND;
    line.calls.expired(line.now);
    assert_eq!(line.calls.deadline(), Some(line.now + 2 * SECOND));
    assert!(line.call(71, false).is_empty());
    line.now += 2 * SECOND;
    assert!(line.calls.expired(line.now).is_empty());
    assert_eq!(line.pump(), [71]);
}

#[test]
fn a_cancelled_call_gives_its_place_in_the_window_back() {
    let mut line = Line::new(true, 1);
    line.call(70, false);
    line.call(71, false);
    assert_eq!(line.calls.cancel(70, line.now), Some(1));
    assert_eq!(line.pump(), [71]);
    assert_eq!(line.answer(Some(1)), Match::Late);
    assert_eq!(line.calls.cancel(71, line.now), Some(2));
    assert_eq!(line.calls.outstanding, Count::default());
}

#[test]
fn a_waiting_call_times_out_too_and_all_end_at_once() {
    let mut line = Line::new(true, 1);
    line.call(70, false);
    line.call(71, false);
    line.now += 4 * SECOND;
    assert_eq!(line.calls.expired(line.now), [(71, Asked::NotYet), (70, Asked::Under(1))]);
    line.call(72, false);
    line.call(73, false);
    assert_eq!(line.calls.end_sent(false), [72]);
    assert_eq!(line.calls.end_waiting(), [73]);
    assert_eq!(line.calls.outstanding, Count::default());
}
