//! Lines without an end of connection (protocol.md section 4).

use super::*;

/// What a peer says of itself after a restart.
const REBORN: &str =
    r#"{"session":"00000000000000cc","features":["message_id"],"max_frame":100000,"max_in_flight":2}"#;
/// What the session adds to each wait, by the last two digits of `OURS`.
const DELAY: Duration = Duration::from_millis(0xaa);

impl Config {
    pub(super) fn serial(mut self) -> Self {
        (self.lossy, self.serial, self.hello) = (true, true, true);
        self.reconnect = self.role == Role::Client;
        self.framing(Framing::Stp)
    }
}

/// A client that has met its server.
fn client(config: Config) -> Line {
    let mut line = Line::open(config.serial(), &hello());
    line.transmit(&message(&format!("hello-answer/0 {HELLO}")));
    line.drive();
    line
}

/// A client that is trusted.
fn trusted_client() -> Line {
    let mut line = client(config(Role::Client).secret());
    line.tell(&format!("1/0 #1 \"{}\"", seed(1)), &format!("0/1 #1 \"{}\"", key(&seed(1))));
    line.tell("1/1 #1 true", "ready");
    line
}

/// A server that has met its client.
fn server(config: Config) -> Line {
    let mut line = Line::open(config.serial(), &hello());
    line.transmit(&message(&format!("hello/0 {HELLO}")));
    line.drive();
    line
}

fn hello() -> String {
    format!("hello/0 {OUR_HELLO}")
}

fn hello_answer() -> String {
    format!("hello-answer/0 {OUR_HELLO}")
}

impl Line {
    /// The owner reopens the session on the same line.
    #[track_caller]
    fn begin_again(&mut self, expected: &str) {
        assert_eq!(self.session.close_reason(), Some(&CloseReason::PeerRestarted));
        self.session.reopen(self.now);
        self.end_told = false;
        self.check(expected);
    }
}

#[test]
fn a_client_says_hello_until_somebody_answers() {
    let mut line = Line::open(config(Role::Client).serial(), &hello());
    line.call(70, "10/1", "");
    line.wait(SECOND + DELAY - MILLISECOND, "");
    line.wait(MILLISECOND, &hello());
    line.wait(SECOND + DELAY, &hello());
    line.wait(2 * SECOND + DELAY, &hello());
    for _ in 0..3 {
        line.session.handle_cancel(70, line.now);
        line.wait(4 * SECOND + DELAY - MILLISECOND, "");
        line.wait(MILLISECOND, &hello());
    }
    line.call(71, "10/1", "");
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 8/0 | 10/1 #1");
    line.wait(9 * SECOND, "");
}

#[test]
fn a_server_says_hello_four_times_and_calls_nobody_who_has_not() {
    let mut line = Line::open(config(Role::Server).serial(), &hello());
    line.wait(SECOND + DELAY, &hello());
    line.wait(SECOND + DELAY, &hello());
    line.wait(2 * SECOND + DELAY, &hello());
    line.wait(3600 * SECOND, "");
    line.tell("10/1", &format!("run 1: 10/1 | {}", hello()));
    line.reply(1, "5", "11/1 5");
    line.tell("10/1", "run 2: 10/1");
    line.reply(2, "5", "11/1 5");
    line.call(70, "10/1", "");
    line.wait(3600 * SECOND, "call 70: timed out");
    line.call(71, "10/1", "");
    line.tell(&format!("hello/0 {HELLO}"), &format!("ready | {} | 10/1 #1", hello_answer()));
}

#[test]
fn a_stranger_is_greeted_also_behind_an_answer() {
    let mut line = Line::open(config(Role::Server).serial(), &hello());
    line.wait(3600 * SECOND, &[hello().as_str(); 3].join(" | "));
    // It has an answer at once, which has yet to leave.
    line.tell("10/9", &format!("11/9 s4 | {}", hello()));
}

#[test]
fn an_answer_to_hello_is_taken_however_late_it_comes() {
    let mut line = Line::open(config(Role::Server).serial(), &hello());
    line.wait(3600 * SECOND, &[hello().as_str(); 3].join(" | "));
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready");
    line.call(70, "10/1", "10/1 #1");
}

