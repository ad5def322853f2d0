//! Secure mode where records are payloads of STP: what is lost, comes twice or is somebody else's, and ends that come and
//! go (protocol.md section 4).

mod peers;

use super::secure::{End, Line2};
use super::*;
use crate::id::Level;

/// Bytes on their way, by who has sent them: 0 is the client.
type Sent = Vec<(usize, Vec<u8>)>;

fn serial() -> Line2 {
    Line2::new(Config::serial)
}

/// A serial line whose sides trust each other, and are ready.
fn met() -> Line2 {
    let mut line = serial();
    line.honest();
    assert_eq!(line.client.told, ["ready"]);
    assert_eq!(line.server.told, ["ready"]);
    line.forget();
    // The next attempt begins at once.
    line.wait(SECOND);
    line
}

impl Line2 {
    fn forget(&mut self) {
        self.client.told.clear();
        self.server.told.clear();
    }

    /// Lets time pass, on a sound line.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for turn in 0.. {
            assert!(turn < 1000, "the sessions ask for the same time again and again");
            let ends = [&self.client, &self.server].map(|end| end.session.poll_timeout());
            let Some(due) = ends.into_iter().flatten().min().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            for end in [&mut self.client, &mut self.server] {
                end.session.handle_timeout(self.now);
            }
            self.honest();
        }
        self.now = end;
    }

    /// What is sent until both are quiet, which all arrives.
    fn watch(&mut self) -> Sent {
        let mut sent = Vec::new();
        self.carry(&mut |side, _, bytes| {
            sent.push((side, bytes.clone()));
            bytes
        });
        sent
    }

    /// The next thing that an end sends is lost.
    fn lose(&mut self, side: usize) {
        let now = self.now;
        self.end(side).turn(now);
    }

    fn end(&mut self, side: usize) -> &mut End {
        if side == 0 { &mut self.client } else { &mut self.server }
    }

    /// Somebody says something in clear.
    fn say(&mut self, to: usize, text: &str) {
        let mut frame = BytesMut::new();
        let message = message(text);
        frame::encode(Format::Json, message.header(), message.json().as_str(), &mut frame).unwrap();
        let end = self.end(to);
        Framer::new(Framing::Stp).frame(&mut end.input, put(&frame)).unwrap();
    }

    /// Each side calls the other, and is answered.
    #[track_caller]
    fn works(&mut self) {
        self.forget();
        for side in 0..2 {
            let now = self.now;
            self.end(side).call("7", now);
        }
        self.honest();
        assert_eq!(self.client.told, ["run 7", "call 1: 7"]);
        assert_eq!(self.server.told, ["run 7", "call 1: 7"]);
        self.forget();
    }

    #[track_caller]
    fn told(&mut self, client: &[&str], server: &[&str]) {
        assert_eq!((&*self.client.told, &*self.server.told), (&*own(client), &*own(server)));
        self.forget();
    }
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The payloads of a piece of the stream.
fn payloads(bytes: &[u8]) -> Vec<bytes::Bytes> {
    let mut deframer = Deframer::new(Framing::Stp, Limits::MAX_MAX_FRAME);
    let mut bytes = BytesMut::from(bytes);
    let mut payloads = Vec::new();
    while let Some(piece) = deframer.decode(&mut bytes).unwrap() {
        let Piece::Frame(payload) = piece else { panic!("the session sent {piece:?}") };
        payloads.push(payload);
    }
    payloads
}

/// What can be read of it: messages in clear, and records with the length of their ciphertext.
fn read(bytes: &[u8]) -> Vec<String> {
    let show = |payload: bytes::Bytes| {
        if payload[0] == 1 {
            return format!("record of {}", payload.len() - 1);
        }
        let message = frame::decode(payload).unwrap().message;
        let header = message.header();
        format!("{}/{} s{}", header.service_id.value(), header.data_id.value(), header.status.value())
    };
    payloads(bytes).into_iter().map(show).collect()
}

#[test]
fn nothing_is_said_in_clear_but_the_handshake() {
    let mut line = serial();
    assert_eq!(line.server.turn(line.now), b"", "the client begins");
    let sent = line.watch();
    assert_eq!(read(&sent[0].1), ["0/2 s0"]);
    assert_eq!(read(&sent[1].1), ["1/2 s0", "record of 17"]);
    assert_eq!(read(&sent[2].1)[0], "record of 17");
    for (_, bytes) in &sent[2..] {
        assert!(payloads(bytes).iter().all(|payload| payload[0] == 1));
    }
    for side in 0..2 {
        assert_eq!(line.end(side).session.level(), Some(Level::Secure));
    }
    line.works();
}

