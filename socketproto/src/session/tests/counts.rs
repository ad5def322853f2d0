//! Each limit that a session knows is counted under its name when it is exceeded, and not before.

use super::*;
use crate::limits::{Breach, Limit};

/// What was exceeded, as `NAME FOUND/ALLOWED xTIMES`.
fn noted(line: &mut Line) -> Vec<String> {
    let show = |breach: Breach| {
        let amount =
            |amount: Option<crate::limits::Amount>| amount.map_or("-".to_owned(), |it| it.to_string());
        let (found, allowed) = (amount(breach.found), amount(breach.allowed));
        format!("{} {found}/{allowed} x{}", breach.limit.name(), breach.times)
    };
    line.session.take_breaches().into_iter().map(show).collect()
}

/// What comes of `act` on this line, whatever else it does.
#[track_caller]
fn check(mut line: Line, act: impl FnOnce(&mut Line), expected: &[&str]) {
    line.session.take_breaches();
    act(&mut line);
    line.drive();
    assert_eq!(noted(&mut line), expected);
}

fn limited(change: impl FnOnce(&mut Limits)) -> Line {
    Line::server(config(Role::Server).limit(change))
}

fn untrusted(change: impl FnOnce(&mut Limits)) -> Line {
    Line::server(config(Role::Server).secret().limit(change))
}

/// Lets so much time pass.
fn wait(line: &mut Line, time: Duration) {
    line.now += time;
    line.session.handle_timeout(line.now);
}

#[test]
fn what_stays_within_the_limits_is_not_counted() {
    let mut line = Line::trusted_server(config(Role::Server));
    line.tell("10/1 [1]", "run 1: 10/1 [1]");
    line.reply(1, "5", "11/1 5");
    line.call(70, "10/1", "10/1 #1");
    line.tell("11/1 #1 5", "call 70: 5");
    line.close("end: closed by this side");
    assert_eq!(noted(&mut line), [""; 0]);
}

#[test]
fn frames_that_are_too_large_or_too_many() {
    check(
        limited(|limits| limits.max_frame = 1000),
        |line| line.input.extend_from_slice(&1001_u32.to_be_bytes()),
        &["max_frame 1001/1000 x1"],
    );
    check(
        untrusted(|_| {}),
        |line| line.input.extend_from_slice(&4097_u32.to_be_bytes()),
        &["untrusted_max_frame 4097/4096 x1"],
    );
    check(
        untrusted(|limits| limits.untrusted_frames = 1),
        |line| line.transmit(&message("9/0")),
        &["untrusted_frames 2/1 x1"],
    );
    check(
        untrusted(|limits| limits.untrusted_buffered = 10),
        |line| line.input.extend_from_slice(b"\0\0\0\x64more than that"),
        &["untrusted_buffered 18/10 x1"],
    );
    check(limited(|_| {}), |line| line.input.extend_from_slice(b"\0\0\0\x64half"), &[]);
}

#[test]
fn frames_that_nest_too_deep() {
    let line = || limited(|limits| limits.max_nesting = 3);
    check(line(), |line| line.transmit(&message("60/1 [[1]]")), &[]);
    check(line(), |line| line.transmit(&message("60/1 [[[1]]]")), &["max_nesting 4/3 x1"]);
    let mut line = line();
    line.tell("10/1", "run 1: 10/1");
    line.reply(1, "[[[1]]]", "11/1 s2 {\"error\":\"response cannot be sent: the data nest deeper than 2\"}");
    assert_eq!(noted(&mut line), ["max_nesting 3/2 x1"]);
    line.call(70, "10/1 [[[1]]]", "call 70: not sendable, cannot be sent: the data nest deeper than 2");
    assert_eq!(noted(&mut line), ["max_nesting 3/2 x1"]);
    line.call(71, "10/1 [[1]]", "10/1 #2 [[1]]");
    line.tell("10/1 [[1]]", "run 2: 10/1 [[1]]");
    assert_eq!(noted(&mut line), [""; 0]);
}

#[test]
fn bad_frames_by_their_kind_and_the_end_for_them() {
    let line = || limited(|limits| limits.protocol_errors = 2);
    check(line(), |line| line.tell_frame(b"x", ""), &["malformed -/- x1"]);
    check(line(), |line| line.tell_damaged("60/1", ""), &["checksum -/- x1"]);
    let twice = |line: &mut Line| {
        line.tell_frame(b"x", "");
        line.tell_frame(b"x", "");
    };
    check(line(), twice, &["malformed -/- x2"]);
    let thrice = |line: &mut Line| {
        twice(line);
        line.tell_frame(b"x", "end: more damaged or malformed frames than protocol_errors of 2");
    };
    check(line(), thrice, &["malformed -/- x3", "protocol_errors 3/2 x1"]);
}

