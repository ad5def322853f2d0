//! Calls of ours and their answers (protocol.md 7.2, and the window of 8.1).

use super::*;

/// A client that has agreed on ids; its peer takes two calls at once.
fn with_ids() -> Line {
    Line::client(config(Role::Client))
}

fn without_ids() -> Line {
    Line::client(config(Role::Client).old_peer())
}

#[test]
fn ids_count_up_and_answers_come_in_any_order() {
    let mut line = with_ids();
    line.call(70, "10/1 [1]", "10/1 #1 [1]");
    line.call(71, "10/1", "10/1 #2");
    line.tell_all(&["11/1 #2 2", "11/1 s7 #1 1"], "call 71: 2 | call 70: s7 1");
    line.call(72, "20/2", "20/2 #3");
}

#[test]
fn an_answer_to_a_call_that_is_over_is_late_and_no_error() {
    let mut line = with_ids();
    line.call(70, "10/1", "10/1 #1");
    line.tell("11/1 #1", "call 70: null");
    line.tell("11/1 #1", "");
    line.call(71, "10/1", "10/1 #2");
    line.wait(10 * SECOND, "call 71: timed out");
    line.tell("11/1 #2", "");
    line.call(72, "10/1", "10/1 #3");
    line.cancel(72, "");
    line.tell("11/1 #3", "");
    assert_eq!(line.session.counters, Counters { late: 3, ..Counters::default() });
}

#[test]
fn an_id_that_was_never_issued_is_a_protocol_error() {
    let mut line = with_ids();
    line.tell("11/8 #1", "");
    line.call(70, "10/1", "10/1 #1");
    for answer in ["11/1 #2", "11/1 #9007199254740991", "11/2 #1", "21/1 #1"] {
        line.tell(answer, "");
    }
    assert_eq!(line.session.counters, Counters { malformed: 5, ..Counters::default() });
    line.tell("11/1 #1", "call 70: null");
}

#[test]
fn an_answer_without_an_id_completes_no_call_that_has_one() {
    let mut line = with_ids();
    line.call(70, "10/8", "10/8 #1");
    line.tell("11/8 5", "run 1: 11/8 5");
    line.tell("11/8 #1 5", "call 70: 5");
}

#[test]
fn an_answer_without_an_id_completes_the_oldest_call_of_its_datum() {
    let mut line = without_ids();
    for (call, text) in [(70, "10/1"), (71, "10/1"), (72, "10/2"), (73, "20/1")] {
        line.call(call, text, text);
    }
    line.tell_all(&["21/1 3", "11/2 2", "11/1 0"], "call 73: 3 | call 72: 2 | call 70: 0");
    line.tell("11/1 1", "call 71: 1");
    line.tell("11/1 1", "");
    assert_eq!(line.session.counters.unhandled, 1);
}

#[test]
fn a_call_times_out_once() {
    for mut line in [with_ids(), without_ids()] {
        line.session.handle_call(new_call(70, "10/1", SECOND), line.now);
        line.session.handle_call(new_call(71, "10/1", 2 * SECOND), line.now);
        line.drive();
        line.wait(SECOND - MILLISECOND, "");
        line.wait(MILLISECOND, "call 70: timed out");
        line.wait(SECOND, "call 71: timed out");
        line.wait(60 * SECOND, "");
        line.close("end: closed by this side");
    }
}

#[test]
fn a_call_that_could_not_be_sent_in_its_time_is_not_sent_at_all() {
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.session.handle_call(new_call(70, "10/1", SECOND), line.now);
    line.call(71, "10/2", "");
    line.wait(SECOND, "call 70: timed out");
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 10/2 #1");
}

#[test]
fn an_answer_that_comes_while_the_tombstone_stands_is_dropped() {
    let mut line = without_ids();
    line.call(70, "10/1", "10/1");
    line.wait(10 * SECOND, "call 70: timed out");
    line.call(71, "10/1", "");
    line.call(72, "10/2", "10/2");
    line.tell("11/1 0", "10/1");
    assert_eq!(line.session.counters.late, 1);
    line.tell("11/1 1", "call 71: 1");
}

