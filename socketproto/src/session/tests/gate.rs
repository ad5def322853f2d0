//! What a peer that is not trusted may send (protocol.md 5.3).

use super::*;

/// What comes of a message of an untrusted peer, and whether it was counted as refused.
#[track_caller]
fn untrusted(text: &str, expected: &str, refused: bool) {
    let config = config(Role::Server).public().secret().dispatch(|dispatch| serve(dispatch, 11, 9));
    let mut line = Line::server(config);
    line.tell(text, expected);
    assert_eq!(line.session.counters.gated, u64::from(refused), "{text}");
}

#[test]
fn requests_of_a_registered_service_get_status_3_and_null() {
    untrusted("10/1 {\"a\":1}", "11/1 s3", true);
    untrusted("10/1 #7", "11/1 s3 #7", true);
    untrusted("20/9", "21/9 s3", true);
    untrusted("30/3", "31/3 s3", true);
    untrusted("40/1", "41/1 s3", true);
}

#[test]
fn the_gate_does_not_tell_which_data_exist() {
    untrusted("10/77", "11/77 s3", true);
    untrusted("20/1", "21/1 s3", true);
}

#[test]
fn anything_else_is_dropped() {
    untrusted("50/1", "", true);
    untrusted("60/1", "", true);
    untrusted("11/8", "", true);
    untrusted("11/1 #7", "", false);
    untrusted("41/1", "", true);
}

#[test]
fn the_whitelist_passes() {
    untrusted("10/9", "run 1: 10/9", false);
    untrusted("11/9 5", "run 1: 11/9 5", false);
    untrusted("8/0", "9/0", false);
    untrusted(&format!("hello/0 {HELLO}"), &format!("hello-answer/0 {OUR_HELLO}"), false);
    untrusted("0/0", &format!("1/0 \"{}\"", seed(1)), false);
}

#[test]
fn an_untrusted_peer_gets_no_text() {
    let mut line = Line::server(config(Role::Server).public().secret());
    line.tell("10/9", "run 1: 10/9");
    line.fault(1, 7, "out of paper", "11/9 s7");
    line.tell("10/9", "run 2: 10/9");
    line.wait(30 * SECOND, "expired 2 | 11/9 s2");
    let mut line = Line::trusted_server(config(Role::Server).public());
    line.tell("10/9", "run 1: 10/9");
    line.fault(1, 7, "out of paper", "11/9 s7 {\"error\":\"out of paper\"}");
}

#[test]
fn a_damaged_request_is_answered_where_it_would_have_passed() {
    let mut line = Line::server(config(Role::Server).public().secret());
    line.tell_damaged("10/9 #7", "11/9 s5 #7");
    line.tell_damaged("10/1 #7", "");
}

#[test]
fn a_service_of_the_framework_is_behind_the_gate_but_hello_is_not() {
    let mut line = Line::server(config(Role::Server).secret());
    line.tell("4294901764/0", "4294901765/0 s3");
    line.tell("4294901768/0", "");
    let mut line = Line::trusted_server(config(Role::Server));
    line.tell("4294901764/0", "4294901765/0 s4");
    line.tell("4294901768/0", "");
    line.tell("4294967294/5 #3", "4294967295/5 s4 #3");
}

#[test]
fn a_response_to_an_outstanding_call_passes() {
    let mut line = Line::trusted_server(config(Role::Server));
    line.call(70, "10/1", "10/1 #1");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
    line.tell("0/1 \"ab\"", "1/1 false");
    line.is(AuthState::Untrusted);
    line.tell("10/1", "11/1 s3");
    line.tell("11/1 #1 5", "call 70: 5");

    let mut manual = config(Role::Client).secret();
    manual.auto_auth = false;
    let mut line = Line::client(manual);
    line.call(70, "10/1", "10/1 #1");
    line.tell("10/1", "11/1 s3");
    line.tell("11/1 #1 5", "call 70: 5");
}

#[test]
fn without_a_secret_there_is_no_gate() {
    let mut line = Line::server(config(Role::Server));
    line.tell("10/1", "run 1: 10/1");
    line.tell("50/1", "run 2: 50/1");
    let mut line = Line::trusted_server(config(Role::Server));
    line.tell("10/1", "run 1: 10/1");
}
