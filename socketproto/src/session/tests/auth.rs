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

#[test]
fn a_client_proves_the_secret_and_a_server_judges() {
    let mut line = Line::server(config(Role::Server).secret());
    line.is(AuthState::Untrusted);
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.is(AuthState::SeedTransferred);
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "ready | 1/1 true");
    line.is(AuthState::Trusted);

    let mut line = Line::client(config(Role::Client).secret());
    line.is(AuthState::SeedRequested);
    line.asks_held = true;
    line.tell(&format!("1/0 \"{}\"", seed(1)), "ask prove");
    line.is(AuthState::SeedTransferred);
    line.answer(AuthAnswer::Key("ab".into()), "0/1 \"ab\"");
    line.is(AuthState::KeyTransferred);
    line.tell("1/1 true", "ready");
    line.is(AuthState::Trusted);
}

/// What a peer may send to a server, for the table of all sequences.
#[derive(Clone, Copy, Debug)]
enum Input {
    Seed,
    RightKey,
    WrongKey,
    /// The key of the seed before the last.
    PreviousKey,
    MalformedKey,
    Read,
}

const INPUTS: [Input; 6] =
    [Input::Seed, Input::RightKey, Input::WrongKey, Input::PreviousKey, Input::MalformedKey, Input::Read];

/// What section 5.1 says of a server, in a few words.
#[derive(Default)]
struct Model {
    seeds: u64,
    open: bool,
    trusted: bool,
    reads: u64,
    /// The answers to authentication.
    auth: Vec<String>,
    /// The answers to reads.
    read: Vec<String>,
}

impl Model {
    /// The message of an input.
    fn text(&self, input: Input) -> String {
        match input {
            Input::Seed => "0/0".to_owned(),
            Input::RightKey => format!("0/1 \"{}\"", key(&seed(self.seeds))),
            Input::WrongKey => format!("0/1 \"{}\"", "ab".repeat(64)),
            Input::PreviousKey => format!("0/1 \"{}\"", key(&seed(self.seeds.wrapping_sub(1)))),
            Input::MalformedKey => {
                ["0/1", "0/1 5", "0/1 \"xy\"", "0/1 true", "0/1 [\"\"]"][self.auth.len() % 5].to_owned()
            }
            Input::Read => "10/1".to_owned(),
        }
    }

    /// What becomes of an input; true where a handler runs.
    fn step(&mut self, input: Input) -> bool {
        match input {
            Input::Seed => {
                self.seeds += 1;
                self.open = true;
                self.auth.push(format!("1/0 \"{}\"", seed(self.seeds)));
            }
            Input::Read => {
                self.reads += 1;
                self.read.push(if self.trusted { "11/1 5" } else { "11/1 s3" }.to_owned());
                return self.trusted;
            }
            key => {
                let right = self.open && matches!(key, Input::RightKey);
                if self.open {
                    self.trusted = right;
                }
                self.open = false;
                self.auth.push(format!("1/1 {right}"));
            }
        }
        false
    }

    fn state(&self) -> AuthState {
        match (self.trusted, self.open) {
            (true, _) => AuthState::Trusted,
            (false, true) => AuthState::SeedTransferred,
            (false, false) => AuthState::Untrusted,
        }
    }
}

/// The sequences of five inputs, and of fewer as their beginnings.
fn sequences() -> impl Iterator<Item = [Input; 5]> {
    (0..INPUTS.len().pow(5)).map(|number| {
        std::array::from_fn(|at| INPUTS[number / INPUTS.len().pow(u32::try_from(at).unwrap()) % INPUTS.len()])
    })
}

#[test]
fn a_peer_is_trusted_as_the_last_judged_key_says_and_each_request_is_answered_once() {
    for sequence in sequences() {
        let mut line = Line::server(config(Role::Server).secret());
        let mut model = Model::default();
        for input in sequence {
            line.transmit(&message(&model.text(input)));
            let (auth, read) = (model.auth.len(), model.read.len());
            let runs = model.step(input);
            let mut log = line.drive();
            log.retain(|entry| entry != "ready");
            if runs {
                assert_eq!(log, [format!("run {}: 10/1", model.reads)], "{sequence:?}");
                line.session.handle_reply(model.reads, Status::OKAY, "5", line.now);
                log = line.drive();
            }
            assert_eq!(log, [&model.auth[auth..], &model.read[read..]].concat(), "{sequence:?}");
            assert_eq!(line.session.auth_state(), model.state(), "{sequence:?}");
        }
    }
}