#[test]
fn a_client_offers_until_somebody_answers() {
    let mut line = serial();
    let offer = line.client.turn(line.now);
    let begun = line.now;
    for seconds in [1, 2, 4, 8, 12, 16] {
        let due = line.client.session.poll_timeout().unwrap();
        assert_eq!(due, begun + seconds * SECOND);
        line.client.session.handle_timeout(due);
        assert_eq!(line.client.turn(due), offer, "the same, so that an answer to any of them is one");
        line.now = due;
    }
    assert_eq!(line.client.session.why_not_ready(), CloseReason::NoAnswer { echoes: false });
    let mut answers = [(); 2].map(|()| {
        line.server.input.extend_from_slice(&offer);
        line.server.turn(line.now)
    });
    assert_eq!(answers[0], answers[1]);
    line.client.input.extend(answers.iter_mut().flat_map(|answer| answer.drain(..)));
    line.honest();
    line.told(&["ready"], &["ready"]);
    line.works();
}

#[test]
fn an_answer_that_is_none_is_passed_over_and_another_offer_follows() {
    let mut line = serial();
    let offer = line.client.turn(line.now);
    let none = r#"1/2 {"suite":"NNpsk0-25519-CCP-SHA256","m":"AAAA"}"#;
    line.say(0, none);
    assert_eq!(line.client.turn(line.now), b"");
    line.now += SECOND;
    line.client.session.handle_timeout(line.now);
    let other = line.client.turn(line.now);
    assert_eq!(read(&other), ["0/2 s0"]);
    assert_ne!(other, offer);
    line.say(0, none);
    line.client.turn(line.now);
    line.server.input.extend_from_slice(&other);
    line.honest();
    line.told(&["ready"], &["ready"]);
    line.works();
}

#[test]
fn each_message_of_the_handshake_can_be_lost_or_come_twice() {
    for number in 0..7 {
        for twice in [false, true] {
            let mut line = serial();
            let mut count = 0;
            line.carry(&mut |_, _, bytes| {
                let mut arrived = Vec::new();
                for payload in payloads(&bytes) {
                    let copies = match count == number {
                        false => 1,
                        true if twice => 2,
                        true => 0,
                    };
                    for _ in 0..copies {
                        let mut framed = BytesMut::new();
                        Framer::new(Framing::Stp).frame(&mut framed, put(&payload)).unwrap();
                        arrived.extend_from_slice(&framed);
                    }
                    count += 1;
                }
                arrived
            });
            line.wait(10 * SECOND);
            line.told(&["ready"], &["ready"]);
            line.works();
        }
    }
}

