//! What becomes of calls and of what waits, where a session takes the place of another: with the same peer, and with one
//! that has restarted.

use super::*;

#[test]
fn behind_a_lost_record_another_session_takes_its_place_and_nobody_notices() {
    for side in 0..2 {
        let mut line = met();
        let now = line.now;
        line.end(side).call("\"lost\"", now);
        line.lose(side);
        // The next one does not open, and is lost with it.
        line.end(side).call("\"late\"", now);
        let sent = line.watch();
        let said: Vec<_> = sent
            .iter()
            .flat_map(|(from, bytes)| read(bytes).into_iter().map(move |said| (*from, said)))
            .collect();
        let offered = said.iter().position(|(from, said)| *from == 0 && said == "0/2 s0");
        let hint = said.iter().position(|(from, said)| *from == 1 && said == "1/2 s3");
        assert_eq!(hint.is_some(), side == 0, "a server asks for it, a client does it");
        assert!(offered.is_some() && hint < offered, "{said:?}");
        line.told(&[], &[]);
        line.works();
        line.wait(10 * SECOND);
        let calls = ["call 1: timed out", "call 1: timed out"];
        let none: [&str; 0] = [];
        if side == 0 {
            line.told(&calls, &none);
        } else {
            line.told(&none, &calls);
        }
        line.works();
    }
}

#[test]
fn what_waits_is_kept_for_the_next_session_and_a_frame_that_has_begun_is_sent_whole() {
    let large = format!("\"{}\"", "x".repeat(20_000));
    for side in 0..2 {
        let mut line = met();
        let now = line.now;
        line.end(side).call(&large, now);
        line.end(side).call("\"behind\"", now);
        // The first record is lost, so the second does not open; the rest has yet to be sealed.
        let mut sizes = Vec::new();
        for arrives in [false, true] {
            let record = line.end(side).session.poll_transmit().to_vec();
            sizes.extend(read(&record));
            line.end(side).session.handle_sent(record.len(), now);
            if arrives {
                line.end(1 - side).input.extend_from_slice(&record);
            }
        }
        assert_eq!(sizes, ["record of 1040"; 2]);
        let answer = line.end(1 - side).turn(now);
        if side == 0 {
            assert_eq!(read(&answer), ["1/2 s3"]);
            line.client.input.extend_from_slice(&answer);
        } else {
            assert_eq!(read(&answer), ["0/2 s0"]);
            line.server.input.extend_from_slice(&answer);
        }
        line.honest();
        let ran = [format!("run {large}"), "run \"behind\"".to_owned()];
        let answered = [format!("call 1: {large}"), "call 1: \"behind\"".to_owned()];
        assert!(line.end(1 - side).told == ran, "once, and in order");
        assert!(line.end(side).told == answered);
        line.works();
    }
}

#[test]
fn a_message_is_sent_when_it_has_left_in_the_session_that_carries_it_whole() {
    // Wherever in a record it ends.
    (2_000..3_000).step_by(50).for_each(sent_once_it_has_left);
}

fn sent_once_it_has_left(length: usize) {
    let mut line = met();
    let data = format!("\"{}\"", "x".repeat(length));
    let kind = CallKind::Send { status: Status::OKAY };
    for call in [8, 9] {
        let new = NewCall { kind, data: data.clone().into(), ..new_call(call, "50/1", 100 * SECOND) };
        line.client.session.handle_call(new, line.now);
    }
    let record = line.client.session.poll_transmit().len();
    line.client.session.handle_sent(record, line.now);
    line.say(0, "1/2 s3");
    let offer = line.client.turn(line.now);
    assert_eq!(read(&offer), ["0/2 s0"]);
    line.server.input.extend_from_slice(&offer);
    let answer = line.server.turn(line.now);
    line.client.input.extend_from_slice(&answer);
    line.client.session.handle_input(&mut line.client.input, line.now);
    // Its own first record, HELLO, and both messages; the server says who it is in between.
    let mut told = Vec::new();
    for _ in 0..100 {
        let bytes = line.client.session.poll_transmit().to_vec();
        line.client.session.handle_sent(bytes.len(), line.now);
        line.server.input.extend_from_slice(&bytes);
        let answer = line.server.turn(line.now);
        line.client.input.extend_from_slice(&answer);
        line.client.session.handle_input(&mut line.client.input, line.now);
        while let Some(event) = line.client.session.poll_event() {
            let runs = line.server.told.iter().filter(|told| told.starts_with("run")).count();
            told.push((show_event(event), runs));
        }
    }
    let sent = [("call 8: sent".to_owned(), 1), ("call 9: sent".to_owned(), 2)];
    assert_eq!(told, sent, "{length} characters");
}

#[test]
fn a_restarted_server_gets_nothing_that_was_meant_for_the_one_before() {
    let mut line = met();
    line.client.call("\"before\"", line.now);
    line.lose(0);
    // Another process, which knows no session.
    let mut server = End::new(config(Role::Server).secure().serial(), line.now);
    server.session.config.session = "00000000000000cc".into();
    server.authenticator.handshakes = 50;
    line.server = server;
    line.client.call("\"waits\"", line.now);
    let record = line.client.turn(line.now);
    line.server.input.extend_from_slice(&record);
    let hint = line.server.turn(line.now);
    assert_eq!(read(&hint), ["1/2 s3"]);
    line.client.input.extend_from_slice(&hint);
    let offer = line.client.turn(line.now);
    assert_eq!(read(&offer), ["0/2 s0"]);
    // It waits for the answer.
    line.client.call("\"set aside\"", line.now);
    line.server.input.extend_from_slice(&offer);
    let answer = line.server.turn(line.now);
    line.client.input.extend_from_slice(&answer);
    let hello = line.client.turn(line.now);
    line.client.call("\"in between\"", line.now);
    assert_eq!(line.client.turn(line.now), b"");
    line.server.input.extend_from_slice(&hello);
    line.honest();
    let calls = ["call 1: lost"; 4];
    line.told(&[&calls[..], &["end: the peer has restarted", "ready"]].concat(), &["ready"]);
    line.works();
}

