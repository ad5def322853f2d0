//! What nobody takes, and what a `Protocol` handle asks for: send, receive, authenticate.

use super::*;
use crate::session::event::Received;

/// As `config`, where somebody took a `Protocol` handle.
fn buffering(role: Role) -> Config {
    config(role).dispatch(|dispatch| {
        dispatch.buffer();
    })
}

impl Line {
    #[track_caller]
    fn operation(&mut self, kind: CallKind, call: CallKey, text: &str, expected: &str) {
        let timeout = if kind == CallKind::Receive { SECOND } else { 2 * SECOND };
        self.session.handle_call(NewCall { kind, ..new_call(call, text, timeout) }, self.now);
        self.check(expected);
    }

    #[track_caller]
    fn send(&mut self, call: CallKey, text: &str, expected: &str) {
        self.operation(CallKind::Send { status: message(text).status() }, call, text, expected);
    }

    #[track_caller]
    fn receive_next(&mut self, call: CallKey, text: &str, expected: &str) {
        self.operation(CallKind::Receive, call, text, expected);
    }

    #[track_caller]
    pub(super) fn authenticate(&mut self, call: CallKey, expected: &str) {
        self.operation(CallKind::Authenticate, call, "0/0", expected);
    }

    /// The table of the endpoint changes.
    fn change(&mut self, change: impl FnOnce(&mut Dispatch)) {
        let mut dispatch = Dispatch::clone(&self.session.config.dispatch);
        change(&mut dispatch);
        self.session.set_dispatch(Arc::new(dispatch));
    }
}

// The table of section 6

#[test]
fn a_request_of_a_datum_of_another_service_is_status_6_and_not_buffered() {
    let mut line = Line::server(buffering(Role::Server));
    line.tell("20/1 5", "21/1 s6");
    line.receive_next(70, "20/1", "");
    line.wait(SECOND, "call 70: timed out");
}

#[test]
fn a_request_whose_service_has_callbacks_for_other_data_is_status_4_and_not_buffered() {
    let mut line = Line::server(buffering(Role::Server));
    line.tell("10/77 #5", "11/77 s4 #5");
    line.receive_next(70, "10/77", "");
    line.wait(SECOND, "call 70: timed out");
}

#[test]
fn a_request_that_nobody_serves_is_buffered_and_answered_status_1() {
    let mut line = Line::server(buffering(Role::Server));
    line.tell("40/7 #5 {\"last\":3}", "41/7 s1 #5");
    line.tell("40/7 6", "41/7 s1");
    line.receive_next(70, "40/7", "call 70: received 40/7 #5 {\"last\":3}");
    line.receive_next(71, "40/7", "call 71: received 40/7 6");
    assert_eq!(line.session.counters.unhandled, 0);
}

#[test]
fn where_nobody_took_a_handle_such_a_request_is_status_4() {
    let mut line = Line::server(config(Role::Server));
    line.tell("40/7 #5 1", "41/7 s4 #5");
    line.tell("11/77 1", "");
    line.change(|dispatch| {
        dispatch.buffer();
    });
    line.receive_next(70, "40/7", "");
    line.tell("40/7 #6 2", "call 70: received 40/7 #6 2 | 41/7 s1 #6");
}

#[test]
fn a_response_without_call_or_callback_is_buffered() {
    let mut line = Line::client(buffering(Role::Client));
    line.call(70, "10/7", "10/7 #1");
    line.tell("11/7 s7 5", "");
    line.receive_next(71, "11/7", "call 71: received 11/7 s7 5");
    line.tell("11/7 #1 6", "call 70: 6");
    line.tell("11/8 7", "run 2: 11/8 7");
}

#[test]
fn any_other_message_is_buffered_and_nothing_is_sent() {
    let mut line = Line::server(buffering(Role::Server));
    line.tell("50/1 5", "run 1: 50/1 5");
    line.tell("50/2 6", "");
    line.tell("60/1 s9 7", "");
    line.receive_next(70, "50/2", "call 70: received 50/2 6");
    line.receive_next(71, "60/1", "call 71: received 60/1 s9 7");
}

#[test]
fn an_untrusted_peer_fills_no_buffer() {
    let config = buffering(Role::Server).dispatch(|dispatch| dispatch.whitelist(40.into(), 9.into()));
    let mut line = Line::server(config.secret());
    line.tell("40/9 5", "41/9 s4");
    line.tell("41/9 5", "");
    line.tell("60/1 5", "");
    line.receive_next(70, "40/9", "");
    line.receive_next(71, "41/9", "");
    line.receive_next(72, "60/1", "");
    line.wait(SECOND, "call 70: timed out | call 71: timed out | call 72: timed out");
}

#[test]
fn a_client_keeps_what_its_whitelist_lets_through_before_it_has_authenticated() {
    let config = buffering(Role::Client).dispatch(|dispatch| dispatch.whitelist(10.into(), 7.into()));
    let mut line = Line::client(Config { auto_auth: false, ..config.secret() });
    line.tell("11/7 5", "");
    line.tell("11/8 6", "");
    line.receive_next(70, "11/7", "call 70: received 11/7 5");
    line.receive_next(71, "11/8", "");
    line.wait(SECOND, "call 71: timed out");
}