#[test]
fn every_bit_of_the_handshake_counts_and_another_attempt_follows() {
    for (side, number) in [(0, 0), (1, 0), (0, 1)] {
        let mut bits = 1;
        let mut bit = 0;
        while bit < bits {
            let mut line = serial();
            line.carry(&mut |from, count, mut bytes| {
                if (from, count) == (side, number) {
                    bits = bytes.len() * 8;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                bytes
            });
            line.wait(10 * SECOND);
            line.told(&["ready"], &["ready"]);
            line.works();
            // Some of them are enough here: each place, and each bit.
            bit += 13;
        }
        assert!(bits > 8 * 17);
    }
}

#[test]
fn a_server_says_once_a_second_that_a_record_does_not_open() {
    let mut line = met();
    line.client.call("1", line.now);
    line.lose(0);
    let mut answers = Vec::new();
    for millis in [0, 10, 999, 1000, 1500, 2100] {
        line.client.call("2", line.now);
        let record = line.client.turn(line.now);
        line.server.input.extend_from_slice(&record);
        let now = line.now + millis * MILLISECOND;
        answers.push(read(&line.server.turn(now)).len());
    }
    assert_eq!(answers, [1, 0, 0, 1, 0, 1]);
    assert_eq!(line.server.session.counters.unopened, 6);
}

#[test]
fn what_looks_like_a_record_is_malformed_where_there_can_be_none() {
    let stp = |config: Config| Config { legacy: config.role == Role::Server, ..config.framing(Framing::Stp) };
    for lossy in [false, true] {
        let mut line = Line2::new(|config| Config { lossy, ..stp(config) });
        line.server.input.extend_from_slice(b":<\x01whatever it is:>");
        let hint: &[&str] = if lossy { &["1/2 s3"] } else { &[] };
        assert_eq!(read(&line.server.turn(line.now)), hint);
        line.say(1, "0/0");
        line.say(1, &format!("0/1 \"{}\"", key(&seed(1))));
        line.server.turn(line.now);
        assert_eq!(line.server.session.level(), Some(Level::Legacy));
        line.server.input.extend_from_slice(b":<\x01whatever it is:>");
        assert_eq!(line.server.turn(line.now), b"");
        assert_eq!(line.server.session.counters.malformed, 2 - u64::from(lossy));
    }
}

#[test]
fn a_client_makes_a_new_session_once_a_second_at_most() {
    let mut line = met();
    line.now += 10 * SECOND;
    let mut offers = Vec::new();
    for _ in 0..30 {
        line.now += 100 * MILLISECOND;
        line.client.session.handle_timeout(line.now);
        line.say(0, "1/2 s3");
        let offered = line.watch().iter().any(|(_, bytes)| read(bytes).contains(&"0/2 s0".to_owned()));
        offers.push(offered);
    }
    assert_eq!(offers.iter().filter(|offered| **offered).count(), 3, "{offers:?}");
    line.wait(SECOND);
    line.works();
}

#[test]
fn after_45_s_of_silence_a_client_makes_sure_that_the_server_is_there() {
    let mut line = met();
    let heard = line.now;
    let until = heard + 45 * SECOND;
    let mut said = Vec::new();
    // What it asks meanwhile is lost, and so is what leaves no heartbeat.
    while let Some(due) = line.client.session.poll_timeout().filter(|due| *due <= until) {
        line.now = due;
        line.server.input.extend_from_slice(b":<\x01noise:>");
        line.client.input.extend_from_slice(b"noise");
        line.client.session.handle_timeout(due);
        said.extend(read(&line.client.turn(due)));
    }
    assert_eq!(line.now, until);
    assert_eq!(said.last().map(String::as_str), Some("0/2 s0"));
    line.wait(10 * SECOND);
    line.told(&[], &[]);
    line.works();
}

/// A client's offer in a session that has ended.
fn recorded_offer(handshakes: u8) -> Vec<u8> {
    let mut line = serial();
    line.client.authenticator.handshakes = handshakes;
    line.client.turn(line.now)
}

/// A line whose live session has come of another offer than the one recorded.
fn met_later() -> Line2 {
    let mut line = serial();
    line.client.authenticator.handshakes = 100;
    line.honest();
    line.forget();
    line
}

#[test]
fn a_recorded_offer_silences_a_live_session_for_a_moment_and_once() {
    let mut line = met_later();
    line.server.input.extend_from_slice(&recorded_offer(0));
    assert_eq!(read(&line.server.turn(line.now)), ["1/2 s0", "record of 17"]);
    line.server.call("1", line.now);
    assert_eq!(line.server.turn(line.now), b"", "it waits for the first record");
    let until = line.now + 2 * SECOND;
    assert_eq!(line.server.session.poll_timeout(), Some(until));
    line.server.session.handle_timeout(until);
    assert_eq!(read(&line.server.turn(until)).len(), 1, "for so long");

    let mut line = met_later();
    for round in 0..3 {
        line.server.authenticator.handshakes += 1;
        line.server.input.extend_from_slice(&recorded_offer(10 * round));
        line.server.turn(line.now);
        line.server.call("1", line.now);
        let sent = line.server.turn(line.now);
        assert_eq!(sent.is_empty(), round == 0, "round {round}");
        if round == 0 {
            line.server.session.handle_timeout(line.now + 2 * SECOND);
            line.server.turn(line.now + 2 * SECOND);
        }
    }
}

#[test]
fn what_a_client_says_in_its_live_session_tells_that_an_offer_was_a_recording() {
    let mut line = met_later();
    line.server.input.extend_from_slice(&recorded_offer(0));
    line.server.turn(line.now);
    line.server.call("1", line.now);
    assert_eq!(line.server.turn(line.now), b"");
    line.client.call("2", line.now);
    line.honest();
    line.told(&["run 1", "call 1: 2"], &["run 2", "call 1: 1"]);
}

#[test]
fn a_copy_of_the_offer_that_led_to_the_live_session_leads_nowhere() {
    let mut line = met();
    line.server.input.extend_from_slice(&recorded_offer(0));
    assert_eq!(line.server.turn(line.now), b"");
    line.works();
}

#[test]
fn what_comes_in_clear_changes_no_live_session() {
    let mut line = met();
    line.wait(10 * SECOND);
    for text in [
        "hello/0 {\"session\":\"00000000000000cc\",\"features\":[],\"max_frame\":9,\"max_in_flight\":1}",
        "hello-answer/0 {\"session\":\"00000000000000cc\",\"features\":[],\"max_frame\":9,\"max_in_flight\":1}",
        "1/2 s6",
        "1/2 s4",
        "1/2",
        "0/2",
        "0/0",
        "1/1 true",
        "10/1 5",
        "11/8 5",
        "9/0 \"name\"",
        "8/0 \"name\"",
    ] {
        for to in 0..2 {
            line.say(to, text);
            let sent = line.watch();
            let refused = sent.iter().any(|(_, bytes)| read(bytes) == ["1/2 s6"]);
            assert_eq!(refused, to == 1 && text == "0/2", "{text}");
            line.told(&[], &[]);
        }
        line.works();
    }
    assert_eq!(line.server.session.channel_name(), None);
}

#[test]
fn a_wrong_secret_ends_a_client_that_has_met_nobody_and_no_serial_line_of_a_server() {
    let mut line = serial();
    line.client.authenticator.other = true;
    let sent = line.watch();
    let said: Vec<_> = sent.iter().flat_map(|(_, bytes)| read(bytes)).collect();
    assert_eq!(
        said,
        ["0/2 s0", "1/2 s6", "0/2 s0", "1/2 s6"],
        "the first may be an answer to who was here before"
    );
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::WrongSecret));
    assert_eq!(line.server.told, ["wrong key", "wrong key"]);
    // Here the line ends with its client.
    assert_eq!(line.server.session.close_reason(), Some(&CloseReason::Peer));
}

