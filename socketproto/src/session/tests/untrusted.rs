//! What a peer may do before it is trusted, and how often it may guess (protocol.md section 8).

use super::*;

const TOO_MANY: &str = "end: more frames before authentication than untrusted_frames of 64";

/// Sends so many requests that the gate refuses.
fn refused(line: &mut Line, count: usize) {
    for _ in 0..count {
        line.tell("10/1", "11/1 s3");
    }
}

#[test]
fn before_trust_64_frames_are_taken_and_four_more_each_second() {
    let mut line = Line::new(config(Role::Server).secret());
    refused(&mut line, 64);
    line.tell("10/1", TOO_MANY);

    let mut line = Line::new(config(Role::Server).secret());
    refused(&mut line, 64);
    line.wait(Duration::from_millis(250), "");
    refused(&mut line, 1);
    line.wait(2 * SECOND, "");
    refused(&mut line, 8);
    line.tell("10/1", TOO_MANY);
}

#[test]
fn every_frame_counts_whatever_is_in_it() {
    let frames: [&dyn Fn(&mut Line); 3] =
        [&|line| line.transmit(&message("9/0")), &|line| line.tell_damaged("60/1", ""), &|line| {
            line.tell_frame(b"x", "");
        }];
    for send in frames {
        let mut line = Line::new(config(Role::Server).secret().limit(|limits| limits.untrusted_frames = 2));
        send(&mut line);
        send(&mut line);
        line.drive();
        line.tell("9/0", "end: more frames before authentication than untrusted_frames of 2");
    }
}

#[test]
fn trust_ends_the_count() {
    let mut line = Line::trusted_server(config(Role::Server));
    for request in 1..200 {
        line.tell("10/1", &format!("run {request}: 10/1"));
        line.reply(request, "1", "11/1 1");
    }
    let mut line = Line::server(config(Role::Server));
    for request in 1..200 {
        line.tell("10/1", &format!("run {request}: 10/1"));
        line.reply(request, "1", "11/1 1");
    }
}

#[test]
fn a_server_is_counted_by_its_client_but_for_the_answers_to_calls() {
    let manual = Config { auto_auth: false, ..config(Role::Client).secret().public() };
    let mut line = Line::client(manual);
    for call in 1..200 {
        line.call(call, "10/9", &format!("10/9 #{call}"));
        line.tell(&format!("11/9 #{call} 5"), &format!("call {call}: 5"));
    }
    // HELLO and the channel name have taken two.
    for _ in 0..62 {
        line.tell("10/1", "11/1 s3");
    }
    line.tell("10/1", TOO_MANY);
}

#[test]
fn a_serial_line_may_carry_more() {
    let serial = Config { lossy: true, serial: true, ..config(Role::Server).framing(Framing::Stp).secret() };
    let mut line = Line::new(serial);
    line.drive();
    refused(&mut line, 100);
}

/// A login with a wrong key; `attempt` counts from 1.
fn guess(line: &mut Line, attempt: u64, more: &str) {
    line.tell("0/0", &format!("1/0 \"{}\"", seed(attempt)));
    line.tell("0/1 \"00\"", &format!("1/1 false{more}"));
}

#[test]
fn with_the_third_wrong_key_the_connection_ends_and_each_is_told() {
    let mut line = Line::server(config(Role::Server).secret());
    guess(&mut line, 1, "");
    guess(&mut line, 2, "");
    assert_eq!(line.wrong_keys, 2);
    line.tell("0/0", &format!("1/0 \"{}\"", seed(3)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(3))), "ready | 1/1 true");
    line.is(AuthState::Trusted);

    let mut line = Line::server(config(Role::Server).secret());
    guess(&mut line, 1, "");
    guess(&mut line, 2, "");
    guess(&mut line, 3, " | end: as many wrong keys as wrong_keys of 3");
    assert_eq!(line.wrong_keys, 3, "also that of the last");
}

#[test]
fn a_success_in_between_forgives_nothing() {
    let mut line = Line::trusted_server(config(Role::Server));
    guess(&mut line, 2, "");
    guess(&mut line, 3, "");
    line.tell("0/0", &format!("1/0 \"{}\"", seed(4)));
    line.tell(&format!("0/1 \"{}\"", key(&seed(4))), "1/1 true");
    guess(&mut line, 5, " | end: as many wrong keys as wrong_keys of 3");
}

#[test]
fn a_key_without_a_seed_is_no_guess() {
    let mut line = Line::server(config(Role::Server).secret());
    for _ in 0..5 {
        line.tell("0/1 \"00\"", "1/1 false");
    }
    assert_eq!(line.wrong_keys, 0);
}

#[test]
fn wrong_keys_on_a_serial_line_are_counted_and_not_the_end() {
    let serial = Config { lossy: true, serial: true, ..config(Role::Server).framing(Framing::Stp).secret() };
    let mut line = Line::new(serial);
    line.drive();
    for attempt in 1..6 {
        guess(&mut line, attempt, "");
    }
    assert_eq!(line.wrong_keys, 5);
}