#[test]
fn messages_that_arrive_together_are_judged_as_one_after_the_other() {
    for sequence in sequences() {
        let mut line = Line::server(config(Role::Server).secret());
        let mut model = Model::default();
        let mut runs = Vec::new();
        for input in sequence {
            line.transmit(&message(&model.text(input)));
            if model.step(input) {
                runs.push(model.reads);
            }
        }
        let mut log = line.drive();
        for request in &runs {
            line.session.handle_reply(*request, Status::OKAY, "5", line.now);
        }
        log.extend(line.drive());
        let all =
            |start: &str| log.iter().filter(|entry| entry.starts_with(start)).cloned().collect::<Vec<_>>();
        assert_eq!(all("1/"), model.auth, "{sequence:?}");
        assert_eq!(all("11/"), model.read, "{sequence:?}");
        let expected: Vec<_> = runs.iter().map(|request| format!("run {request}: 10/1")).collect();
        assert_eq!(all("run"), expected, "{sequence:?}");
        assert_eq!(line.session.auth_state(), model.state(), "{sequence:?}");
    }
}

#[test]
fn frames_behind_a_key_wait_for_its_verdict() {
    for (right, behind) in [(true, "ready | run 1: 10/1 | 1/1 true"), (false, "1/1 false | 11/1 s3")] {
        let mut line = Line::server(config(Role::Server).secret());
        line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
        line.asks_held = true;
        line.tell_all(&["0/1 \"\"", "10/1"], "ask verify");
        line.tell("50/1", "");
        assert!(!line.session.wants_input());
        let behind = if right { behind.replace("10/1 |", "10/1 | run 2: 50/1 |") } else { behind.to_owned() };
        line.answer(AuthAnswer::Verdict(right), &behind);
    }
}

#[test]
fn a_seed_that_cannot_be_made_is_status_2() {
    let mut line = Line::server(config(Role::Server).secret());
    line.tell("0/0", &format!("1/0 \"{}\"", seed(1)));
    line.asks_held = true;
    line.tell_all(&["0/0", "10/1"], "ask seed");
    line.answer(AuthAnswer::Seed(None), "1/0 s2 | 11/1 s3");
    // The seed before it is dead all the same.
    line.tell(&format!("0/1 \"{}\"", key(&seed(1))), "1/1 false");
}

#[test]
fn without_a_secret_authentication_is_not_permitted_and_the_connection_lives() {
    let mut line = Line::server(config(Role::Server));
    line.tell("0/0", "1/0 s6");
    line.tell("0/1 \"ab\"", "1/1 s6");
    line.tell("0/2 {}", "1/2 s6");
    line.tell("0/0 #7", "1/0 s6 #7");
    line.tell("10/1", "run 5: 10/1");
}

#[test]
fn authentication_has_no_other_data() {
    let mut line = Line::server(config(Role::Server).secret());
    line.tell("0/3 {}", "1/3 s4");
    line.tell("0/77", "1/77 s4");
    line.is(AuthState::Untrusted);
}

#[test]
fn the_connecting_side_is_not_asked_and_the_accepting_side_not_answered() {
    for client in [config(Role::Client), config(Role::Client).secret()] {
        let mut line = Line::client(client);
        for (request, answer) in [("0/0", "1/0 s6"), ("0/1 \"ab\"", "1/1 s6"), ("0/2", "1/2 s6")] {
            line.tell(request, answer);
        }
    }
    for mut line in [
        Line::server(config(Role::Server)),
        Line::server(config(Role::Server).secret()),
        Line::trusted_server(config(Role::Server)),
    ] {
        let state = line.session.auth_state();
        for answer in ["1/0", "1/1 true", "1/0 s6", "1/1 false", "1/2"] {
            line.tell(answer, "");
        }
        line.is(state);
        assert_eq!(line.session.counters.unhandled, 5);
    }
}

/// What becomes of a client that gets these answers to (0, 0).
#[track_caller]
fn client(answers: &[&str], expected: &str) {
    let mut line = Line::client(config(Role::Client).secret());
    let mut log = Vec::new();
    for answer in answers {
        line.transmit(&message(answer));
        log.extend(line.drive());
    }
    assert_eq!(log.join(" | "), expected);
    let trusted = expected.ends_with("ready");
    line.is(if trusted { AuthState::Trusted } else { AuthState::Untrusted });
}

