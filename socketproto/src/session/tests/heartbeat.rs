//! Heartbeats (protocol.md 7.3).

use super::*;

/// What a peer says of itself that can answer heartbeats.
const BEATING: &str = r#"{"session":"00000000000000bb","features":["message_id","heartbeat"],"max_frame":100000,"max_in_flight":2}"#;
/// What this side asks, and what a peer answers.
const PING: &str = r#"ping/0 {"session":"00000000000000aa"}"#;
const PONG: &str = r#"pong/0 {"session":"00000000000000bb"}"#;
const DEAD: &str =
    "end: the peer is silent: no byte came within heartbeat_timeout of 45s, though it was pinged";

const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(45);

/// How long this side waits, by the last two digits of `OURS`.
fn waits() -> Duration {
    INTERVAL + INTERVAL / (64 * 255) * 0xaa
}

fn server(config: Config) -> Line {
    let mut line = Line::new(config);
    line.transmit(&message(&format!("hello/0 {BEATING}")));
    line.drive();
    line
}

fn trusted_server(config: Config) -> Line {
    let mut line = server(config.secret());
    line.transmit(&message("0/0"));
    line.transmit(&message(&format!("0/1 \"{}\"", key(&seed(1)))));
    line.drive();
    line.is(AuthState::Trusted);
    line
}

fn client(config: Config) -> Line {
    let mut line = Line::new(config);
    line.transmit(&message(&format!("hello-answer/0 {BEATING}")));
    line.transmit(&message("9/0"));
    line.drive();
    line
}

/// Lines on which each side may ping.
fn lines() -> [Line; 3] {
    lines_of(|config| config)
}

/// The same where a frame may take as long as it likes.
fn patient_lines() -> [Line; 3] {
    lines_of(|config| config.limit(|limits| limits.frame_timeout = Duration::MAX))
}

fn lines_of(change: fn(Config) -> Config) -> [Line; 3] {
    let of = |role| change(config(role));
    [server(of(Role::Server)), trusted_server(of(Role::Server)), client(of(Role::Client))]
}

#[test]
fn a_silent_peer_is_asked_and_then_taken_for_dead() {
    for mut line in lines() {
        line.wait(waits() - MILLISECOND, "");
        line.wait(MILLISECOND, PING);
        line.wait(waits(), PING);
        line.wait(TIMEOUT - 2 * waits() - MILLISECOND, "");
        line.wait(MILLISECOND, DEAD);
        assert_eq!(line.session.poll_timeout(), None);
    }
}

#[test]
fn a_peer_that_answers_is_asked_for_ever() {
    for mut line in lines() {
        for _ in 0..100 {
            line.wait(waits(), PING);
            line.wait(SECOND, "");
            line.tell(PONG, "");
        }
        line.wait(TIMEOUT - MILLISECOND, &[PING; 2].join(" | "));
        line.wait(MILLISECOND, DEAD);
    }
}

#[test]
fn the_settings_say_when() {
    let mut config = config(Role::Server);
    config = config.limit(|limits| limits.heartbeat_interval = SECOND / 100);
    let mut line = server(config.clone().limit(|limits| limits.heartbeat_timeout = SECOND / 50));
    line.wait(SECOND / 50 - SECOND / 10_000, PING);
    line.wait(SECOND / 10_000, &DEAD.replace("45s", "20ms"));
    let never = config.limit(|limits| {
        (limits.heartbeat_interval, limits.heartbeat_timeout) = (Duration::MAX, Duration::MAX);
    });
    server(never).wait(1_000_000 * SECOND, "");
}

#[test]
fn who_speaks_is_not_asked() {
    for mut line in lines() {
        for _ in 0..100 {
            line.wait(waits() - MILLISECOND, "");
            line.tell("10/7", "11/7 s4");
        }
    }
}