#[test]
fn reserved_services_never_get_there() {
    let mut line = Line::server(buffering(Role::Server).dispatch(|dispatch| {
        let route = Route { handler: 1, entry: 0, timeout: 30 * SECOND, name: "all" };
        dispatch.insert(None, None, route);
    }));
    line.tell("8/0 \"pump\"", "9/0");
    line.tell("0/0", "1/0 s6");
    line.tell("8/5", "9/5 s4");
    line.tell("4294901764/0", "4294901765/0 s4");
    line.tell("pong/0", "");
    line.tell("60/1", "run 4: 60/1");
}

// Changes while it runs

#[test]
fn a_callback_registered_later_takes_the_next_message() {
    let mut line = Line::server(config(Role::Server));
    line.tell("40/7", "41/7 s4");
    line.change(|dispatch| serve(dispatch, 40, 7));
    line.tell("40/7", "run 2: 40/7");
    line.reply(2, "5", "41/7 5");
    line.change(|dispatch| {
        dispatch.remove(Some(40.into()), Some(7.into()));
    });
    line.tell("40/7", "41/7 s4");
}

#[test]
fn a_request_whose_callback_was_removed_on_the_way_falls_to_the_next_or_to_nobody() {
    let mut line = Line::server(buffering(Role::Server).dispatch(|dispatch| serve(dispatch, 40, 7)));
    line.tell_all(&["40/7 #1 1", "40/7 #2 2"], "run 1: 40/7 #1 1 | run 2: 40/7 #2 2");
    line.change(|dispatch| {
        dispatch.remove(Some(40.into()), Some(7.into()));
    });
    line.session.handle_returned(1, message("40/7 #1 1"), line.now);
    line.check("41/7 s1 #1");
    line.receive_next(70, "40/7", "call 70: received 40/7 #1 1");
    line.change(|dispatch| {
        let route = Route { handler: 1, entry: 0, timeout: 30 * SECOND, name: "all" };
        dispatch.insert(None, None, route);
    });
    line.session.handle_returned(2, message("40/7 #2 2"), line.now);
    line.check("run 2: 40/7 #2 2");
    line.reply(2, "5", "41/7 #2 5");
    line.session.handle_returned(2, message("40/7 #2 2"), line.now);
    line.check("");
}

#[test]
fn a_service_declared_later_is_answered_and_goes_before_what_a_call_brought_along() {
    let mut line = Line::client(config(Role::Client));
    let own = NewCall { response: Some(61.into()), ..new_call(70, "60/1", 10 * SECOND) };
    line.session.handle_call(own, line.now);
    line.check("60/1 #1");
    line.change(|dispatch| dispatch.add_service(61.into(), 62.into()).unwrap());
    line.tell("61/9", "62/9 s4");
}

// Receive

#[test]
fn receivers_wait_in_order_and_a_message_is_received_once() {
    let mut line = Line::client(buffering(Role::Client));
    line.receive_next(70, "50/2", "");
    line.receive_next(71, "50/2", "");
    line.receive_next(72, "50/2", "");
    line.cancel(71, "");
    line.tell_all(&["50/2 1", "50/2 2", "50/2 3"], "call 70: received 50/2 1 | call 72: received 50/2 2");
    line.receive_next(73, "50/2", "call 73: received 50/2 3");
    let received = Received { message: message("50/2 3"), line: line.session.inbox.line() };
    line.session.handle_unreceived(received);
    line.receive_next(74, "50/2", "call 74: received 50/2 3");
}

#[test]
fn messages_stay_when_the_line_is_lost_and_go_when_the_next_begins() {
    let mut line = Line::client(Config { reconnect: true, ..buffering(Role::Client) });
    line.tell_all(&["50/2 1", "50/2 2"], "");
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.receive_next(70, "50/2", "call 70: received 50/2 1");
    line.receive_next(71, "50/3", "");
    line.session.reopen(line.now);
    line.drive();
    line.receive_next(72, "50/2", "");
    line.wait(SECOND, "call 71: timed out | call 72: timed out");
}

#[test]
fn too_many_messages_push_out_the_oldest_and_are_counted() {
    let mut line = Line::client(buffering(Role::Client).limit(|limits| limits.max_buffered_per_datum = 2));
    line.tell_all(&["50/2 1", "50/2 2", "50/2 3", "50/3 4"], "");
    assert_eq!(line.session.counters.overflowed, 1);
    line.receive_next(70, "50/2", "call 70: received 50/2 2");
}

// Send

#[test]
fn a_message_is_sent_when_the_transport_has_taken_all_of_it() {
    let mut line = Line::client(config(Role::Client));
    line.send(70, "20/2 s7 5", "20/2 s7 5");
    line.check("call 70: sent");
    line.stalled = true;
    line.send(71, "20/2 6", "");
    let all = line.session.poll_transmit().len();
    line.session.handle_sent(all - 1, line.now);
    line.check("");
    line.session.handle_sent(1, line.now);
    line.check("call 71: sent");
}