#[test]
fn times_that_have_gone_by() {
    check(Line::new(config(Role::Server)), |line| wait(line, 10 * SECOND), &["first_byte_timeout -/10s x1"]);
    check(untrusted(|_| {}), |line| wait(line, 10 * SECOND), &["trust_timeout -/10s x1"]);
    let public = Line::server(config(Role::Server).secret().public());
    check(public, |line| wait(line, 60 * SECOND), &["public_idle_timeout -/60s x1"]);
    let begun = |line: &mut Line| {
        line.tell_bytes(b"\0\0\0\x64half", "");
        wait(line, 11 * SECOND);
    };
    check(limited(|_| {}), begun, &["frame_timeout -/10s x1"]);
    let stalled = |line: &mut Line| {
        line.stalled = true;
        line.tell("10/77", "");
        wait(line, 30 * SECOND);
    };
    check(limited(|_| {}), stalled, &["write_timeout -/30s x1"]);
    let slow_handlers = |line: &mut Line| {
        line.tell("10/1", "run 1: 10/1");
        line.tell("10/1", "run 2: 10/1");
        wait(line, 30 * SECOND);
    };
    check(limited(|_| {}), slow_handlers, &["handler_timeout -/- x2"]);
}

#[test]
fn requests_that_have_to_wait_and_answers_that_do_not_fit() {
    let narrow = || {
        limited(|limits| {
            limits.max_in_flight = 1;
            limits.max_parked = 2048;
        })
    };
    let requests = |count| move |line: &mut Line| (0..count).for_each(|_| line.transmit(&message("10/1")));
    check(narrow(), requests(1), &[]);
    check(narrow(), requests(2), &["max_in_flight 1/1 x1"]);
    check(narrow(), requests(3), &["max_in_flight 1/1 x2", "max_parked 2056/2048 x1"]);
    let answered = |bytes| {
        move |line: &mut Line| {
            line.tell("10/1", "run 1: 10/1");
            let text = format!("\"{}\"", "x".repeat(bytes));
            line.session.handle_reply(1, Status::OKAY, &text, line.now);
        }
    };
    let small = || limited(|limits| limits.max_unsent = 1000);
    check(small(), answered(900), &[]);
    check(small(), answered(1000), &["max_unsent 1054/1000 x1"]);
    let refused = |untrusted_unsent| {
        let limits = move |limits: &mut Limits| limits.untrusted_unsent = untrusted_unsent;
        let mut line = Line::new(config(Role::Server).secret().limit(limits));
        line.stalled = true;
        line
    };
    let ask = |line: &mut Line| line.transmit(&message("10/1"));
    check(refused(60), ask, &[]);
    check(refused(50), ask, &["untrusted_unsent 56/50 x1"]);
}

#[test]
fn messages_that_wait_for_receive() {
    let buffering = |change: fn(&mut Limits)| {
        Line::server(config(Role::Server).limit(change).dispatch(|dispatch| {
            dispatch.buffer();
        }))
    };
    let send = |texts: &'static [&'static str]| {
        move |line: &mut Line| texts.iter().for_each(|text| line.transmit(&message(text)))
    };
    let per_datum = || buffering(|limits| limits.max_buffered_per_datum = 1);
    check(per_datum(), send(&["60/1", "60/2"]), &[]);
    check(per_datum(), send(&["60/1", "60/1", "60/1"]), &["max_buffered_per_datum -/1 x2"]);
    let number = || buffering(|limits| limits.max_buffered = 2);
    check(number(), send(&["60/1", "60/2"]), &[]);
    check(number(), send(&["60/1", "60/2", "60/3"]), &["max_buffered -/2 x1"]);
    let bytes = || buffering(|limits| (limits.max_frame, limits.max_buffered_bytes) = (512, 10));
    check(bytes(), send(&["60/1"]), &[]);
    check(bytes(), send(&["60/1", "60/2", "60/3"]), &["max_buffered_bytes -/10 x1"]);
}

#[test]
fn keys_that_are_wrong() {
    let guess = |line: &mut Line| {
        line.transmit(&message("0/0"));
        line.transmit(&message("0/1 \"00\""));
    };
    check(untrusted(|_| {}), guess, &["wrong_keys 1/3 x1"]);
}

#[test]
fn what_happened_before_the_line_was_lost_is_not_forgotten() {
    let mut line = Line::new(Config { reconnect: true, ..config(Role::Client) });
    line.transmit(&message(&format!("hello-answer/0 {HELLO}")));
    line.drive();
    line.tell_frame(b"x", "");
    line.session.close(CloseReason::Peer);
    line.session.reopen(line.now);
    assert!(line.session.has_breaches());
    assert_eq!(noted(&mut line), ["malformed -/- x1"]);
    assert!(!line.session.has_breaches());
    assert_eq!(Limit::named("malformed"), Some(Limit::Malformed));
}