#[test]
fn every_byte_is_a_sign_of_life_also_of_a_frame_that_takes_long() {
    for mut line in patient_lines() {
        line.tell_bytes(&90_000_u32.to_be_bytes(), "");
        for _ in 0..100 {
            let log = line.pass(TIMEOUT - SECOND);
            assert!(log.iter().all(|entry| entry == PING), "{log:?}");
            line.tell_bytes(b"x", "");
        }
        // What is there already is none, however often it is looked at.
        let last = line.now;
        while line.session.close_reason().is_none() {
            line.pass(SECOND / 8);
            assert!(line.now - last <= TIMEOUT);
        }
        assert_eq!(line.now - last, TIMEOUT);
    }
}

#[test]
fn who_only_listens_shows_that_it_is_there() {
    for mut line in patient_lines() {
        line.wait(waits() - 2 * SECOND, "");
        line.tell("41/7", "");
        line.wait(waits() - 2 * SECOND, "");
        line.tell_bytes(&90_000_u32.to_be_bytes(), "");
        line.wait(2 * SECOND - MILLISECOND, "");
        // The other side may ask behind the frame that it sends.
        line.wait(MILLISECOND, PING);
        for _ in 0..4 {
            line.wait(SECOND, "");
            line.tell_bytes(b"x", "");
            line.wait(waits() - SECOND, PING);
        }
        // Nothing is asked between frames.
        let mut line = server(config(Role::Server));
        for _ in 0..10 {
            line.wait(waits() - MILLISECOND, "");
            line.tell("41/7", "");
        }
    }
}

#[test]
fn only_a_peer_that_said_so_is_asked() {
    Line::server(config(Role::Server)).wait(1000 * SECOND, "");
    Line::client(config(Role::Client)).wait(1000 * SECOND, "");
    let mut line = Line::new(config(Role::Client).old_peer());
    line.drive();
    line.tell("9/0", "");
    line.wait(1000 * SECOND, "");
}

#[test]
fn nobody_is_asked_before_this_side_may_send() {
    // Public data keep the line open.
    let mut line = server(config(Role::Server).secret().public());
    for _ in 0..10 {
        line.wait(50 * SECOND, "");
        line.tell("10/7", "11/7 s3");
        line.session.restart_trust(line.now);
    }
    let mut manual = config(Role::Client).secret();
    manual.auto_auth = false;
    client(manual).wait(1000 * SECOND, "");
}

