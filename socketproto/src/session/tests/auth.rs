//! Authentication, as a server and as a client (protocol.md 5.1).

use super::*;

#[test]
fn an_answer_of_the_authenticator_that_comes_after_the_end_changes_nothing() {
    let mut line = Line::server(config(Role::Server).secret());
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.asks_held = true;
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "ask verify");
    line.close("end: closed by this side");
    line.answer(AuthAnswer::Verdict(true), "");
    line.is(AuthState::Untrusted);
}

#[test]
fn a_verdict_nobody_asked_for_changes_nothing() {
    let mut line = Line::server(config(Role::Server).secret());
    line.answer(AuthAnswer::Verdict(true), "");
    line.is(AuthState::Untrusted);
    let mut line = Line::trusted_server(config(Role::Server));
    line.answer(AuthAnswer::Verdict(false), "");
    line.is(AuthState::Trusted);
}

/// A client that is trusted by its server, and has no other exchange under way.
fn trusted_client() -> Line {
    let mut line = Line::client(config(Role::Client).secret());
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    line.tell("1/1 true", "ready");
    line.is(AuthState::Trusted);
    line
}

#[test]
fn an_answer_that_a_client_did_not_ask_for_changes_nothing() {
    let seed = format!("1/0 \"{}\"", seed(2));
    for answer in [&*seed, "1/0", "1/0 s3", "1/0 s6", "1/1 false", "1/1 true", "1/1 s6", "1/2", "1/2 s4"] {
        let mut line = trusted_client();
        line.tell(answer, "");
        line.is(AuthState::Trusted);
    }
}
