//! Limits, on both sides of each (protocol.md section 8).

use super::*;

const TEN: Duration = Duration::from_secs(10);

#[test]
fn a_first_byte_comes_within_10_s() {
    for framing in [None, Some(Framing::Stp), Some(Framing::Length)] {
        let mut config = config(Role::Server);
        config.framing = framing;
        let mut line = Line::new(config.clone());
        line.drive();
        line.tell_bytes(b"", "");
        line.wait(TEN - MILLISECOND, "");
        line.wait(MILLISECOND, "end: no first byte within first_byte_timeout of 10s");
        let mut line = Line::new(config).speaks(Framing::Stp);
        line.wait(TEN - MILLISECOND, "");
        // No byte of a frame, so that none has begun.
        line.input.extend_from_slice(if framing == Some(Framing::Length) { b"\0\0\0\0" } else { b":" });
        line.drive();
        line.wait(100 * SECOND, "");
    }
}

#[test]
fn a_peer_that_takes_no_frame_at_all_is_told_apart_from_one_that_does_not_read() {
    let mut line = Line::new(config(Role::Server));
    line.transmit(&message(r#"hello/0 {"session":"bb","max_frame":50,"max_in_flight":1}"#));
    line.drive();
    line.call(70, "10/1", "call 70: not sendable, of 56 bytes exceeds max_frame of 50");
    line.tell("10/7", "end: a frame of 56 bytes exceeds the peer's max_frame of 50");
}

#[test]
fn sending_nothing_is_no_progress() {
    let mut line = Line::server(config(Role::Server));
    line.stalled = true;
    line.call(70, "10/1", "");
    line.wait(9 * SECOND, "");
    line.session.handle_sent(0, line.now);
    line.wait(
        21 * SECOND,
        "call 70: timed out | end: slow reader: no byte could be sent within write_timeout of 30s",
    );
}

/// A frame of this many bytes: a request 10/1 with text in it.
fn frame_of(bytes: usize) -> BytesMut {
    let mut out = BytesMut::new();
    let header = *message("10/1").header();
    frame::encode(Format::Json, &header, &text_of(bytes - EMPTY), &mut out).unwrap();
    assert_eq!(out.len(), bytes);
    out
}

/// JSON text of this many characters, quotes and two colons included.
fn text_of(bytes: usize) -> String {
    format!("\"::{}\"", "x".repeat(bytes - 4))
}

/// The bytes of a frame around its data, with ids of one and two digits.
const EMPTY: usize = r#"{"data_id":1,"service_id":10,"status":0,"data":}"#.len() + 4;

/// Whether the session runs the request.
fn takes(line: &mut Line, frame: &[u8]) -> bool {
    Framer::new(line.framing).frame(&mut line.input, put(frame)).unwrap();
    let log = line.drive();
    let end = log.iter().find(|entry| entry.starts_with("end"));
    if let Some(end) = end {
        let settings = ["exceeds max_frame of 1000", "exceeds untrusted_max_frame of 4096"];
        assert!(settings.iter().any(|setting| end.ends_with(setting)), "{end}");
    }
    end.is_none() && log.iter().any(|entry| entry.starts_with("run") || entry.starts_with("11/1"))
}

#[test]
fn a_frame_above_max_frame_ends_the_connection() {
    for framing in [Framing::Stp, Framing::Length] {
        let line = || {
            let config = config(Role::Server).limit(|limits| limits.max_frame = 1000);
            Line::new(config).speaks(framing)
        };
        assert!(takes(&mut line(), &frame_of(1000)));
        assert!(!takes(&mut line(), &frame_of(1001)));
    }
}

#[test]
fn before_trust_a_frame_has_4_kib_at_most() {
    for framing in [Framing::Stp, Framing::Length] {
        let line = || Line::new(config(Role::Server).secret()).speaks(framing);
        assert!(takes(&mut line(), &frame_of(4096)));
        assert!(!takes(&mut line(), &frame_of(4097)));
        let mut line = line();
        line.transmit(&message("0/0"));
        line.transmit(&message(&format!("0/1 \"{}\"", key(&seed(1)))));
        assert!(takes(&mut line, &frame_of(4097)));
        line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
        line.tell("0/1", "1/1 false");
        assert!(!takes(&mut line, &frame_of(4097)));
    }
    let line = || Line::new(config(Role::Server).secret().limit(|limits| limits.max_frame = 1000));
    assert!(takes(&mut line(), &frame_of(1000)));
    assert!(!takes(&mut line(), &frame_of(1001)));
}

#[test]
fn a_length_above_the_limit_ends_the_connection_before_its_frame_comes() {
    let mut line = Line::server(config(Role::Server));
    line.tell_bytes(&8_388_608_u32.to_be_bytes(), "");
    let mut line = Line::server(config(Role::Server));
    line.tell_bytes(
        &8_388_609_u32.to_be_bytes(),
        "end: a frame of 8388609 bytes exceeds max_frame of 8388608",
    );
}

/// A server whose peer takes frames of 200 bytes.
fn to_a_small_peer(config: Config) -> Line {
    let mut line = Line::new(config);
    line.transmit(&message(r#"hello/0 {"session":"bb","features":[],"max_frame":200,"max_in_flight":9}"#));
    line.drive();
    line
}

#[test]
fn a_response_above_the_max_frame_of_the_peer_is_status_2() {
    let mut line = to_a_small_peer(config(Role::Server));
    line.tell("10/1", "run 1: 10/1");
    let fits = text_of(200 - EMPTY);
    line.reply(1, &fits, &format!("11/1 {fits}"));
    line.tell("10/1", "run 2: 10/1");
    let refused = r#"11/1 s2 {"error":"response of 201 bytes exceeds max_frame of 200"}"#;
    line.reply(2, &text_of(201 - EMPTY), refused);
    line.tell_all(&["10/1", "10/1"], "run 3: 10/1 | run 4: 10/1");
    line.reply(4, &text_of(201 - EMPTY), "");
    line.reply(3, "5", &format!("11/1 5 | {refused}"));
    line.tell("10/1 #5", "run 5: 10/1 #5");
    line.fault(5, 7, &"x".repeat(300), &format!("11/1 s2 #5 {}", &refused[8..].replace("201", "379")));
}

#[test]
fn the_smaller_max_frame_of_both_sides_holds() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.max_frame = 300));
    line.tell("10/1", "run 1: 10/1");
    let refused = r#"11/1 s2 {"error":"response of 301 bytes exceeds max_frame of 300"}"#;
    line.reply(1, &text_of(301 - EMPTY), refused);
}

#[test]
fn a_call_above_the_max_frame_of_the_peer_is_not_sent() {
    let mut line = to_a_small_peer(config(Role::Server));
    let fits = format!("10/1 {}", text_of(200 - EMPTY));
    line.call(70, &fits, &fits);
    let long = format!("10/1 {}", text_of(201 - EMPTY));
    line.call(71, &long, "call 71: not sendable, of 201 bytes exceeds max_frame of 200");
    line.tell("11/1 5", "call 70: 5");
}

#[test]
fn before_trust_16_kib_are_buffered_at_most() {
    for framing in [Framing::Stp, Framing::Length] {
        let line = || {
            let mut line = Line::new(config(Role::Server).secret()).speaks(framing);
            line.asks_held = true;
            line.tell("0/0", "ask seed");
            line
        };
        line().tell_bytes(&[0; 16 * 1024], "");
        let end = "end: 16385 bytes exceed untrusted_buffered of 16384";
        line().tell_bytes(&[0; 16 * 1024 + 1], end);
        let mut line = line();
        line.tell_bytes(&[0; 16 * 1024], "");
        line.tell_bytes(&[0], end);
    }
    let mut line = Line::trusted_server(config(Role::Server));
    line.asks_held = true;
    line.tell("0/0", "ask seed");
    line.tell_bytes(&[0; 100 * 1024], "");
}

#[test]
fn before_trust_16_kib_are_unsent_at_most() {
    let limits = |limits: &mut Limits| limits.untrusted_frames = 1000;
    let mut line = Line::server(config(Role::Server).secret().limit(limits));
    line.stalled = true;
    let answer = line.frame(&message("11/1 s3")).len() + 4;
    let room = 16 * 1024 / answer;
    for _ in 0..room {
        line.tell("10/1", "");
    }
    assert_eq!(line.session.poll_transmit().len(), room * answer);
    let found = room * answer + answer - 4;
    line.tell("10/1", &format!("end: {found} bytes exceed untrusted_unsent of 16384"));
    assert!(line.session.poll_transmit().len() <= 16 * 1024);
}

#[test]
fn a_response_that_does_not_fit_into_max_unsent_is_status_2() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.max_unsent = 1000));
    line.stalled = true;
    line.tell_all(&["10/1", "10/1", "10/1"], "run 1: 10/1 | run 2: 10/1 | run 3: 10/1");
    line.reply(1, &text_of(696 - EMPTY), "");
    line.reply(2, &text_of(301 - EMPTY), "");
    let long = format!("10/1 {}", text_of(301 - EMPTY));
    line.call(70, &long, "call 70: not sendable, of 316 bytes exceeds the 170 bytes free of max_unsent");
    line.stalled = false;
    let refused = r#"11/1 s2 {"error":"response of 301 bytes exceeds the 300 bytes free of max_unsent"}"#;
    line.check(&format!("11/1 {} | {refused}", text_of(696 - EMPTY)));
    line.reply(3, &text_of(1000 - EMPTY), &format!("11/1 {}", text_of(1000 - EMPTY)));
}

