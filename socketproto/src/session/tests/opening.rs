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