#[test]
fn whoever_asks_is_answered() {
    let ask = r#"ping/0 {"session":"00000000000000bb"}"#;
    let answer = r#"pong/0 {"session":"00000000000000aa"}"#;
    let lines = lines().into_iter().chain([
        Line::new(config(Role::Server)),
        Line::server(config(Role::Server)),
        Line::client(config(Role::Client)),
    ]);
    for mut line in lines {
        line.transmit(&message("11/7"));
        line.drive();
        line.tell(ask, answer);
        line.tell(&ask.replace("0 {", "0 #7 {"), &answer.replace("0 {", "0 #7 {"));
        line.tell(&ask.replace("ping/0", "ping/1"), "pong/1 s4");
        for odd in ["null", "[]", "{}", r#"{"session":5}"#, r#""00000000000000bb""#] {
            line.transmit(&message(&format!("ping/0 {odd}")));
            let log = line.drive().join(" | ");
            assert!(log.starts_with(r#"pong/0 s2 {"error":"#), "{log}");
        }
        line.tell(
            r#"ping/0 {"session":"00000000000000aa"}"#,
            "end: the line echoes: the peer's HELLO is our own",
        );
    }
    let mut line = Line::server(config(Role::Server).secret());
    line.tell(ask, "pong/0 s3");
    line.tell(r#"ping/0 {"session":"00000000000000aa"}"#, "pong/0 s3");
}

#[test]
fn answers_of_whatever_kind_do_no_harm() {
    for mut line in lines() {
        for odd in ["null", "5", r#"{"session":"00000000000000aa"}"#, r#"{"session":"00000000000000ff"}"#] {
            for head in ["pong/0", "pong/0 s4", "pong/3", "pong/0 #9"] {
                line.tell(&format!("{head} {odd}"), "");
            }
        }
        assert_eq!(line.session.counters.malformed, 0);
    }
}

#[test]
fn a_peer_is_given_its_time_once_the_question_has_left() {
    for mut line in lines() {
        let large = format!("10/1 \"{}\"", "x".repeat(9_000));
        line.stalled = true;
        line.session.handle_call(new_call(70, &large, 1000 * SECOND), line.now);
        line.drive();
        // It takes 200 s; the question waits behind it.
        let size = line.session.poll_transmit().len();
        for _ in 0..20 {
            line.wait(10 * SECOND, "");
            line.session.handle_sent(size / 20, line.now);
        }
        let rest = line.session.poll_transmit().len();
        line.session.handle_sent(rest, line.now);
        let left = line.now;
        line.deframer = Deframer::new(Framing::Length, Limits::MAX_MAX_FRAME);
        line.stalled = false;
        while line.session.close_reason().is_none() {
            line.pass(MILLISECOND);
            assert!(line.now - left < TIMEOUT);
        }
        assert!(matches!(line.session.close_reason(), Some(CloseReason::HeartbeatTimeout(_))));
        let given = line.now - left;
        assert!(given >= TIMEOUT - waits() && given < TIMEOUT - waits() + SECOND, "{given:?}");
    }
}

#[test]
fn where_nothing_leaves_it_is_a_slow_reader() {
    let mut line = server(config(Role::Server));
    line.stalled = true;
    line.wait(waits() + 30 * SECOND, "end: slow reader: no byte could be sent within write_timeout of 30s");
}

#[test]
fn a_peer_that_is_left_unread_is_told_that_this_side_is_there_and_not_taken_for_dead() {
    for mut line in lines() {
        line.session.pause(true, line.now);
        line.transmit(&message("10/7"));
        for _ in 0..20 {
            line.wait(waits(), PING);
        }
        line.session.pause(false, line.now);
        line.check("11/7 s4");
        line.wait(TIMEOUT - SECOND, &[PING; 2].join(" | "));
        line.wait(SECOND, DEAD);
        // The same, where nothing has come meanwhile: it has some time for an answer.
        let mut line = server(config(Role::Server));
        line.session.pause(true, line.now);
        line.pass(1000 * SECOND);
        line.session.pause(false, line.now);
        let log = line.pass(TIMEOUT - INTERVAL - SECOND);
        assert!(log.iter().all(|entry| entry == PING), "{log:?}");
        assert_eq!(line.pass(TIMEOUT).last().map(String::as_str), Some(DEAD));
    }
}

#[test]
fn a_thread_that_was_held_up_reads_before_it_judges() {
    for answers in [false, true] {
        for mut line in lines() {
            line.wait(waits(), PING);
            // Nothing is looked at for a minute, and then a turn begins with the time.
            line.now += 60 * SECOND;
            line.session.handle_timeout(line.now);
            line.check("");
            if answers {
                line.tell(PONG, "");
                line.wait(waits() - MILLISECOND, "");
                line.wait(MILLISECOND, PING);
            } else {
                line.wait(SECOND - MILLISECOND, "");
                line.wait(MILLISECOND, DEAD);
            }
        }
    }
    // One that was held up before it could ask has to ask first.
    let mut line = server(config(Role::Server));
    line.now += 600 * SECOND;
    line.session.handle_timeout(line.now);
    line.check(PING);
    line.wait(TIMEOUT - waits() - MILLISECOND, PING);
    line.wait(MILLISECOND, DEAD);
}

#[test]
fn calls_that_wait_for_a_dead_peer_fail() {
    let mut line = client(config(Role::Client));
    line.session.handle_call(new_call(70, "10/1", 1000 * SECOND), line.now);
    line.check("10/1 #1");
    let log = line.pass(TIMEOUT).join(" | ");
    assert_eq!(log, format!("{PING} | {PING} | call 70: lost | {DEAD}"));
}

#[test]
fn nothing_is_kept_for_the_next_heartbeat() {
    let mut line = server(config(Role::Server));
    line.session.shrink();
    let before = (line.session.out.capacity(), line.session.events.capacity());
    for _ in 0..3 {
        line.wait(waits(), PING);
        line.tell(PONG, "");
        line.tell(r#"ping/0 {"session":"00000000000000bb"}"#, r#"pong/0 {"session":"00000000000000aa"}"#);
    }
    line.session.shrink();
    assert_eq!((line.session.out.capacity(), line.session.events.capacity()), before);
    assert_eq!(line.session.held(), 0);
}

// Lines without an end of connection (protocol.md section 4)

/// Two ends that have met on a serial line.
fn serial(role: Role, secret: bool) -> Line {
    let config = if secret { config(role).secret() } else { config(role) };
    let mut line = Line::new(config.serial());
    line.drive();
    let (hello, login) = match role {
        Role::Client => ("hello-answer", [format!("1/0 #1 \"{}\"", seed(1)), "1/1 #1 true".to_owned()]),
        Role::Server => ("hello", ["0/0".to_owned(), format!("0/1 \"{}\"", key(&seed(1)))]),
    };
    line.transmit(&message(&format!("{hello}/0 {BEATING}")));
    line.drive();
    for step in login.iter().filter(|_| secret) {
        line.transmit(&message(step));
        line.drive();
    }
    assert!(line.session.is_ready());
    line
}

const RESTARTED: &str = "end: the peer has restarted";

#[test]
fn on_a_serial_line_another_session_in_a_heartbeat_is_a_restart() {
    for role in [Role::Client, Role::Server] {
        for (secret, told) in [(false, "pong"), (true, "pong"), (false, "ping"), (true, "ping")] {
            let mut line = serial(role, secret);
            line.wait(waits(), PING);
            line.tell(
                &format!(r#"{told}/0 {{"session":"00000000000000bb"}}"#),
                match told {
                    "ping" => r#"pong/0 {"session":"00000000000000aa"}"#,
                    _ => "",
                },
            );
            line.call(70, "10/1", if secret && role == Role::Client { "10/1 #2" } else { "10/1 #1" });
            let news = format!(r#"{told}/0 {{"session":"00000000000000cc"}}"#);
            line.tell(&news, &format!("call 70: lost | {RESTARTED}"));
            line.session.reopen(line.now);
            line.end_told = false;
            let log = line.drive();
            assert_eq!(log[0], format!("hello/0 {OUR_HELLO}"));
            // The heartbeat that told of it is the first of what follows.
            let answer = match (told, secret) {
                ("ping", false) => vec![r#"pong/0 {"session":"00000000000000aa"}"#],
                ("ping", true) => vec!["pong/0 s3"],
                _ => vec![],
            };
            assert_eq!(log[1..], answer);
            assert!(!line.session.is_ready(), "features are forgotten");
        }
    }
}

#[test]
fn a_server_that_has_forgotten_its_client_says_so_to_a_heartbeat() {
    let mut line = serial(Role::Client, true);
    line.wait(waits(), PING);
    line.tell("pong/0 s3", RESTARTED);
    let mut line = serial(Role::Client, false);
    line.wait(waits(), PING);
    line.tell("pong/0 s3", "");
}

#[test]
fn a_serial_line_whose_other_end_falls_silent_begins_again() {
    for role in [Role::Client, Role::Server] {
        let mut line = serial(role, true);
        line.wait(TIMEOUT, &format!("{PING} | {PING} | {DEAD}"));
        assert!(line.session.begins_again());
        line.session.reopen(line.now);
        line.end_told = false;
        line.check(&format!("hello/0 {OUR_HELLO}"));
        let log = line.pass(60 * SECOND);
        assert!(log.iter().all(|entry| entry.starts_with("hello/0")), "{log:?}");
        assert_eq!(line.session.close_reason(), None);
    }
    let mut line = server(config(Role::Server));
    line.pass(TIMEOUT);
    assert!(line.session.close_reason().is_some() && !line.session.begins_again());
}

#[test]
fn on_a_serial_line_nobody_speaks_into_a_frame_that_comes() {
    let mut line = serial(Role::Server, false);
    line.input.extend_from_slice(b":<");
    for _ in 0..100 {
        line.wait(10 * SECOND, "");
        line.input.extend_from_slice(b"x");
        line.drive();
    }
}