#[test]
fn a_peer_that_does_not_read_even_the_refusals_is_disconnected() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.max_unsent = 100));
    line.stalled = true;
    line.tell("10/77", "");
    line.tell("10/77", "end: 118 bytes exceed max_unsent of 100");
}

const NO_TRUST: &str = "end: not authenticated within trust_timeout of 10s";
const NO_USE: &str = "end: not authenticated within public_idle_timeout of 60s";

#[test]
fn a_peer_is_trusted_within_10_s() {
    let mut line = Line::server(config(Role::Server).secret());
    line.wait(TEN - MILLISECOND, "");
    line.tell("10/1", "11/1 s3");
    line.wait(MILLISECOND, NO_TRUST);
    Line::server(config(Role::Server)).wait(100 * SECOND, "");
    Line::trusted_server(config(Role::Server)).wait(100 * SECOND, "");
}

#[test]
fn a_login_once_begun_takes_10_s_however_often_it_is_tried() {
    for config in [config(Role::Server).secret(), config(Role::Server).secret().public()] {
        let mut line = Line::server(config);
        line.wait(9 * SECOND, "");
        line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
        line.wait(9 * SECOND, "");
        line.tell("0/1", "1/1 false");
        line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
        line.wait(SECOND - MILLISECOND, "");
        let log = line.session.poll_timeout();
        assert_eq!(log, Some(line.now + MILLISECOND));
        line.wait(MILLISECOND, NO_TRUST);
    }
}

