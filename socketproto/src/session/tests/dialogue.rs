//! What becomes of a message: each row of the table in protocol.md section 6.

use super::*;

fn server() -> Line {
    Line::server(config(Role::Server))
}

#[test]
fn a_damaged_request_is_never_run_and_its_caller_hears_of_it() {
    for (text, expected) in [
        ("10/1", "11/1 s5"),
        ("10/1 #7 {\"a\":1}", "11/1 s5 #7"),
        ("10/77", "11/77 s5"),
        ("40/1 s2", "41/1 s5"),
        ("11/8", ""),
        ("50/1", ""),
        ("60/1", ""),
        ("8/0 \"pump\"", ""),
        ("0/0", ""),
        ("hello/0", ""),
        ("hello-answer/0", ""),
        ("4294901764/0", ""),
    ] {
        let mut line = server();
        line.tell_damaged(text, expected);
        assert_eq!(line.session.counters.checksum, 1);
        line.has_name(None);
    }
    let mut line = server();
    line.format = Format::Struct;
    line.tell_damaged("10/1", "11/1 s5 (struct)");
    line.format = Format::Json;
    line.tell_frame(b"{\"service_id\":10}abcd", "");
    line.tell_frame(b"{\"service_id\":10,\"data_id\":1}abcd", "11/1 s5");
    line.call(70, "10/1", "10/1 #1");
    line.tell_damaged("11/1", "");
    line.tell("11/1 #1", "call 70: null");
}

#[test]
fn a_malformed_frame_is_dropped_and_the_connection_lives() {
    let text = b"{\"service_id\":10}";
    let sealed = [&text[..], &crc32fast::hash(text).to_be_bytes()].concat();
    let mut line = server();
    for frame in [&sealed[..], b"", b"x", b"{}", b"\0\0"] {
        line.tell_frame(frame, "");
    }
    assert_eq!(line.session.counters.malformed, 5);
    line.tell("10/1", "run 1: 10/1");

    let mut line = Line::new(config(Role::Server)).speaks(Framing::Stp);
    line.drive();
    line.tell_bytes(b":<:>", "ready");
    line.tell_bytes(b"noise:<x:y", "");
    line.tell("10/1", "run 1: 10/1");
    assert_eq!(line.session.counters.malformed, 3);
}

#[test]
fn an_outcome_is_sent_with_the_response_id_and_the_datum() {
    let mut line = server();
    line.tell("10/1 {\"a\":1}", "run 1: 10/1 {\"a\":1}");
    line.reply(1, "[1,2]", "11/1 [1,2]");
    line.tell("30/3 #9", "run 2: 30/3 #9");
    line.reply(2, "null", "31/3 #9");
    line.tell("20/2 #9007199254740991 5", "run 3: 20/2 #9007199254740991 5");
    line.reply(3, "5", "21/2 #9007199254740991 5");
    line.reply(3, "5", "");
}

