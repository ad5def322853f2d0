//! Secure mode between two sessions, with what somebody in between can do to it (protocol.md 5.2).

use super::*;
use crate::id::Level;
use crate::secure::{self, Material};

impl Authenticator {
    pub(super) fn answer_secure(&mut self, question: &AuthQuestion) -> AuthAnswer {
        self.handshakes += 1;
        let random = [self.handshakes; secure::RANDOM].into();
        let material: &[u8] = if self.other { &[8; 24] } else { &[7; 24] };
        let psk = secure::derive(Material::Generated(material), "").unwrap();
        match question {
            AuthQuestion::Accept(offer) => {
                AuthAnswer::Accepted(Some(secure::respond(&psk, offer, random).map(Box::new)))
            }
            _ => AuthAnswer::Offered(secure::initiate(&psk, "", random).ok().map(Box::new)),
        }
    }
}

/// One end, and what it has told.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) authenticator: Authenticator,
    pub(super) input: BytesMut,
    /// Requests that ran, outcomes of calls.
    pub(super) told: Vec<String>,
    ended: bool,
}

impl End {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        let mut session = Session::waiting(config, now);
        session.reopen(now);
        Self {
            session,
            authenticator: Authenticator::default(),
            input: BytesMut::new(),
            told: Vec::new(),
            ended: false,
        }
    }

    /// Does what there is to do; gives what has to be sent.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<u8> {
        let mut sent = Vec::new();
        for _ in 0..100 {
            if !self.input.is_empty() || self.session.has_input() {
                self.session.handle_input(&mut self.input, now);
            }
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Ask(question) => {
                        let answer = self.authenticator.answer(&question);
                        self.session.handle_auth_answer(answer, now);
                    }
                    Event::Dispatch(incoming) => {
                        self.told.push(format!("run {}", incoming.data));
                        self.session.handle_reply(
                            incoming.request,
                            Status::OKAY,
                            incoming.data.as_str(),
                            now,
                        );
                    }
                    other => self.told.push(show_event(other)),
                }
            }
            if self.session.begins_again() {
                self.told.extend(self.reason().map(|reason| format!("end: {reason}")));
                self.session.reopen(now);
                continue;
            }
            let bytes = self.session.poll_transmit().to_vec();
            if bytes.is_empty() {
                return sent;
            }
            self.session.handle_sent(bytes.len(), now);
            sent.extend(bytes);
        }
        panic!("it goes on for ever");
    }

    pub(super) fn call(&mut self, data: &str, now: Instant) {
        let new = NewCall {
            call: 1,
            kind: CallKind::Request,
            service_id: 20.into(),
            data_id: 2.into(),
            response: None,
            data: data.to_owned().into(),
            timeout: 10 * SECOND,
            nested: false,
        };
        self.session.handle_call(new, now);
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.session.close_reason().map(ToString::to_string)
    }
}

/// A client, a server, and who stands between them.
pub(super) struct Line2 {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Instant,
}

/// Changes what one side sends: 0 is the client. The number counts what that side has sent before.
pub(super) type Middle<'a> = &'a mut dyn FnMut(usize, usize, Vec<u8>) -> Vec<u8>;

impl Line2 {
    pub(super) fn new(change: impl Fn(Config) -> Config) -> Self {
        let now = Instant::now();
        let end = |role| End::new(change(config(role).secure()), now);
        let mut line = Self { client: end(Role::Client), server: end(Role::Server), now };
        line.server.session.config.session = "00000000000000bb".into();
        line
    }