#[test]
fn a_peer_that_uses_public_data_stays_60_s_after_the_last_use() {
    let mut line = Line::server(config(Role::Server).secret().public());
    line.wait(59 * SECOND, "");
    line.tell("10/9 #1", "run 1: 10/9 #1");
    line.reply(1, "5", "11/9 #1 5");
    line.wait(60 * SECOND - MILLISECOND, "");
    line.tell("10/9 #2", "run 2: 10/9 #2");
    line.reply(2, "5", "11/9 #2 5");
    line.tell("10/1 #3", "11/1 s3 #3");
    line.wait(60 * SECOND - MILLISECOND, "");
    line.tell("10/1 #3", "11/1 s3 #3");
    line.wait(MILLISECOND, NO_USE);
}

#[test]
fn public_data_do_not_lengthen_a_login_that_has_begun() {
    let mut line = Line::server(config(Role::Server).secret().public());
    line.wait(30 * SECOND, "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.wait(5 * SECOND, "");
    line.tell("10/9", "run 1: 10/9");
    line.wait(5 * SECOND, NO_TRUST);
}

#[test]
fn where_logins_are_made_by_hand_a_peer_has_60_s() {
    let mut manual = config(Role::Server).secret();
    manual.auto_auth = false;
    let mut line = Line::server(manual);
    line.wait(60 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, NO_USE);
}

#[test]
fn a_peer_that_loses_its_trust_has_10_s_to_regain_it() {
    let lost = || {
        let mut line = Line::trusted_server(config(Role::Server));
        line.wait(100 * SECOND, "");
        line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
        line.wait(100 * SECOND, "");
        line.tell("0/1", "1/1 false");
        line.wait(TEN - MILLISECOND, "");
        line
    };
    lost().wait(MILLISECOND, NO_TRUST);
    let mut line = lost();
    line.tell("0/0", &format!("1/0 \"{}\"", seed(3)));
    line.wait(TEN - MILLISECOND, "");
    line.tell(&format!("0/1 \"{}\"", key(&seed(3))), "1/1 true");
    line.wait(100 * SECOND, "");
}

/// A server that runs two requests at once.
fn narrow() -> Line {
    Line::server(config(Role::Server).limit(|limits| {
        limits.max_in_flight = 2;
        limits.max_parked = 3 * 1024 + 12;
    }))
}

#[test]
fn requests_beyond_max_in_flight_are_run_in_order_when_others_end() {
    let mut line = narrow();
    line.tell_all(&["10/1", "10/2", "20/2", "50/1"], "run 1: 10/1 | run 2: 10/2");
    line.tell("30/3", "");
    line.tell("10/77 #1", "11/77 s4 #1");
    line.reply(2, "2", "run 3: 20/2 | 11/2 2");
    line.fault(3, 7, "", "run 4: 50/1 | 21/2 s7");
    line.reply(4, "null", "run 5: 30/3");
    line.wait(30 * SECOND, "expired 1 | expired 5 | 11/1 s2 {\"error\":\"handler timed out\"} | 31/3 s2 {\"error\":\"handler timed out\"}");
    // Their handlers may still work.
    line.tell("10/1", "");
    line.reply(1, "1", "run 7: 10/1");
    line.tell("10/2", "");
    line.session.handle_gone(5, line.now);
    line.check("run 8: 10/2");
}

#[test]
fn a_peer_that_asks_and_gives_up_has_no_more_handlers_work_than_another() {
    let mut line = narrow();
    let mut work = Vec::new();
    for id in 1..=1_000 {
        line.transmit(&message(&format!("10/1 #{id}")));
        line.transmit(&message(&format!(r#"cancel/0 {{"message_id":{id}}}"#)));
        line.session.handle_input(&mut line.input, line.now);
        while let Some(event) = line.session.poll_event() {
            if let Event::Dispatch(incoming) = event {
                work.push(incoming.request);
            }
        }
    }
    assert_eq!(work.len(), 2);
    line.reply(work[0], "1", "");
    line.tell("20/2", "run 1001: 20/2");
}

#[test]
fn a_limit_may_be_as_large_as_numbers_go() {
    let limits = |limits: &mut Limits| (limits.max_in_flight, limits.max_parked) = (usize::MAX, 16 * 1024);
    let mut line = Line::server(config(Role::Server).limit(limits));
    for request in 1..20 {
        line.tell("10/1", &format!("run {request}: 10/1"));
    }
}

#[test]
fn a_request_that_was_parked_has_its_whole_time() {
    let mut line = narrow();
    line.tell_all(&["10/1 #1", "10/1 #2", "10/1 #3"], "run 1: 10/1 #1 | run 2: 10/1 #2");
    line.wait(29 * SECOND, "");
    line.reply(1, "1", "run 3: 10/1 #3 | 11/1 #1 1");
    line.reply(2, "2", "11/1 #2 2");
    line.wait(30 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, "expired 3 | 11/1 s2 #3 {\"error\":\"handler timed out\"}");
}

#[test]
fn parked_requests_count_with_1_kib_each_and_more_than_max_parked_end_the_connection() {
    let mut line = narrow();
    line.tell_all(&["10/1", "10/1", "10/1", "10/1"], "run 1: 10/1 | run 2: 10/1");
    line.tell("10/1", "");
    line.reply(1, "1", "run 3: 10/1 | 11/1 1");
    line.tell("10/1", "");
    line.tell("10/1 1", "end: 4109 bytes exceed max_parked of 3084");
    let mut line = narrow();
    line.tell_all(&["10/1", "10/1", "10/1", "10/1"], "run 1: 10/1 | run 2: 10/1");
    line.tell("10/1 12345", "end: 3085 bytes exceed max_parked of 3084");
}

#[test]
fn a_request_whose_handler_waits_for_the_peer_gives_its_place_back() {
    let mut line = narrow();
    line.tell_all(&["10/1", "10/2", "20/2"], "run 1: 10/1 | run 2: 10/2");
    line.call(70, "10/1", "10/1 #1");
    line.nested_call(71, "10/1", "run 3: 20/2 | 10/1 #2");
    line.tell("30/3", "");
    line.tell("11/1 #2", "call 71: null");
    line.reply(3, "3", "21/2 3");
    line.reply(1, "1", "run 4: 30/3 | 11/1 1");
}

#[test]
fn requests_whose_handlers_wait_for_the_peer_are_bounded_by_memory() {
    let mut line = narrow();
    line.tell_all(&["10/1", "10/2"], "run 1: 10/1 | run 2: 10/2");
    for call in 0..3 {
        line.nested_call(call, "10/1", &format!("10/1 #{}", call + 1));
        line.tell("10/1", &format!("run {}: 10/1", call + 3));
    }
    line.nested_call(3, "10/1", "10/1 #4");
    line.tell("10/1", "");
}

#[test]
fn responses_are_taken_while_requests_are_parked() {
    let mut line = narrow();
    line.call(70, "10/1", "10/1 #1");
    line.tell_all(&["10/1", "10/1", "10/1"], "run 1: 10/1 | run 2: 10/1");
    line.tell("11/1 #1 5", "call 70: 5");
}

const SLOW: &str = "end: slow reader: no byte could be sent within write_timeout of 30s";

#[test]
fn a_peer_that_reads_nothing_for_30_s_is_disconnected() {
    let mut line = Line::server(config(Role::Server));
    line.stalled = true;
    line.wait(100 * SECOND, "");
    line.tell("10/77", "");
    line.wait(30 * SECOND - MILLISECOND, "");
    line.tell("10/77", "");
    line.wait(MILLISECOND, SLOW);
}

#[test]
fn every_byte_that_leaves_is_progress() {
    let mut line = Line::server(config(Role::Server));
    line.stalled = true;
    line.tell("10/77", "");
    for _ in 0..3 {
        line.wait(30 * SECOND - MILLISECOND, "");
        line.session.handle_sent(1, line.now);
    }
    line.wait(30 * SECOND - MILLISECOND, "");
    let rest = line.session.poll_transmit().len();
    line.session.handle_sent(rest, line.now);
    line.wait(100 * SECOND, "");
    line.tell("10/77", "");
    line.wait(30 * SECOND, SLOW);
}

const TOO_MANY: &str = "end: more damaged or malformed frames than protocol_errors of 0";

#[test]
fn protocol_errors_beyond_32_end_the_connection_and_one_a_second_is_forgiven() {
    let mut line = Line::server(config(Role::Server));
    for _ in 0..31 {
        line.tell_frame(b"x", "");
    }
    line.tell_damaged("60/1", "");
    line.wait(2 * SECOND, "");
    line.tell("11/1 #1", "");
    line.tell_frame(b"", "");
    line.tell_frame(b"x", "end: more damaged or malformed frames than protocol_errors of 32");
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.protocol_errors = 0));
    line.tell_frame(b"x", TOO_MANY);
}

#[test]
fn every_kind_of_protocol_error_counts() {
    let strict = || config(Role::Server).limit(|limits| limits.protocol_errors = 0);
    Line::server(strict()).tell_damaged("60/1", TOO_MANY);
    Line::server(strict()).tell_frame(b"", TOO_MANY);
    Line::server(strict()).tell("11/1 #1", TOO_MANY);
    for bytes in [&b":<:>"[..], b":<a:<", b":<a:b", b"::", b":x"] {
        let mut line = Line::new(strict()).speaks(Framing::Stp);
        line.tell_bytes(bytes, TOO_MANY);
    }
    for text in ["60/1", "11/1", "10/77", "1/0", "9/0"] {
        let mut line = Line::server(strict());
        line.transmit(&message(text));
        line.drive();
        assert_eq!(line.session.close_reason(), None, "{text}");
    }
}

#[test]
fn nothing_is_asked_of_the_clock_when_nothing_waits() {
    let line = Line::server(config(Role::Server));
    assert_eq!(line.session.poll_timeout(), None);
    let mut line = Line::client(config(Role::Client));
    assert_eq!(line.session.poll_timeout(), None);
    line.call(70, "10/1", "10/1 #1");
    assert_eq!(line.session.poll_timeout(), Some(line.now + TEN));
    line.tell("11/1 #1", "call 70: null");
    line.wait(TEN, "");
    assert_eq!(line.session.poll_timeout(), None);
}

#[test]
fn a_peer_that_is_paused_runs_one_request_at_a_time_and_is_not_read() {
    let mut line = Line::server(config(Role::Server));
    line.tell_all(&["10/1 #1", "10/1 #2"], "run 1: 10/1 #1 | run 2: 10/1 #2");
    line.session.pause(true, line.now);
    assert!(!line.session.wants_input());
    line.tell("10/1 #3", "");
    line.reply(1, "1", "11/1 #1 1");
    line.reply(2, "2", "11/1 #2 2");
    line.session.pause(false, line.now);
    line.check("run 3: 10/1 #3");
}

#[test]
fn what_is_parked_goes_while_a_peer_is_paused() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.max_in_flight = 2));
    line.tell_all(&["10/1 #1", "10/1 #2", "10/1 #3", "10/1 #4"], "run 1: 10/1 #1 | run 2: 10/1 #2");
    line.session.pause(true, line.now);
    line.reply(1, "1", "11/1 #1 1");
    line.reply(2, "2", "run 3: 10/1 #3 | 11/1 #2 2");
    line.reply(3, "3", "run 4: 10/1 #4 | 11/1 #3 3");
}