#[test]
fn the_hello_of_the_other_side_tells_as_much_as_its_answer() {
    let mut line = Line::open(config(Role::Client).serial(), &hello());
    line.tell(&format!("hello/0 {HELLO}"), &format!("ready | {} | 8/0", hello_answer()));
    line.tell(&format!("hello-answer/0 {HELLO}"), "");
    let mut line = Line::open(config(Role::Server).serial(), &hello());
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready");
    line.tell(&format!("hello/0 {HELLO}"), &hello_answer());
    line.wait(20 * SECOND, "");
}

#[test]
fn hello_is_not_said_again_while_the_last_one_has_yet_to_leave() {
    let mut line = Line::new(config(Role::Client).serial());
    line.stalled = true;
    line.wait(3600 * SECOND, "");
    line.stalled = false;
    line.check(&hello());
}

#[test]
fn another_session_is_a_restart() {
    for news in ["hello", "hello-answer"] {
        let mut line = client(config(Role::Client));
        line.call(70, "10/1", "10/1 #1");
        line.call(71, "10/2", "10/2 #2");
        line.call(72, "10/3", "");
        line.tell("10/1", "run 1: 10/1");
        line.tell(
            &format!("{news}/0 {REBORN}"),
            "call 70: lost | call 71: lost | end: the peer has restarted",
        );
        let answer = if news == "hello" { format!(" | {}", hello_answer()) } else { String::new() };
        line.begin_again(&format!("ready | {}{answer} | 8/0 | 10/3 #3", hello()));
        line.tell("11/1 #1 5", "");
        line.reply(1, "5", "");
        line.tell("11/3 #3 6", "call 72: 6");
    }
}

#[test]
fn a_restart_takes_trust_name_and_features_away() {
    let mut line = server(config(Role::Server).secret());
    line.tell("8/0 \"kitchen\"", "9/0");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "ready | 1/1 true");
    line.has_name(Some("kitchen"));
    line.tell("10/1 #1", "run 1: 10/1 #1");
    line.tell(&format!("hello/0 {REBORN}"), "end: the peer has restarted");
    line.begin_again(&format!("{} | {}", hello(), hello_answer()));
    line.is(AuthState::Untrusted);
    line.has_name(None);
    line.reply(1, "5", "");
    line.tell("10/1 #1", "11/1 s3 #1");
}

#[test]
fn what_comes_behind_the_news_belongs_to_the_new_session() {
    let mut line = server(config(Role::Server));
    line.tell_all(&["10/1 #7", &format!("hello/0 {REBORN}"), "10/2 #1"], "end: the peer has restarted");
    line.begin_again(&format!("ready | run 2: 10/2 #1 | {} | {}", hello(), hello_answer()));
    line.reply(1, "5", "");
    line.reply(2, "6", "11/2 #1 6");
}

#[test]
fn a_hello_of_the_known_session_changes_nothing() {
    let mut line = client(config(Role::Client));
    line.call(70, "10/1", "10/1 #1");
    line.tell(&format!("hello/0 {HELLO}"), &hello_answer());
    line.tell(&format!("hello-answer/0 {HELLO}"), "");
    line.tell("11/1 #1 5", "call 70: 5");
}

#[test]
fn who_is_trusted_without_a_hello_is_not_who_says_one() {
    let mut line = Line::open(config(Role::Server).serial().secret(), &hello());
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "1/1 true");
    line.is(AuthState::Trusted);
    line.tell(&format!("hello/0 {HELLO}"), "end: the peer has restarted");
    line.begin_again(&format!("{} | {}", hello(), hello_answer()));
    line.is(AuthState::Untrusted);
}

#[test]
fn our_own_hello_is_ignored() {
    for role in [Role::Client, Role::Server] {
        let mut line = Line::open(config(role).serial(), &hello());
        line.tell(&hello(), "");
        line.tell(&hello_answer(), "");
        assert_eq!(line.session.why_not_ready(), CloseReason::NoAnswer { echoes: true });
        line.tell(
            &format!("hello-answer/0 {HELLO}"),
            if role == Role::Client { "ready | 8/0" } else { "ready" },
        );
        line.tell(&hello(), "");
        line.tell(&hello_answer(), "");
    }
}