#[test]
fn what_has_been_sealed_leaves_also_where_the_peer_turns_out_to_be_another() {
    let mut line = met();
    let mut server = End::new(config(Role::Server).secure().serial(), line.now);
    server.session.config.session = "00000000000000cc".into();
    server.authenticator.handshakes = 50;
    line.server = server;
    line.say(0, "1/2 s3");
    let now = line.now;
    for _ in 0..2 {
        let bytes = line.client.turn(now);
        line.server.input.extend_from_slice(&bytes);
        let bytes = line.server.turn(now);
        line.client.input.extend_from_slice(&bytes);
    }
    // HELLO has been answered; it is said again before the answer is there.
    let answer = line.client.input.split();
    line.now += 2 * SECOND;
    line.client.session.handle_timeout(line.now);
    let hello = line.client.session.poll_transmit()[..3].to_vec();
    line.client.session.handle_sent(3, line.now);
    line.server.input.extend_from_slice(&hello);
    line.client.input.extend_from_slice(&answer);
    line.honest();
    line.told(&["end: the peer has restarted", "ready"], &["ready"]);
    assert_eq!(line.server.session.counters.unopened, 0);
    line.works();
}

#[test]
fn a_restarted_client_is_another_to_its_server() {
    let mut line = met();
    line.server.call("\"before\"", line.now);
    line.lose(1);
    let mut client = End::new(config(Role::Client).secure().serial(), line.now);
    client.session.config.session = "00000000000000cc".into();
    client.authenticator.handshakes = 50;
    line.client = client;
    line.honest();
    line.told(&["ready"], &["call 1: lost", "end: the peer has restarted", "ready"]);
    line.works();
}

#[test]
fn a_peer_that_says_goodbye_is_gone_and_the_line_stays() {
    let mut line = met();
    line.server.call("1", line.now);
    let question = line.server.turn(line.now);
    line.client.session.close(CloseReason::Local);
    line.client.input.extend_from_slice(&question);
    let farewell = line.client.turn(line.now);
    line.server.input.extend_from_slice(&farewell);
    assert_eq!(line.server.turn(line.now), b"", "it waits for an offer");
    assert_eq!(line.server.told, ["call 1: lost", "end: closed by the peer"]);
    assert_eq!(line.server.session.level(), None);

    let mut line = met();
    line.server.session.close(CloseReason::MemoryExceeded { held: 2, limit: 1 });
    let farewell = line.server.turn(line.now);
    line.client.input.extend_from_slice(&farewell);
    assert_eq!(read(&line.client.turn(line.now)), ["0/2 s0"], "it looks for the next one");
    assert!(line.client.told[0].starts_with("end: closed by the peer: all connections together"));
}

#[test]
fn who_was_met_in_clear_is_not_who_proves_the_secret() {
    let mut line = Line2::new(|config| config.serial().public());
    line.lose(0);
    line.say(1, &format!("hello/0 {}", HELLO.replace("bb", "cc")));
    line.say(1, "10/9 #1 5");
    line.say(1, "10/1 #2 5");
    let answers = line.server.turn(line.now);
    assert_eq!(read(&answers), ["4294901761/0 s0", "11/1 s3", "11/9 s0"]);
    assert_eq!(line.server.told, ["run 5"]);
    line.forget();
    line.wait(SECOND);
    line.told(&["ready"], &["end: the peer has restarted", "ready"]);
    line.works();
}

#[test]
fn where_legacy_is_taken_too_secure_mode_takes_its_place_and_keeps_it() {
    let mut line = Line2::new(|config| Config { legacy: config.role == Role::Server, ..config.serial() });
    line.lose(0);
    assert_eq!(read(&line.server.turn(line.now)), ["4294901760/0 s0"], "an old one may be there");
    line.say(1, "0/0");
    line.server.turn(line.now);
    line.say(1, &format!("0/1 \"{}\"", key(&seed(1))));
    line.server.turn(line.now);
    assert_eq!(line.server.session.level(), Some(Level::Legacy));
    line.say(1, "10/1 5");
    line.server.turn(line.now);
    line.told(&[], &["run 5"]);
    line.wait(2 * SECOND);
    line.told(&["ready"], &["end: the peer has restarted", "ready"]);
    assert_eq!(line.server.session.level(), Some(Level::Secure));
    line.say(1, "10/1 5");
    line.say(1, "0/0");
    line.honest();
    line.told(&[], &[]);
    line.works();
}

#[test]
fn a_frame_that_is_too_large_is_dropped_and_the_next_one_found() {
    let mut line = Line2::new(|config| config.serial().limit(|limits| limits.max_frame = 2_000));
    line.honest();
    line.forget();
    line.client.session.agreement.max_frame = 100_000;
    let large = format!("\"{}\"", "x".repeat(20_000));
    line.client.call(&large, line.now);
    line.client.call("\"behind\"", line.now);
    line.honest();
    line.told(&["call 1: \"behind\""], &["run \"behind\""]);
    line.works();
}