#[test]
fn an_old_peer_is_left_unread_at_the_limit_unless_it_has_been_asked() {
    let limits = |limits: &mut Limits| (limits.max_in_flight, limits.max_parked) = (1, 2 * 1024);
    let old_peer = || Line::new(config(Role::Server).limit(limits)).speaks(Framing::Stp);
    let mut line = old_peer();
    line.tell_all(&["10/1", "10/1"], "run 1: 10/1 | ready");
    assert!(line.session.wants_input());
    line.tell("10/1", "");
    assert!(!line.session.wants_input(), "two are parked");
    line.reply(1, "1", "run 2: 10/1 | 11/1 1");
    assert!(line.session.wants_input());

    let mut line = old_peer();
    line.tell_all(&["10/1", "10/1", "10/1"], "run 1: 10/1 | ready");
    line.call(70, "10/9", "10/9");
    assert!(line.session.wants_input(), "the answer may be behind what is unread");
    line.tell("11/9 5", "call 70: 5");
    assert!(!line.session.wants_input());
}

#[test]
fn a_noisy_line_is_never_the_end() {
    let noisy = Config { lossy: true, ..config(Role::Server).framing(Framing::Stp) };
    let mut line = Line::new(noisy.limit(|limits| (limits.protocol_errors, limits.max_frame) = (2, 100)));
    line.drive();
    for _ in 0..50 {
        line.tell_bytes(b"\xff\x00noise", "");
        line.tell_damaged("10/1 #1", "11/1 s5 #1");
        line.tell_bytes(b":<half a frame:x", "");
        line.tell_bytes(format!(":<{}:>", "x".repeat(200)).as_bytes(), "");
    }
    line.tell("10/1 #2", "run 51: 10/1 #2");
}