#[test]
fn why_a_client_is_not_ready_yet() {
    let mut line = Line::open(config(Role::Client).serial().secret(), &hello());
    assert_eq!(line.session.why_not_ready(), CloseReason::NoAnswer { echoes: false });
    line.tell("11/1 5", "");
    assert!(matches!(line.session.why_not_ready(), CloseReason::PeerTooOld(_)));
    line.tell(&format!("hello/0 {HELLO}"), &format!("{} | 8/0 | 0/0 #1", hello_answer()));
    assert!(matches!(line.session.why_not_ready(), CloseReason::AuthenticationFailed(_)));
}

#[test]
fn a_gate_that_is_shut_again_is_a_restart() {
    let mut line = trusted_client();
    line.call(70, "10/1", "10/1 #2");
    line.call(71, "10/2", "10/2 #3");
    line.tell("11/1 s3 #2", "call 70: s3 null | call 71: lost | end: the peer has restarted");
    line.begin_again(&hello());
    // The same server, which had lost the trust alone.
    line.tell(&format!("hello-answer/0 {HELLO}"), "8/0 | 0/0 #4");
    line.call(72, "10/1", "");
    line.tell("11/2 s3 #3", "");
    line.tell(&format!("1/0 #4 \"{}\"", seed(2)), &format!("0/1 #4 \"{}\"", key(&seed(2))));
    line.tell("1/1 #4 true", "ready | 10/1 #5");
}

#[test]
fn a_handlers_own_status_3_is_no_restart() {
    let mut line = trusted_client();
    line.call(70, "10/1", "10/1 #2");
    line.tell(r#"11/1 s3 #2 {"error":"not you"}"#, r#"call 70: s3 {"error":"not you"}"#);
    line.call(71, "10/1", "10/1 #3");
}

#[test]
fn an_authentication_without_an_answer_begins_again() {
    let mut line = client(config(Role::Client).secret());
    line.is(AuthState::SeedRequested);
    line.wait(2 * SECOND, "0/0 #2");
    line.tell(&format!("1/0 #2 \"{}\"", seed(2)), &format!("0/1 #2 \"{}\"", key(&seed(2))));
    line.wait(4 * SECOND, "0/0 #3");
    line.tell(&format!("1/0 #3 \"{}\"", seed(3)), &format!("0/1 #3 \"{}\"", key(&seed(3))));
    line.tell("1/1 #3 true", "ready");
    line.wait(3600 * SECOND, "");
}

#[test]
fn a_seed_is_not_asked_for_again_while_the_last_request_has_yet_to_leave() {
    let mut line = client(config(Role::Client).secret());
    line.stalled = true;
    line.wait(25 * SECOND, "");
    line.stalled = false;
    line.check("0/0 #2");
    line.tell(&format!("1/0 #2 \"{}\"", seed(2)), &format!("0/1 #2 \"{}\"", key(&seed(2))));
}

#[test]
fn answers_to_an_attempt_that_was_given_up_are_not_taken() {
    let mut line = client(config(Role::Client).secret());
    line.wait(2 * SECOND, "0/0 #2");
    line.tell(&format!("1/0 #1 \"{}\"", seed(1)), "");
    line.tell(&format!("1/0 \"{}\"", seed(1)), "");
    line.tell(&format!("1/0 #2 \"{}\"", seed(2)), &format!("0/1 #2 \"{}\"", key(&seed(2))));
    line.tell("1/1 #1 false", "");
    line.tell("1/1 #2 true", "ready");
}

#[test]
fn a_key_is_refused_twice_before_it_is_wrong() {
    let mut line = client(config(Role::Client).secret());
    line.tell(&format!("1/0 #1 \"{}\"", seed(1)), &format!("0/1 #1 \"{}\"", key(&seed(1))));
    line.tell("1/1 #1 false", "0/0 #2");
    line.tell(&format!("1/0 #2 \"{}\"", seed(3)), &format!("0/1 #2 \"{}\"", key(&seed(3))));
    line.tell("1/1 #2 false", "end: the secret is wrong");
}

#[test]
fn a_login_by_hand_waits_until_somebody_is_there() {
    let config = Config { auto_auth: false, ..config(Role::Client).serial().secret() };
    let mut line = Line::open(config, &hello());
    line.authenticate(70, "");
    line.tell(&format!("hello/0 {HELLO}"), &format!("ready | {} | 8/0 | 0/0 #1", hello_answer()));
    line.tell(&format!("1/0 #1 \"{}\"", seed(1)), &format!("0/1 #1 \"{}\"", key(&seed(1))));
    line.tell("1/1 #1 true", "call 70: trusted");
}

#[test]
fn an_old_server_is_asked_for_a_seed_until_it_is_there() {
    let config = Config { hello: false, ..config(Role::Client).serial().secret() };
    let mut line = Line::open(config, "8/0 | 0/0");
    line.wait(2 * SECOND, "0/0");
    line.wait(4 * SECOND, "0/0");
    for seconds in [8, 16, 32, 32, 32] {
        line.wait(seconds * SECOND - MILLISECOND, "");
        line.wait(MILLISECOND, "0/0");
    }
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    line.tell("1/1 true", "ready");
}

#[test]
fn an_old_peer_is_not_said_hello() {
    for role in [Role::Client, Role::Server] {
        let config = Config { hello: false, ..config(role).serial() };
        let mut line = Line::new(config);
        let begun = if role == Role::Client { "ready | 8/0" } else { "" };
        line.check(begun);
        line.wait(60 * SECOND, "");
    }
}

#[test]
fn a_server_waits_for_its_client_for_ever() {
    let mut line = server(config(Role::Server).secret());
    line.wait(3600 * SECOND, "");
    line.tell("10/1 #1", "11/1 s3 #1");
    line.wait(3600 * SECOND, "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.wait(3600 * SECOND, "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(2)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(2))), "ready | 1/1 true");
}