#[test]
fn a_message_waits_until_the_connection_is_ready_but_not_longer_than_it_may() {
    let mut line = Line::new(config(Role::Client));
    line.drive();
    line.send(70, "20/2 5", "");
    line.wait(2 * SECOND - MILLISECOND, "");
    line.send(71, "20/2 6", "");
    line.wait(MILLISECOND, "call 70: timed out");
    line.send(72, "20/2 7", "");
    line.cancel(72, "");
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 20/2 6");
    line.check("call 71: sent");
}

#[test]
fn a_message_that_the_line_does_not_take_in_time_or_at_all_is_not_sent() {
    let mut line = Line::client(config(Role::Client));
    line.stalled = true;
    line.send(70, "20/2 5", "");
    line.wait(2 * SECOND, "call 70: timed out");
    line.send(71, "20/2 6", "");
    line.close("call 71: lost | end: closed by this side");
    line.send(72, "20/2 7", "call 72: lost");
}

#[test]
fn a_message_above_what_the_peer_takes_is_not_sent() {
    let mut line = Line::client(config(Role::Client));
    let large = format!("20/2 \"{}\"", "x".repeat(100_000));
    line.send(70, &large, "call 70: not sendable, of 100054 bytes exceeds max_frame of 100000");
    let deep = format!("20/2 {}{}", "[".repeat(127), "]".repeat(127));
    line.send(71, &deep, "call 71: not sendable, cannot be sent: the data nest deeper than 126");
    line.send(72, "20/2 5", "20/2 5");
}

#[test]
fn a_message_does_not_pass_the_window_of_calls() {
    let mut line = Line::client(config(Role::Client));
    line.call(70, "10/1", "10/1 #1");
    line.call(71, "10/1", "10/1 #2");
    line.call(72, "10/1", "");
    line.send(73, "10/1", "10/1");
    line.check("call 73: sent");
    // Its answer is an ordinary message.
    line.change(|dispatch| {
        dispatch.buffer();
    });
    line.tell("11/1 5", "");
    line.receive_next(74, "11/1", "call 74: received 11/1 5");
}

// Authenticate

fn manual() -> Config {
    Config { auto_auth: false, ..config(Role::Client).secret() }
}

#[test]
fn a_login_by_hand_is_right_or_wrong_and_the_connection_stays() {
    let mut line = Line::client(manual());
    line.authenticate(70, "0/0");
    line.authenticate(71, "");
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    let wrong = "the secret is wrong";
    line.tell("1/1 false", &format!("call 70: not trusted, {wrong} | call 71: not trusted, {wrong}"));
    line.is(AuthState::Untrusted);
    line.authenticate(72, "0/0");
    line.tell(&format!("1/0 \"{}\"", seed(2)), &format!("0/1 \"{}\"", key(&seed(2))));
    line.tell("1/1 true", "call 72: trusted");
    line.is(AuthState::Trusted);
    line.authenticate(73, "call 73: trusted");
}

#[test]
fn a_login_that_is_refused_or_not_answered_is_false() {
    let mut line = Line::client(manual());
    line.authenticate(70, "0/0");
    line.tell(
        "1/0 s6",
        "call 70: not trusted, the server has no secret, or does not take this kind of login",
    );
    line.authenticate(71, "0/0");
    line.tell("1/0 5", "call 71: not trusted, the server's seed is not 64 hex digits");
    line.authenticate(72, "0/0");
    line.wait(2 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, "call 72: timed out");
    line.is(AuthState::Untrusted);
    line.authenticate(73, "0/0");
    line.close("call 73: lost | end: closed by this side");
}

#[test]
fn a_login_by_hand_waits_for_the_line_and_for_the_login_that_runs() {
    let mut line = Line::client(Config { reconnect: true, ..manual() });
    line.session.close(CloseReason::Peer);
    line.check("end: closed by the peer");
    line.authenticate(70, "");
    line.session.reopen(line.now);
    assert!(line.drive().contains(&"0/0".to_owned()));
    let mut line = Line::new(config(Role::Client).secret());
    line.drive();
    line.authenticate(70, "");
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    line.tell("1/1 true", "call 70: trusted");
}

#[test]
fn there_is_nothing_to_prove_without_a_secret_or_on_a_server() {
    let mut line = Line::client(config(Role::Client));
    line.authenticate(70, "call 70: not trusted, no secret is set");
    let mut line = Line::server(config(Role::Server).secret());
    line.authenticate(70, "call 70: not trusted, the client authenticates, and has yet to do so");
    let mut line = Line::trusted_server(config(Role::Server));
    line.authenticate(70, "call 70: trusted");
}

#[test]
fn a_server_is_not_ready_for_a_client_that_logs_in_by_hand_before_it_has() {
    let mut line = Line::server(Config { auto_auth: false, ..config(Role::Server).secret() });
    line.send(70, "50/1 5", "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "ready | 1/1 true | 50/1 5");
}