#[test]
fn a_server_that_has_another_secret_now_is_told_once_the_live_one_is_silent() {
    let mut line = met();
    let mut server = End::new(config(Role::Server).secure().serial(), line.now);
    server.authenticator.other = true;
    line.server = server;
    line.wait(40 * SECOND);
    assert!(line.server.told.len() > 2, "it refuses what the client offers");
    assert_eq!(line.client.reason(), None);
    line.wait(10 * SECOND);
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::WrongSecret));
}

#[test]
fn who_reads_nothing_is_answered_no_more_than_fits() {
    let mut line = met();
    for number in 1..1_000_u32 {
        line.say(1, &format!("0/2 {number}"));
    }
    line.server.session.handle_input(&mut line.server.input, line.now);
    let waits = line.server.session.unsent();
    assert!(waits < 20_000, "{waits} bytes");
    line.works();
}

#[test]
fn on_a_line_with_an_end_the_same_holds_within_the_times_of_streams() {
    let lossy = |config: Config| Config { lossy: true, ..config.framing(Framing::Stp) };
    let mut line = Line2::new(lossy);
    line.honest();
    line.told(&["ready"], &["ready"]);
    line.wait(SECOND);
    line.client.call("1", line.now);
    line.lose(0);
    line.client.call("2", line.now);
    line.honest();
    line.works();
    line.client.session.close(CloseReason::Peer);
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::Truncated(String::new())));
    line.server.session.close(CloseReason::Local);
    let farewell = line.server.turn(line.now);

    // What is said to end it is taken for that.
    let mut other = Line2::new(lossy);
    other.honest();
    other.client.input.extend_from_slice(&farewell);
    other.client.turn(other.now);
    assert_eq!(other.client.reason(), None, "it is not of this session");
    other.server.session.close(CloseReason::Local);
    other.honest();
    assert_eq!(other.client.reason().as_deref(), Some("closed by the peer"));

    let mut line = Line2::new(lossy);
    line.client.authenticator.other = true;
    line.honest();
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::WrongSecret));
    assert_eq!(line.server.reason().as_deref(), Some("the client's secret is wrong, or its key id unknown"));

    let mut line = Line2::new(lossy);
    let begun = line.now;
    let mut offers = read(&line.client.turn(begun)).len();
    while let Some(due) = line.client.session.poll_timeout().filter(|_| line.client.reason().is_none()) {
        line.now = due;
        line.client.session.handle_timeout(due);
        offers += read(&line.client.turn(due)).len();
    }
    assert_eq!((offers, line.now), (4, begun + 5 * SECOND));
    assert!(matches!(line.client.session.close_reason(), Some(CloseReason::PeerTooOld(_))));
    // A server's times are those of every stream.
    let mut server = End::new(lossy(config(Role::Server).secure()), begun);
    server.input.extend_from_slice(&recorded_offer(0));
    server.turn(begun);
    server.session.handle_timeout(begun + 10 * SECOND);
    assert!(matches!(server.session.close_reason(), Some(CloseReason::TrustTimeout { .. })));
}

#[test]
fn a_server_that_detects_stp_takes_its_records_so() {
    let mut line = Line2::new(|config| match config.role {
        Role::Client => config.framing(Framing::Stp),
        Role::Server => config,
    });
    let sent = line.watch();
    assert!(sent.iter().flat_map(|(_, bytes)| payloads(bytes)).filter(|payload| payload[0] == 1).count() > 3);
    line.told(&["ready"], &["ready"]);
    line.works();
}
