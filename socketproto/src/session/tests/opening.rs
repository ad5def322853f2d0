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
    let list = r#"["bb",[],1000,256]"#;
    for data in ["null", "[]", list, "{}", r#"{"session":1}"#, r#"{"session":"bb","max_frame":1}"#, &long] {
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

#[test]
fn a_client_with_a_secret_is_ready_when_it_is_trusted_and_hello_is_answered() {
    let (seed, key) = (format!("1/0 \"{}\"", seed(1)), format!("0/1 \"{}\"", key(&seed(1))));
    let hello = format!("hello-answer/0 {HELLO}");
    let opened = || {
        let mut line = Line::new(config(Role::Client).secret());
        line.drive();
        line
    };
    let mut line = opened();
    line.call(70, "10/1", "");
    line.tell(&hello, "");
    line.tell(&seed, &key);
    line.tell("1/1 true", "ready | 10/1 #1");

    let mut line = opened();
    line.tell(&seed, &key);
    line.tell("1/1 true", "");
    line.tell(&hello, "ready");

    let mut line = Line::new(config(Role::Client).old_peer().secret());
    line.drive();
    line.tell(&seed, &key);
    line.tell("1/1 true", "ready");
}

#[test]
fn a_server_with_a_secret_is_ready_when_its_peer_is_trusted() {
    let mut line = Line::server(config(Role::Server).secret());
    line.call(70, "10/1", "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "ready | 1/1 true | 10/1 #1");
}

#[test]
fn a_second_hello_gets_the_first_answer_and_changes_nothing() {
    let mut line = Line::server(config(Role::Server));
    line.tell(
        r#"hello/0 {"session":"cc","max_frame":10,"max_in_flight":50}"#,
        &format!("hello-answer/0 {OUR_HELLO}"),
    );
    for (call, expected) in [(70, "10/1 #1"), (71, "10/1 #2"), (72, "")] {
        line.call(call, "10/1", expected);
    }
    let mut line = Line::client(config(Role::Client));
    line.tell(r#"hello-answer/0 {"session":"cc","max_frame":10,"max_in_flight":50}"#, "");
    line.call(70, "10/1", "10/1 #1");
}

#[test]
fn a_hello_of_our_own_session_is_an_echo_and_ends_the_connection() {
    let end = "end: the line echoes: the peer's HELLO is our own";
    let mut line = Line::new(config(Role::Server));
    line.tell(&format!("hello/0 {OUR_HELLO}"), end);
    for service in ["hello", "hello-answer"] {
        for client in [config(Role::Client), config(Role::Client).framing(Framing::Stp)] {
            let mut line = Line::new(client);
            line.drive();
            line.tell(&format!("{service}/0 {OUR_HELLO}"), end);
        }
    }
}

#[test]
fn a_hello_of_another_datum_is_none() {
    let mut line = Line::new(config(Role::Server));
    line.tell(&format!("hello/1 {HELLO}"), "ready | hello-answer/1 s4");
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.tell(&format!("hello-answer/1 {HELLO}"), "");
    line.wait(5 * SECOND, "end: the peer does not answer HELLO");
}

#[test]
fn a_client_answers_the_hello_of_a_server_and_waits_for_its_own_answer() {
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.tell(&format!("hello/0 {HELLO}"), &format!("hello-answer/0 {OUR_HELLO}"));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready");
}

#[test]
fn other_first_bytes_than_those_of_a_framing_end_the_connection() {
    for first in [b'G', b'P', b'{', b'<', 0x10, 0xFF] {
        let mut line = Line::new(config(Role::Server));
        let end = format!("end: the first byte, 0x{first:02x}, starts neither STP nor length framing");
        line.tell_bytes(&[first], &end);
    }
    Line::new(config(Role::Server))
        .tell_bytes(&[0x16], "end: the client speaks TLS, which is not taken here");
    for first in [b':', 0x00] {
        Line::new(config(Role::Server)).tell_bytes(&[first], "ready");
    }
}

#[test]
fn a_server_answers_in_the_framing_it_found() {
    for framing in [Framing::Stp, Framing::Length] {
        let mut line = Line::new(config(Role::Server)).speaks(framing);
        line.tell("8/0", "ready | 9/0");
    }
}

/// What a server of this name answers, and the name of the channel from then on.
#[track_caller]
fn asked(name: Option<&str>, data: &str, answer: &str, expected: Option<&str>) {
    let config = config(Role::Server);
    let mut line = Line::server(if let Some(name) = name { config.named(name) } else { config });
    line.tell(&format!("8/0 {data}"), answer);
    line.has_name(expected);
}

#[test]
fn a_server_tells_its_name_or_takes_over_that_of_the_client() {
    asked(None, "null", "9/0", None);
    asked(Some("pump"), "null", "9/0 \"pump\"", Some("pump"));
    asked(None, "\"valve\"", "9/0", Some("valve"));
    asked(Some("pump"), "\"valve\"", "9/0", Some("valve"));
    asked(Some("pump"), "\"pump\"", "9/0", Some("pump"));
}

#[test]
fn a_name_is_1_to_64_characters_without_control_characters() {
    for good in ["p".to_owned(), "p".repeat(64), "é".repeat(64), "a b".to_owned()] {
        asked(Some("pump"), &format!("\"{good}\""), "9/0", Some(&good));
    }
    let text = "a channel name is text of 1 to 64 characters without control characters";
    let answer = format!("9/0 s2 {{\"error\":\"{text}\"}}");
    let long = format!("\"{}\"", "p".repeat(65));
    for bad in [r#""""#, &long, r#""a\n""#, r#""\u0000""#, r#""\u0085""#, "5", "true", "[\"a\"]", "{}"] {
        asked(Some("pump"), bad, &answer, Some("pump"));
    }
    let mut line = Line::server(config(Role::Server).secret());
    line.tell("8/0 5", "9/0 s2");
    line.tell("8/0 \"pump\"", "9/0");
    line.has_name(Some("pump"));
}

#[test]
fn a_second_exchange_of_names_renames_nothing() {
    for first in ["\"valve\"", "null"] {
        let mut line = Line::server(config(Role::Server).named("pump"));
        line.transmit(&message(&format!("8/0 {first}")));
        line.drive();
        let name = line.session.channel_name().cloned();
        line.tell("8/0 \"other\"", "9/0");
        line.has_name(name.as_deref());
        line.tell("8/0", &format!("9/0 \"{}\"", name.unwrap()));
    }
}

/// The name of a client's channel after this answer.
#[track_caller]
fn answered(name: Option<&str>, answer: &str, expected: Option<&str>) {
    let config = config(Role::Client);
    let mut line = Line::new(if let Some(name) = name { config.named(name) } else { config });
    line.drive();
    line.tell(answer, "");
    line.has_name(expected);
    line.tell("9/0 \"second\"", "");
    line.has_name(expected);
}

#[test]
fn a_client_without_a_name_takes_over_that_of_the_server() {
    answered(None, "9/0 \"pump\"", Some("pump"));
    answered(None, "9/0", None);
    answered(None, "9/0 s2 \"pump\"", None);
    answered(None, "9/0 5", None);
    answered(None, r#"9/0 "a\nb""#, None);
    answered(Some("valve"), "9/0 \"pump\"", Some("valve"));
    answered(Some("valve"), "9/0", Some("valve"));
}

#[test]
fn a_name_that_is_not_answered_within_2_s_is_not_waited_for() {
    let mut line = Line::new(config(Role::Client).old_peer());
    line.drive();
    line.wait(2 * SECOND - MILLISECOND, "");
    line.tell("9/0 \"pump\"", "");
    line.has_name(Some("pump"));

    let mut line = Line::new(config(Role::Client).old_peer());
    line.drive();
    line.wait(2 * SECOND, "");
    line.tell("9/0 \"pump\"", "");
    line.has_name(None);
    line.call(70, "10/1", "10/1");
}

#[test]
fn names_go_one_way() {
    let mut line = Line::client(config(Role::Client));
    line.tell("8/0", "9/0 s6");
    line.tell("8/0 \"pump\"", "9/0 s6");
    line.has_name(None);
    let mut line = Line::server(config(Role::Server));
    line.tell("9/0 \"pump\"", "");
    line.has_name(None);
    assert_eq!(line.session.counters.unhandled, 1);
    line.tell("8/1 \"pump\"", "9/1 s4");
    line.tell("8/0 #5 \"pump\"", "9/0 #5");
    line.has_name(Some("pump"));
}