#[test]
fn a_client_takes_64_hex_digits_for_a_seed_as_they_came() {
    let upper = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let proof = format!("0/1 \"{}\" | ready", key(upper));
    client(&[&format!("1/0 \"{upper}\""), "1/1 true"], &proof);
    for bad in [&upper[1..], &format!("{upper}0"), &format!("g{}", &upper[1..]), ""] {
        client(&[&format!("1/0 \"{bad}\"")], "end: the server's seed is not 64 hex digits");
    }
    for bad in ["1/0", "1/0 5", "1/0 true", "1/0 []"] {
        client(&[bad], "end: the server's seed is not 64 hex digits");
    }
}

#[test]
fn a_client_takes_json_true_alone_for_a_yes() {
    let sent = format!("1/0 \"{}\"", seed(1));
    let proof = format!("0/1 \"{}\"", key(&seed(1)));
    client(&[&sent, "1/1 true"], &format!("{proof} | ready"));
    for no in ["false", "1", "\"true\"", "[true]", "{\"true\":true}", "null"] {
        client(&[&sent, &format!("1/1 {no}")], &format!("{proof} | end: the secret is wrong"));
    }
}

#[test]
fn another_status_ends_the_attempt_of_a_client() {
    let sent = format!("1/0 \"{}\"", seed(1));
    let proof = format!("0/1 \"{}\"", key(&seed(1)));
    let no_secret = "end: the server has no secret, or does not take this kind of login";
    client(&["1/0 s6"], no_secret);
    client(&[&sent, "1/1 s6 true"], &format!("{proof} | {no_secret}"));
    for status in [1, 2, 3, 4, 5, 7] {
        let refused = "end: the server refused the authentication";
        client(&[&format!("1/0 s{status} \"{}\"", seed(1))], refused);
        client(&[&sent, &format!("1/1 s{status} true")], &format!("{proof} | {refused}"));
    }
}

#[test]
fn a_client_takes_answers_in_their_order_alone() {
    let sent = format!("1/0 \"{}\"", seed(1));
    let mut line = Line::client(config(Role::Client).secret());
    for early in ["1/1 true", "1/1 s6", "1/7 s6", "1/2 s4"] {
        line.tell(early, "");
    }
    line.is(AuthState::SeedRequested);
    line.tell(&sent, &format!("0/1 \"{}\"", key(&seed(1))));
    for late in [&format!("1/0 \"{}\"", seed(2)), "1/0 s6", "1/7 s6"] {
        line.tell(late, "");
    }
    line.is(AuthState::KeyTransferred);
    line.tell("1/1 true", "ready");
}

#[test]
fn a_client_waits_2_s_for_the_whole_exchange() {
    let end = "end: the server did not answer the authentication within 2 s";
    let mut line = Line::client(config(Role::Client).secret());
    line.wait(2 * SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, end);

    let mut line = Line::client(config(Role::Client).secret());
    line.wait(SECOND, "");
    line.tell(&format!("1/0 \"{}\"", seed(1)), &format!("0/1 \"{}\"", key(&seed(1))));
    line.wait(SECOND - MILLISECOND, "");
    line.wait(MILLISECOND, end);

    let mut line = trusted_client();
    line.wait(60 * SECOND, "");
}

#[test]
fn a_key_that_comes_after_the_attempt_is_not_sent() {
    let mut line = Line::client(config(Role::Client).secret());
    line.asks_held = true;
    line.tell(&format!("1/0 \"{}\"", seed(1)), "ask prove");
    line.wait(2 * SECOND, "end: the server did not answer the authentication within 2 s");
    line.answer(AuthAnswer::Key("ab".into()), "");
}

#[test]
fn a_certificate_is_taken_for_the_secret_where_that_is_said() {
    let now = Instant::now();
    for (trust, state) in [(true, AuthState::Trusted), (false, AuthState::Untrusted)] {
        let config = Config { trust_certificates: trust, ..config(Role::Server).secret() };
        let mut session = Session::new(config, now);
        session.handle_certificate(now);
        assert_eq!(session.auth_state(), state);
        // Nor is it waited for any more that it proves the secret.
        session.handle_timeout(now + 9 * SECOND);
        assert_eq!(session.close_reason(), None);
        let mut input = BytesMut::from(&b":"[..]);
        session.handle_input(&mut input, now + 9 * SECOND);
        session.handle_timeout(now + 61 * SECOND);
        let timed_out = matches!(session.close_reason(), Some(CloseReason::TrustTimeout { .. }));
        assert_eq!(timed_out, !trust);
    }
}
