//! How a connection begins (protocol.md section 4, and 7.1).

use super::*;

#[test]
fn a_client_says_hello_and_its_name() {
    let hello = format!("hello/0 {OUR_HELLO}");
    Line::open(config(Role::Client), &format!("{hello} | 8/0"));
    Line::open(config(Role::Client).named("pump"), &format!("{hello} | 8/0 \"pump\""));
    Line::open(config(Role::Client).secret(), &format!("{hello} | 8/0 | 0/0"));
    Line::open(config(Role::Client).old_peer(), "ready | 8/0");
    Line::open(config(Role::Client).old_peer().secret(), "8/0 | 0/0");
    let mut manual = config(Role::Client).old_peer().secret();
    manual.auto_auth = false;
    Line::open(manual, "ready | 8/0");
}

#[test]
fn a_client_with_length_framing_is_ready_after_the_answer_to_hello() {
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.call(70, "10/1", "");
    line.tell("9/0", "");
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 10/1 #1");
}

#[test]
fn a_client_with_stp_is_ready_at_once_and_content_without_an_answer_to_hello() {
    let stp = || config(Role::Client).framing(Framing::Stp);
    let mut line = Line::open(stp(), &format!("ready | hello/0 {OUR_HELLO} | 8/0"));
    line.call(70, "10/1", "10/1");
    line.tell("11/1 5", "call 70: 5");
    line.wait(60 * SECOND, "");
    line.call(71, "10/1", "10/1");
    line.tell("11/1", "call 71: null");

    let mut line = Line::new(stp());
    line.drive();
    line.tell("hello-answer/0 s4", "");
    line.call(70, "10/1", "10/1");

    let mut line = Line::new(stp());
    line.drive();
    line.call(70, "10/1", "10/1");
    line.tell(&format!("hello-answer/0 {HELLO}"), "");
    line.call(71, "10/1", "10/1 #1");
    line.tell_all(&["11/1 #1 2", "11/1 1"], "call 71: 2 | call 70: 1");
}

#[test]
fn a_client_with_length_framing_waits_5_s_for_the_answer_to_hello() {
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.call(70, "10/1", "");
    line.wait(5 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, "call 70: lost | end: the peer does not answer HELLO");
    for answer in
        ["s4", "null", "{}", r#"{"session":"bb"}"#, r#"{"session":1,"max_frame":1,"max_in_flight":1}"#]
    {
        let mut line = Line::new(config(Role::Client));
        line.drive();
        line.tell(&format!("hello-answer/0 {answer}"), "end: the peer does not answer HELLO");
    }
}

#[test]
fn a_server_says_nothing_before_it_knows_the_framing() {
    for framing in [Framing::Stp, Framing::Length] {
        let mut line = Line::open(config(Role::Server), "").speaks(framing);
        line.call(70, "10/1", "");
        line.tell("50/1", "run 1: 50/1 | ready | 10/1");
        line.tell("11/1 5", "call 70: 5");
        Line::open(config(Role::Server).framing(framing), "ready");
    }
    let mut line = Line::new(config(Role::Server));
    line.call(70, "10/1", "");
    line.tell(&format!("hello/0 {HELLO}"), &format!("ready | hello-answer/0 {OUR_HELLO} | 10/1 #1"));
}

#[test]
fn a_hello_that_is_none_is_refused_and_changes_nothing() {
    let long = format!("{{\"session\":\"bb\",\"max_frame\":\"{}\"}}", "é".repeat(4000));
    for data in ["null", "[]", "{}", r#"{"session":1}"#, r#"{"session":"bb","max_frame":1}"#, &long] {
        let mut line = Line::new(config(Role::Server));
        line.transmit(&message(&format!("hello/0 {data}")));
        let log = line.drive();
        assert!(log[1].starts_with("hello-answer/0 s2 {\"error\":"), "{log:?}");
        assert!(log[1].len() < 1100, "a text of 1 KiB at most");
        line.call(70, "10/1", "10/1");
        line.tell(&format!("hello/0 {HELLO}"), &format!("hello-answer/0 {OUR_HELLO}"));
        line.call(71, "10/1", "10/1 #1");
    }
    let mut line = Line::new(config(Role::Server).secret());
    line.tell("hello/0", "hello-answer/0 s2");
}