#[test]
fn a_tombstone_stands_for_half_of_the_timeout_and_5_s_at_most() {
    for (timeout, stands) in [(4 * SECOND, 2 * SECOND), (10 * SECOND, 5 * SECOND), (60 * SECOND, 5 * SECOND)]
    {
        let mut line = without_ids();
        line.session.handle_call(new_call(70, "10/1", timeout), line.now);
        line.drive();
        line.wait(timeout, "call 70: timed out");
        line.call(71, "10/1", "");
        line.wait(stands - MILLISECOND, "");
        line.wait(MILLISECOND, "10/1");
        line.tell("11/1 1", "call 71: 1");
    }
}

#[test]
fn a_call_behind_a_tombstone_waits_inside_its_own_timeout() {
    let mut line = without_ids();
    line.call(70, "10/1", "10/1");
    line.wait(10 * SECOND, "call 70: timed out");
    line.session.handle_call(new_call(71, "10/1", SECOND), line.now);
    line.nested_call(72, "10/1", "");
    line.wait(SECOND, "call 71: timed out");
    line.wait(4 * SECOND, "10/1");
}

#[test]
fn a_cancelled_call_without_an_id_leaves_a_tombstone_too() {
    let mut line = without_ids();
    line.call(70, "10/1", "10/1");
    line.cancel(70, "");
    line.call(71, "10/1", "");
    line.tell("11/1 0", "10/1");
    line.tell("11/1 1", "call 71: 1");
    line.call(72, "10/1", "10/1");
    line.cancel(72, "");
    line.call(73, "10/1", "");
    line.wait(5 * SECOND, "10/1");
    line.wait(5 * SECOND, "call 73: timed out");
}

#[test]
fn a_tombstone_stands_in_its_place_among_the_calls() {
    let mut line = without_ids();
    line.call(70, "10/1", "10/1");
    line.session.handle_call(new_call(71, "10/1", SECOND), line.now);
    line.call(72, "10/1", "10/1 | 10/1");
    line.wait(SECOND, "call 71: timed out");
    line.tell_all(&["11/1 0", "11/1 1", "11/1 2"], "call 70: 0 | call 72: 2");
    assert_eq!(line.session.counters.late, 1);
}

#[test]
fn a_call_that_is_cancelled_ends_without_an_event() {
    let mut line = with_ids();
    for (call, expected) in [(70, "10/1 #1"), (71, "10/1 #2"), (72, ""), (73, "")] {
        line.call(call, "10/1", expected);
    }
    line.cancel(72, "");
    line.cancel(70, "10/1 #3");
    line.cancel(99, "");
    line.tell("11/1 #3", "call 73: null");
    line.tell("11/1 #2", "call 71: null");
    line.cancel(71, "");
    line.wait(60 * SECOND, "");
    line.close("end: closed by this side");
}

#[test]
fn before_hello_64_calls_are_outstanding_at_most() {
    let mut line = without_ids();
    for call in 0..70 {
        line.call(call, "10/1", if call < 64 { "10/1" } else { "" });
    }
    line.nested_call(70, "10/2", "10/2");
    line.tell("11/2", "call 70: null");
    line.tell("11/1 5", "call 0: 5 | 10/1");
    line.tell_all(&["11/1", "11/1"], "call 1: null | call 2: null | 10/1 | 10/1");
    line.wait(10 * SECOND, &(67..70).chain(3..67).map(expired).collect::<Vec<_>>().join(" | "));
}

fn expired(call: CallKey) -> String {
    format!("call {call}: timed out")
}

#[test]
fn after_hello_the_window_is_what_the_peer_takes() {
    let mut line = with_ids();
    line.call(70, "10/1", "10/1 #1");
    line.call(71, "10/2", "10/2 #2");
    line.call(72, "20/1", "");
    line.call(73, "20/2", "");
    line.tell("11/2 #2", "call 71: null | 20/1 #3");
    line.tell("21/1 #3", "call 72: null | 20/2 #4");
    line.tell_all(&["11/1 #1", "21/2 #4"], "call 70: null | call 73: null");
}

#[test]
fn a_call_of_a_handler_never_waits_for_the_window_nor_fills_it() {
    let mut line = with_ids();
    for (call, id) in [(60, 1), (61, 2), (62, 3)] {
        line.nested_call(call, "10/1", &format!("10/1 #{id}"));
    }
    line.call(70, "10/1", "10/1 #4");
    line.call(71, "10/1", "10/1 #5");
    line.call(72, "10/1", "");
    line.nested_call(63, "10/1", "10/1 #6");
    line.tell_all(&["11/1 #1", "11/1 #6"], "call 60: null | call 63: null");
    line.tell("11/1 #4", "call 70: null | 10/1 #7");
}