    /// Carries what both sides send, until neither has anything; all that is sent in one turn is one piece.
    pub(super) fn carry(&mut self, middle: Middle<'_>) {
        let mut sent = [0; 2];
        for _ in 0..1000 {
            let mut quiet = true;
            for (side, sent) in sent.iter_mut().enumerate() {
                let (from, to) = match side {
                    0 => (&mut self.client, &mut self.server),
                    _ => (&mut self.server, &mut self.client),
                };
                let bytes = from.turn(self.now);
                if !bytes.is_empty() {
                    quiet = false;
                    to.input.extend_from_slice(&middle(side, *sent, bytes));
                    *sent += 1;
                }
                // An end that has closed ends the line, once all is sent.
                if from.session.close_reason().is_some() && !from.ended {
                    from.ended = true;
                    quiet = false;
                    to.turn(self.now);
                    to.session.close(CloseReason::Peer);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    pub(super) fn honest(&mut self) {
        self.carry(&mut |_, _, bytes| bytes);
    }
}

impl Config {
    pub(super) fn secure(mut self) -> Self {
        (self.secret, self.secure) = (true, true);
        self
    }
}

#[test]
fn two_sides_that_know_the_secret_trust_each_other_and_all_they_say_is_hidden() {
    let mut line = Line2::new(|config| config);
    let mut seen = Vec::new();
    line.carry(&mut |_, _, bytes| {
        seen.push(bytes.clone());
        bytes
    });
    for end in [&line.client, &line.server] {
        assert_eq!(end.session.level(), Some(Level::Secure));
        assert!(end.session.is_ready() && end.session.auth_state() == AuthState::Trusted);
    }
    let (first, rest) = seen.split_first().unwrap();
    assert!(String::from_utf8_lossy(first).contains(r#""suites":["NNpsk0-25519-CCP-SHA256"],"kid":"""#));
    assert!(String::from_utf8_lossy(&rest[0]).contains(r#""suite":"NNpsk0-25519-CCP-SHA256""#));
    line.client.call("\"a word of ours\"", line.now);
    let mut seen = Vec::new();
    line.carry(&mut |_, _, bytes| {
        seen.extend_from_slice(&bytes);
        bytes
    });
    assert!(!String::from_utf8_lossy(&seen).contains("word"));
    assert_eq!(line.server.told, ["ready", "run \"a word of ours\""]);
    assert_eq!(line.client.told, ["ready", "call 1: \"a word of ours\""]);
}

#[test]
fn a_server_trusts_a_client_by_its_first_record_and_not_by_a_recording_of_its_message() {
    let mut recorded = Vec::new();
    Line2::new(|config| config).carry(&mut |side, number, bytes| {
        if (side, number) == (0, 0) {
            recorded.clone_from(&bytes);
        }
        bytes
    });
    let now = Instant::now();
    let mut server = End::new(config(Role::Server).secure(), now);
    server.authenticator.handshakes = 100;
    server.input.extend_from_slice(&recorded);
    assert!(!server.turn(now).is_empty(), "it is answered");
    assert_eq!(server.session.level(), None);
    assert!(!server.session.is_ready());
    server.session.handle_timeout(now + 10 * SECOND);
    assert!(matches!(server.session.close_reason(), Some(CloseReason::TrustTimeout { .. })));
}

#[test]
fn a_wrong_secret_is_told_to_the_client_and_nothing_else_is() {
    let mut line = Line2::new(|config| config);
    line.server.authenticator.other = true;
    line.honest();
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::WrongSecret));
    let reason = line.server.reason().unwrap();
    assert_eq!(reason, "the client's secret is wrong, or its key id unknown");
    assert!(line.client.told.is_empty());
    assert_eq!(line.server.told, ["wrong key"]);
}

#[test]
fn every_bit_of_both_messages_and_of_what_proves_them_counts() {
    // What is flipped, in the order in which it is sent: (0, 2); (1, 2) and the server's first record; the client's.
    for (side, number) in [(0, 0), (1, 0), (0, 1)] {
        let mut bits = 1;
        let mut bit = 0;
        while bit < bits {
            let mut line = Line2::new(|config| config);
            line.carry(&mut |from, count, mut bytes| {
                if (from, count) == (side, number) {
                    // Behind the client's first record come its frames, which it sends only where it trusts.
                    let length = if (from, count) == (0, 1) { 2 + 1 + secure::TAG } else { bytes.len() };
                    bits = length * 8;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                bytes
            });
            line.now += 11 * SECOND;
            for end in [&mut line.client, &mut line.server] {
                end.session.handle_timeout(line.now);
            }
            line.honest();
            // Whoever got what was flipped never trusts; the other side may, for it got a proof.
            let (victim, other) = match side {
                0 => (&line.server, &line.client),
                _ => (&line.client, &line.server),
            };
            assert_eq!(victim.told, [] as [String; 0], "{side} {number} bit {bit}");
            assert!(other.told.iter().all(|told| told == "ready"), "{side} {number} bit {bit}");
            for end in [victim, other] {
                assert!(end.reason().is_some(), "{side} {number} bit {bit}");
            }
            bit += 1;
        }
        assert!(bits > 8 * 17);
    }
}

/// The records of a piece of a stream.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        records.push([&length[..], record].concat());
        bytes = rest;
    }
    records
}

#[test]
fn a_record_that_is_dropped_doubled_swapped_or_cut_ends_the_connection() {
    type Deed = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    let deeds: [Deed; 4] = [
        |mut records| {
            records.remove(0);
            records
        },
        |mut records| {
            records.insert(1, records[0].clone());
            records
        },
        |mut records| {
            records.swap(0, 1);
            records
        },
        |mut records| {
            records[0].pop();
            records
        },
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        for side in 0..2 {
            let mut line = Line2::new(|config| config);
            line.honest();
            let mut piece = Vec::new();
            let (from, to) = match side {
                0 => (&mut line.client, &mut line.server),
                _ => (&mut line.server, &mut line.client),
            };
            for data in ["1", "2"] {
                from.call(data, line.now);
                piece.extend(from.turn(line.now));
            }
            let records = records(&piece);
            assert_eq!(records.len(), 2);
            let told = to.told.len();
            to.input.extend_from_slice(&deed(records).concat());
            to.turn(line.now);
            assert_eq!(
                to.session.close_reason(),
                Some(&CloseReason::BadRecord),
                "deed {number} on side {side}"
            );
            // It ends in the turn in which it began: nothing of it is run.
            assert_eq!(to.told[told..], [] as [String; 0], "deed {number} on side {side}");
        }
    }
}

#[test]
fn a_line_that_ends_without_a_word_was_cut() {
    let mut line = Line2::new(|config| config);
    line.honest();
    line.client.session.close(CloseReason::Peer);
    assert_eq!(line.client.session.close_reason(), Some(&CloseReason::Truncated(String::new())));

    let mut line = Line2::new(|config| config);
    line.honest();
    line.client.session.close(CloseReason::Local);
    line.honest();
    assert_eq!(line.server.session.close_reason(), Some(&CloseReason::Peer));

    let mut line = Line2::new(|config| config);
    line.honest();
    line.client.session.close(CloseReason::MemoryExceeded { held: 2, limit: 1 });
    line.honest();
    let reason = line.server.reason().unwrap();
    assert!(reason.starts_with("closed by the peer: all connections together"), "{reason}");
}

#[test]
fn many_frames_share_a_record_and_a_large_one_takes_several() {
    let mut line = Line2::new(|config| config);
    line.honest();
    for _ in 0..10 {
        line.client.call("1", line.now);
    }
    let piece = line.client.turn(line.now);
    assert_eq!(records(&piece).len(), 1);
    line.server.input.extend_from_slice(&piece);
    let large = format!("\"{}\"", "x".repeat(200_000));
    line.client.call(&large, line.now);
    let piece = line.client.turn(line.now);
    assert_eq!(records(&piece).len(), 4);
    line.server.input.extend_from_slice(&piece);
    line.honest();
    assert_eq!(line.server.told.len(), 12);
    assert_eq!(line.client.told.len(), 12);
    assert_eq!(line.client.told[11], format!("call 1: {large}"));
}

#[test]
fn a_handshake_comes_first_and_alone() {
    let offer = {
        let mut client = End::new(config(Role::Client).secure(), Instant::now());
        client.turn(Instant::now())
    };
    let hello = framed(&format!("hello/0 {HELLO}"));
    for (pieces, reason) in [
        ([&offer[..], &hello].concat(), "bytes behind the first message of a handshake"),
        ([&hello[..], &offer].concat(), "a handshake that is malformed, or does not come first"),
        (
            framed(r#"0/2 {"suites":["another"],"kid":"","m":""}"#),
            "a handshake that is malformed, or does not come first",
        ),
        (framed("0/2"), "a handshake that is malformed, or does not come first"),
    ] {
        let now = Instant::now();
        let mut server = End::new(config(Role::Server).secure(), now);
        server.input.extend_from_slice(&pieces);
        server.turn(now);
        assert_eq!(server.reason().as_deref(), Some(reason));
        assert_eq!(server.session.level(), None);
    }
}

/// A message in a frame with its length before it.
pub(super) fn framed(text: &str) -> Vec<u8> {
    let mut frame = BytesMut::new();
    let message = message(text);
    frame::encode(Format::Json, message.header(), message.json().as_str(), &mut frame).unwrap();
    [&u32::try_from(frame.len()).unwrap().to_be_bytes(), &frame[..]].concat()
}

#[test]
fn a_server_that_answers_otherwise_gets_nothing_more() {
    for (answer, reason) in [
        ("1/2 s6", "the server does not take this secret"),
        ("1/2 s3", "the peer does not know secure mode"),
        ("1/2 s4", "the peer does not know secure mode"),
        ("1/2 s1", "the peer does not know secure mode"),
        ("1/2", "the server does not take this secret"),
        (r#"1/2 {"suite":"NNpsk0-25519-CCP-SHA256","m":""}"#, "the server does not take this secret"),
        (r#"1/2 {"suite":"another","m":""}"#, "the server does not take this secret"),
    ] {
        let now = Instant::now();
        let mut client = End::new(config(Role::Client).secure(), now);
        client.call("1", now);
        client.turn(now);
        client.input.extend_from_slice(&framed(answer));
        assert_eq!(client.turn(now), b"", "{answer}");
        let found = client.reason().unwrap();
        assert!(found.starts_with(reason), "{answer}: {found}");
    }
    let now = Instant::now();
    let mut client = End::new(config(Role::Client).secure(), now);
    client.turn(now);
    client.session.handle_timeout(now + 5 * SECOND);
    assert!(matches!(client.session.close_reason(), Some(CloseReason::PeerTooOld(_))));
}

#[test]
fn what_does_not_speak_of_a_handshake_is_judged_as_ever() {
    // A server without a secret goes on; one that takes no Legacy says so.
    for (config, question, answer) in [
        (config(Role::Server), "0/2", "1/2 s6"),
        (config(Role::Server).secure(), "0/0", "1/0 s6"),
        (config(Role::Server).secure(), "0/1", "1/1 s6"),
        (config(Role::Server).secret(), "0/2", "1/2 s6"),
    ] {
        let now = Instant::now();
        let mut server = End::new(config, now);
        server.input.extend_from_slice(&framed(question));
        assert_eq!(server.turn(now), framed(answer), "{question}");
        assert_eq!(server.reason(), None);
    }
}

#[test]
fn a_line_of_whole_messages_carries_one_record_in_each() {
    let mut line = Line2::new(|config| config);
    for end in [&mut line.client, &mut line.server] {
        end.session.expect_datagrams(line.now);
    }
    line.honest();
    assert_eq!(line.client.session.level(), Some(Level::Secure));
    line.client.call("1", line.now);
    let piece = line.client.turn(line.now);
    let length = u32::from_be_bytes(piece[..4].try_into().unwrap());
    assert_eq!(piece.len(), 4 + length as usize);
}

#[test]
fn a_message_is_sent_once_all_its_records_have_left() {
    let mut line = Line2::new(|config| config);
    line.honest();
    let data = format!("\"{}\"", "x".repeat(100_000));
    let new = NewCall {
        call: 9,
        kind: CallKind::Send { status: Status::OKAY },
        service_id: 20.into(),
        data_id: 2.into(),
        response: None,
        data: data.into(),
        timeout: 10 * SECOND,
        nested: false,
    };
    line.client.session.handle_call(new, line.now);
    let session = &mut line.client.session;
    let first = session.poll_transmit().len();
    session.handle_sent(first, line.now);
    assert!(session.poll_event().is_none());
    let second = session.poll_transmit().len();
    session.handle_sent(second - 1, line.now);
    assert!(session.poll_event().is_none() && session.unsent() == 1);
    session.handle_sent(1, line.now);
    assert_eq!(session.poll_event().map(show_event).as_deref(), Some("call 9: sent"));
    assert!(session.poll_transmit().is_empty() && session.is_idle());
}
