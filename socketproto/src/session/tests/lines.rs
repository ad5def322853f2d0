//! One line after the other, and calls that are given up (protocol.md sections 4 and 7.6).

use super::*;

const HELLO_WITH_CANCEL: &str = r#"{"session":"00000000000000bb","features":["message_id","cancel"],"max_frame":100000,"max_in_flight":2}"#;

/// A client whose lines follow each other, ready on its first.
fn client() -> Line {
    let mut line = Line::new(Config { reconnect: true, ..config(Role::Client) });
    line.transmit(&message(&format!("hello-answer/0 {HELLO}")));
    line.drive();
    line
}

impl Line {
    /// Another line is there.
    #[track_caller]
    fn reopen(&mut self, expected: &str) {
        self.session.reopen(self.now);
        self.input.clear();
        self.deframer = Deframer::new(self.framing, Limits::MAX_MAX_FRAME);
        self.end_told = false;
        self.check(expected);
    }
}

#[test]
fn a_lost_line_fails_what_was_sent_and_keeps_what_waits() {
    let mut line = client();
    line.call(70, "10/1", "10/1 #1");
    line.call(71, "10/2", "10/2 #2");
    line.call(72, "10/3", "");
    line.session.close(CloseReason::Peer);
    line.check("call 70: lost | call 71: lost | end: closed by the peer");
    line.call(73, "10/4", "");
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0"));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 10/3 #1 | 10/4 #2");
    line.tell_all(&["11/3 #1 3", "11/4 #2 4"], "call 72: 3 | call 73: 4");
}

#[test]
fn a_pair_that_a_call_brought_along_outlives_the_line() {
    let mut line = client();
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    let own = NewCall { response: Some(61.into()), ..new_call(70, "60/1", 10 * SECOND) };
    line.session.handle_call(own, line.now);
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0"));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 60/1 #1");
    line.tell("61/1 #1 5", "call 70: 5");
}

#[test]
fn a_call_that_waits_for_a_line_times_out() {
    let mut line = client();
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.call(70, "10/1", "");
    line.wait(10 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, "call 70: timed out");
    assert_eq!(line.session.poll_timeout(), None);
}

#[test]
fn a_session_without_a_line_waits_for_the_first() {
    let mut line = Line::new(config(Role::Client));
    line.session = Session::waiting(Config { reconnect: true, ..config(Role::Client) }, line.now);
    line.end_told = true;
    line.call(70, "10/1", "");
    line.wait(9 * SECOND, "");
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0"));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 10/1 #1");
}

#[test]
fn the_end_for_good_fails_what_waits_too() {
    let mut line = client();
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.call(70, "10/1", "");
    assert!(line.session.goes_on());
    line.session.end(CloseReason::Local);
    line.check("call 70: lost");
    assert!(!line.session.goes_on());
    line.call(71, "10/1", "call 71: lost");
}

#[test]
fn a_reply_to_a_request_of_an_earlier_line_is_dropped() {
    let mut line = client();
    line.tell("10/1", "run 1: 10/1");
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0"));
    line.reply(1, "5", "");
    line.tell("10/1", "run 2: 10/1");
    line.reply(1, "5", "");
    line.reply(2, "6", "11/1 6");
}

#[test]
fn nothing_is_held_of_a_line_that_is_gone() {
    let mut line = client();
    line.tell("10/1", "run 1: 10/1");
    line.tell_bytes(&[0, 0, 0, 90, b'{'], "");
    line.session.handle_call(new_call(70, "10/2", 10 * SECOND), line.now);
    line.session.close(CloseReason::Peer);
    assert!(line.session.held() > 5);
    line.session.forget_line();
    line.session.handle_reply(1, Status::OKAY, "5", line.now);
    assert_eq!(line.session.held(), 0);
}

#[test]
fn half_a_frame_of_an_earlier_line_is_forgotten() {
    let mut line = client();
    line.tell_bytes(&[0, 0, 0, 90, b'{'], "");
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0"));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready");
}

#[test]
fn trust_ends_with_its_line() {
    let mut line = Line::new(Config { reconnect: true, ..config(Role::Client).secret() });
    line.drive();
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    line.tell("1/1 true", "");
    line.is(AuthState::Trusted);
    line.session.close(CloseReason::Peer);
    line.is(AuthState::Untrusted);
    line.check("end: closed by the peer");
    line.reopen(&format!("hello/0 {OUR_HELLO} | 8/0 | 0/0"));
    line.is(AuthState::SeedRequested);
}

#[test]
fn a_call_given_up_is_cancelled_where_both_sides_can() {
    let mut line = Line::new(config(Role::Client));
    line.transmit(&message(&format!("hello-answer/0 {HELLO_WITH_CANCEL}")));
    line.drive();
    line.call(70, "10/1", "10/1 #1");
    line.cancel(70, r#"cancel/0 {"message_id":1}"#);
    line.call(71, "10/1", "10/1 #2");
    line.wait(10 * SECOND, r#"call 71: timed out | cancel/0 {"message_id":2}"#);
    line.call(72, "10/1", "10/1 #3");
    line.call(73, "10/1", "10/1 #4");
    line.call(74, "10/1", "");
    line.cancel(74, "");
    line.tell("11/1 #1", "");
    assert_eq!(line.session.counters.late, 1);
}

#[test]
fn a_cancelled_request_is_not_answered_and_a_parked_one_not_run() {
    let mut line = Line::new(config(Role::Server).limit(|limits| limits.max_in_flight = 1));
    line.transmit(&message(&format!("hello/0 {HELLO_WITH_CANCEL}")));
    line.drive();
    line.tell("10/1 #1", "run 1: 10/1 #1");
    line.tell_all(&["10/1 #2", "10/1 #3"], "");
    line.tell(r#"cancel/0 {"message_id":2}"#, "");
    line.tell(r#"cancel/0 {"message_id":1}"#, "cancelled 1");
    // Its place is free once its handler is done with it.
    line.reply(1, "5", "run 3: 10/1 #3");
    line.reply(3, "6", "11/1 #3 6");
    for odd in [r#"cancel/0 {"message_id":3}"#, r#"cancel/0 {"message_id":77}"#, "cancel/0 5", "cancel/1"] {
        line.tell(odd, "");
    }
}

#[test]
fn a_stranger_cancels_nothing() {
    let mut line = Line::new(config(Role::Server).secret().public());
    line.transmit(&message(&format!("hello/0 {HELLO_WITH_CANCEL}")));
    line.drive();
    line.tell("10/9 #1", "run 1: 10/9 #1");
    line.tell(r#"cancel/0 {"message_id":1}"#, "");
    line.reply(1, "5", "11/9 #1 5");
}