#[test]
fn a_smaller_window_holds_from_hello_on_and_what_is_out_stays_out() {
    let mut line = Line::new(config(Role::Client).framing(Framing::Stp));
    line.drive();
    for call in 0..4 {
        line.call(call, "10/1", "10/1");
    }
    line.tell(&format!("hello-answer/0 {HELLO}"), "");
    line.call(4, "10/1", "");
    line.tell("11/1 0", "call 0: 0");
    line.tell("11/1 1", "call 1: 1");
    line.tell("11/1 2", "call 2: 2 | 10/1 #1");
    line.tell_all(&["11/1 3", "11/1 #1 4"], "call 3: 3 | call 4: 4");
}

#[test]
fn a_call_that_ends_otherwise_gives_its_place_in_the_window_back() {
    let mut line = with_ids();
    line.session.handle_call(new_call(70, "10/1", SECOND), line.now);
    line.call(71, "10/1", "10/1 #1 | 10/1 #2");
    line.call(72, "10/1", "");
    line.wait(SECOND, "call 70: timed out | 10/1 #3");
    line.call(73, "10/1", "");
    line.cancel(72, "10/1 #4");
    let mut line = without_ids();
    for call in 0..64 {
        line.session.handle_call(new_call(call, "10/1", SECOND), line.now);
    }
    line.call(64, "10/2", &["10/1"; 64].join(" | "));
    line.wait(SECOND, &((0..64).map(expired).collect::<Vec<_>>().join(" | ") + " | 10/2"));
}

#[test]
fn a_call_of_an_unknown_service_is_not_sent() {
    let mut line = with_ids();
    line.call(70, "60/1", "call 70: unknown service");
    line.call(71, "11/1", "call 71: unknown service");
    line.call(72, "8/0", "call 72: unknown service");
    line.call(73, "40/1", "40/1 #1");
}

#[test]
fn a_call_that_brings_its_response_id_along_makes_the_pair_known() {
    let bring = |call, text: &str, response: u32| NewCall {
        response: Some(response.into()),
        ..new_call(call, text, SECOND)
    };
    let mut line = without_ids();
    line.session.handle_call(bring(70, "60/1", 61), line.now);
    line.session.handle_call(bring(71, "60/1", 61), line.now);
    line.tell("61/1 5", "call 70: 5 | 60/1 | 60/1");
    line.tell("61/1 6", "call 71: 6");
    line.call(72, "60/1", "call 72: unknown service");
    for (text, response) in
        [("60/1", 63), ("61/1", 63), ("62/1", 60), ("62/1", 61), ("40/1", 63), ("62/1", 11)]
    {
        line.session.handle_call(bring(73, text, response), line.now);
        let reason = format!("answered by service {response}: this side uses one of the two ids otherwise");
        line.check(&format!("call 73: not sendable, {reason}"));
    }
}

#[test]
fn a_call_that_has_no_frame_is_not_sent_and_those_behind_it_are() {
    let mut line = with_ids();
    let deep = "[".repeat(127) + &"]".repeat(127);
    line.session.handle_call(NewCall { data: deep.into(), ..new_call(70, "10/1", SECOND) }, line.now);
    line.call(71, "10/1", "call 70: not sendable, cannot be sent: the data nest deeper than 126 | 10/1 #2");
}

#[test]
fn every_call_ends_with_the_connection() {
    for mut line in [with_ids(), without_ids()] {
        for call in 70..74 {
            line.session.handle_call(new_call(call, "10/1", SECOND), line.now);
        }
        line.session.handle_call(NewCall { nested: true, ..new_call(74, "10/1", SECOND) }, line.now);
        line.drive();
        line.session.close(CloseReason::Peer);
        let mut log = line.drive();
        log.sort_unstable();
        let mut expected: Vec<_> = (70..75).map(|call| format!("call {call}: lost")).collect();
        expected.push("end: closed by the peer".to_owned());
        assert_eq!(log, expected);
        line.call(80, "10/1", "call 80: lost");
        line.wait(60 * SECOND, "");
    }
}