#[test]
fn a_megabyte_of_noise_is_no_end() {
    for secret in [false, true] {
        let config = Config { secret, ..config(Role::Server).serial() };
        let mut line = Line::open(config, &hello());
        let mut state = 1_u32;
        for _ in 0..256 {
            let noise: Vec<u8> = (0..4096)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Every eighth byte belongs to the framing.
                    *b":<:>:=:{".get((state >> 16) as usize % 64).unwrap_or(&(state >> 24).to_le_bytes()[0])
                })
                .collect();
            line.tell_bytes(&noise, "");
        }
        // Ends what the noise has begun.
        line.tell_bytes(b"::", "");
        let ready = if secret { "" } else { "ready | " };
        line.tell(&format!("hello/0 {HELLO}"), &format!("{ready}{}", hello_answer()));
    }
}

#[test]
fn ids_go_on_where_the_next_line_is_the_same_wire() {
    let mut line = client(config(Role::Client));
    line.call(70, "10/1", "10/1 #1");
    line.session.close(CloseReason::Transport("the serial port is gone".into()));
    line.check("call 70: lost | end: the serial port is gone");
    line.session.reopen(line.now);
    line.end_told = false;
    line.check(&hello());
    line.call(71, "10/1", "");
    line.tell(&format!("hello-answer/0 {HELLO}"), "ready | 8/0 | 10/1 #2");
    line.tell("11/1 #1 5", "");
    line.tell("11/1 #2 6", "call 71: 6");
}

#[test]
fn without_ids_an_answer_of_the_line_before_reaches_no_other_call() {
    let mut line = Line::open(Config { hello: false, ..config(Role::Client).serial() }, "ready | 8/0");
    line.call(70, "10/1", "10/1");
    line.session.close(CloseReason::Peer);
    line.check("call 70: lost | end: closed by the peer");
    line.session.reopen(line.now);
    line.end_told = false;
    line.check("ready | 8/0");
    line.call(71, "10/1", "");
    line.tell("11/1 5", "10/1");
    line.tell("11/1 6", "call 71: 6");
}