#[test]
fn a_fault_is_its_status_and_its_text() {
    let mut line = server();
    for (request, status, text, expected) in [
        (1, 7, "out of paper", r#"11/1 s7 {"error":"out of paper"}"#),
        (2, 2, "handler panicked", r#"11/1 s2 {"error":"handler panicked"}"#),
        (3, 16_777_215, "a \"quoted\" one", r#"11/1 s16777215 {"error":"a \"quoted\" one"}"#),
        (4, 6, "", "11/1 s6"),
    ] {
        line.tell("10/1", &format!("run {request}: 10/1"));
        line.fault(request, status, text, expected);
    }
    line.tell("10/1", "run 5: 10/1");
    let long = format!("{{\"error\":\"{}\"}}", "é".repeat(512));
    line.fault(5, 2, &"é".repeat(600), &format!("11/1 s2 {long}"));
}

#[test]
fn an_outcome_that_nests_too_deep_is_status_2() {
    let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let mut line = server();
    line.tell_all(&["10/1 #1", "10/1 #2"], "run 1: 10/1 #1 | run 2: 10/1 #2");
    line.reply(1, &deep(126), &format!("11/1 #1 {}", deep(126)));
    let refused = r#"11/1 s2 #2 {"error":"response cannot be sent: the data nest deeper than 126"}"#;
    line.reply(2, &deep(127), refused);
}

#[test]
fn a_handler_that_takes_too_long_is_status_2_and_what_it_says_later_is_dropped() {
    let mut line = server();
    line.tell("10/1 #4", "run 1: 10/1 #4");
    line.wait(30 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, r#"expired 1 | 11/1 s2 #4 {"error":"handler timed out"}"#);
    line.reply(1, "5", "");
    line.wait(60 * SECOND, "");
    assert_eq!(line.session.counters.expired, 1);
    line.tell("10/1 #5", "run 2: 10/1 #5");
    line.reply(2, "5", "11/1 #5 5");
    line.tell("50/1", "run 3: 50/1");
    line.wait(30 * SECOND, "expired 3");
}

#[test]
fn each_handler_has_its_own_time() {
    let mut line = Line::server(config(Role::Server).dispatch(|dispatch| {
        let route = Route { handler: 0, entry: 0, timeout: SECOND, name: "quick" };
        dispatch.insert(Some(10.into()), Some(5.into()), route);
    }));
    line.tell("10/1", "run 1: 10/1");
    line.tell("10/5", "run 2: 10/5");
    line.wait(SECOND, r#"expired 2 | 11/5 s2 {"error":"handler timed out"}"#);
    line.wait(29 * SECOND, r#"expired 1 | 11/1 s2 {"error":"handler timed out"}"#);
}

#[test]
fn a_request_that_nobody_takes_is_refused() {
    for (text, expected) in [
        ("20/1", "21/1 s6"),
        ("10/3", "11/3 s6"),
        ("40/1 #7", "41/1 s6 #7"),
        ("10/77", "11/77 s4"),
        ("10/77 #7", "11/77 s4 #7"),
        ("40/77", "41/77 s4"),
    ] {
        server().tell(text, expected);
    }
}

#[test]
fn a_response_that_no_call_waits_for_goes_to_its_callback_and_is_not_answered() {
    let mut line = server();
    line.tell("11/8 s2 5", "run 1: 11/8 s2 5");
    line.reply(1, "5", "");
    line.tell("11/1 5", "");
    line.tell("41/1 5", "");
    assert_eq!(line.session.counters.unhandled, 2);
}

#[test]
fn another_message_is_run_or_dropped_and_never_answered() {
    let mut line = server();
    line.tell("50/1 s3 5", "run 1: 50/1 s3 5");
    line.reply(1, "5", "");
    line.tell("50/1 #7", "run 2: 50/1 #7");
    line.fault(2, 7, "text", "");
    line.tell("50/2", "");
    line.tell("60/1 #7", "");
    assert_eq!(line.session.counters.unhandled, 2);
}

#[test]
fn a_callback_for_everything_gets_no_message_of_the_framework() {
    let mut line = Line::server(config(Role::Server).dispatch(|dispatch| {
        let route = Route { handler: 0, entry: 0, timeout: SECOND, name: "all" };
        dispatch.insert(None, None, route);
    }));
    line.tell("60/60", "run 1: 60/60");
    line.tell("41/60", "run 2: 41/60");
    line.tell("10/60", "run 3: 10/60");
    for (text, answer) in [
        ("0/0", "1/0 s6"),
        ("1/0", ""),
        ("8/5", "9/5 s4"),
        ("9/0", ""),
        ("hello/9", "hello-answer/9 s4"),
        ("hello-answer/0", ""),
        ("ping/9", "pong/9 s4"),
        ("pong/0", ""),
        ("4294901764/0", "4294901765/0 s4"),
        ("4294901765/0", ""),
        ("4294901768/0", ""),
        ("4294967295/0", ""),
    ] {
        line.tell(text, answer);
    }
}

#[test]
fn a_request_of_another_status_is_run_all_the_same() {
    server().tell("10/1 s7", "run 1: 10/1 s7");
}

#[test]
fn answers_without_ids_leave_in_the_order_of_the_requests() {
    let mut line = server();
    line.tell_all(&["10/1", "10/1", "10/1"], "run 1: 10/1 | run 2: 10/1 | run 3: 10/1");
    line.reply(3, "3", "");
    line.fault(2, 7, "two", "");
    line.reply(1, "1", r#"11/1 1 | 11/1 s7 {"error":"two"} | 11/1 3"#);
    line.tell("10/1", "run 4: 10/1");
    line.reply(4, "4", "11/1 4");
}

#[test]
fn answers_of_one_datum_do_not_wait_for_those_of_another() {
    let mut line = server();
    line.tell_all(&["10/1", "10/2", "20/2"], "run 1: 10/1 | run 2: 10/2 | run 3: 20/2");
    line.reply(3, "3", "21/2 3");
    line.reply(2, "2", "11/2 2");
    line.reply(1, "1", "11/1 1");
}

#[test]
fn answers_with_ids_leave_at_once_also_past_those_without() {
    let mut line = server();
    line.tell_all(&["10/1", "10/1 #8", "10/1 #9"], "run 1: 10/1 | run 2: 10/1 #8 | run 3: 10/1 #9");
    line.tell_damaged("10/1 #10", "11/1 s5 #10");
    line.reply(3, "3", "11/1 #9 3");
    line.reply(2, "2", "11/1 #8 2");
    line.reply(1, "1", "11/1 1");
}

#[test]
fn a_refusal_keeps_its_place_behind_requests_that_run() {
    let mut line = server();
    line.tell("10/1", "run 1: 10/1");
    line.tell_damaged("10/1", "");
    line.tell("10/1", "run 3: 10/1");
    line.reply(3, "3", "");
    line.reply(1, "1", "11/1 1 | 11/1 s5 | 11/1 3");

    let mut line = Line::trusted_server(config(Role::Server));
    line.tell("10/1", "run 1: 10/1");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
    line.tell_all(&["0/1", "10/1"], "1/1 false");
    line.reply(1, "1", "11/1 1 | 11/1 s3");
}

#[test]
fn an_outcome_that_is_late_keeps_the_order_of_those_behind_it() {
    let mut line = server();
    line.tell("10/1", "run 1: 10/1");
    line.wait(SECOND, "");
    line.tell("10/1", "run 2: 10/1");
    line.reply(2, "2", "");
    line.wait(29 * SECOND, r#"expired 1 | 11/1 s2 {"error":"handler timed out"} | 11/1 2"#);
    line.reply(1, "1", "");
}

#[test]
fn a_response_has_the_format_of_its_request_and_all_else_that_of_the_last_frame() {
    let mut line = Line::new(config(Role::Client).old_peer());
    line.drive();
    line.call(70, "10/1", "10/1");
    line.format = Format::Struct;
    line.tell("10/1", "run 1: 10/1");
    line.call(71, "10/2", "10/2 (struct)");
    line.format = Format::Json;
    line.tell("10/2", "run 2: 10/2");
    line.call(72, "10/3", "10/3");
    line.reply(1, "1", "11/1 1 (struct)");
    line.reply(2, "2", "11/2 2");
    line.format = Format::Struct;
    line.tell("10/77", "11/77 s4 (struct)");
    line.tell("0/0", "1/0 s6 (struct)");
    line.format = Format::Json;
    line.tell_damaged("60/1", "");
    line.call(73, "20/1", "20/1 (struct)");
}

#[test]
fn before_the_first_frame_the_format_is_the_configured_one() {
    let mut config = config(Role::Client).old_peer();
    config.format = Format::Struct;
    let mut line = Line::open(config, "ready | 8/0 (struct)");
    line.call(70, "10/1", "10/1 (struct)");
    line.tell("60/1", "");
    line.call(71, "10/1", "10/1");
}

#[test]
fn a_call_with_an_id_is_json_for_the_other_format_has_no_room_for_it() {
    let mut line = server();
    line.format = Format::Struct;
    line.tell("60/1", "");
    line.call(70, "10/1", "10/1 #1");
}

#[test]
fn bare_words_of_python_are_null_and_no_error() {
    let mut line = server();
    let text = br#"{"service_id":10,"data_id":1,"data":[NaN,-Infinity,"NaN"]}"#;
    let sealed = [&text[..], &crc32fast::hash(text).to_be_bytes()].concat();
    line.tell_frame(&sealed, r#"run 1: 10/1 [null,null,"NaN"]"#);
    assert_eq!(line.session.counters, Counters::default());
}

#[test]
fn nothing_is_dispatched_after_the_end() {
    let mut line = server();
    line.tell("10/1", "run 1: 10/1");
    line.transmit(&message("10/2"));
    line.close("end: closed by this side");
    line.reply(1, "1", "11/1 1");
    line.wait(60 * SECOND, "");
    line.session.close(CloseReason::Peer);
    assert_eq!(line.session.close_reason(), Some(&CloseReason::Local));
}

#[test]
fn what_was_not_begun_is_dropped_at_the_end() {
    let mut line = server();
    line.transmit(&message("10/1"));
    line.session.handle_input(&mut line.input, line.now);
    line.close("end: closed by this side");
}

#[test]
fn a_session_that_drains_answers_what_runs_and_begins_nothing() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.max_in_flight = 1));
    line.tell_all(&["10/1", "10/2"], "run 1: 10/1");
    line.session.drain();
    line.tell("10/1", "");
    assert!(!line.session.is_idle());
    line.reply(1, "1", "11/1 1");
    assert!(line.session.is_idle());
}
