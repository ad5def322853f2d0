//! Anything a peer may send: no panic, nothing run that must not be, memory bounded.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Sent {
    Bytes(Vec<u8>),
    Frame(Vec<u8>),
    Message {
        text: String,
        format: Format,
        damaged: bool,
    },
    /// Time that passes.
    Time(u64),
    /// Bytes of the answers that are read.
    Read(usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    let service = proptest::sample::select(vec![
        "0",
        "1",
        "8",
        "9",
        "10",
        "11",
        "20",
        "21",
        "30",
        "31",
        "40",
        "41",
        "50",
        "60",
        "hello",
        "hello-answer",
        "4294901762",
        "4294901768",
        "4294967295",
    ]);
    let data_id = proptest::sample::select(vec![0, 1, 2, 3, 8, 9, u32::MAX]);
    let data = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"pump\"".to_owned()),
        Just(format!("\"{}\"", seed(1))),
        Just(format!("\"{}\"", "ab".repeat(64))),
        Just(HELLO.to_owned()),
        prop_oneof![0..50_usize, 0..5000_usize].prop_map(|length| format!("\"{}\"", "x".repeat(length))),
    ];
    let id = prop_oneof![3 => Just(String::new()), 1 => (1..5_u32).prop_map(|id| format!(" #{id}"))];
    let status =
        prop_oneof![4 => Just(String::new()), 1 => (1..8_u32).prop_map(|status| format!(" s{status}"))];
    let message = (service, data_id, status, id, data, any::<bool>(), proptest::bool::weighted(0.1));
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..30).prop_map(Sent::Bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..30).prop_map(Sent::Frame),
        20 => message.prop_map(|(service, data_id, status, id, data, json, damaged)| Sent::Message {
            text: format!("{service}/{data_id}{status}{id} {data}"),
            format: if json || !id.is_empty() { Format::Json } else { Format::Struct },
            damaged,
        }),
        1 => (0..3_000_u64).prop_map(Sent::Time),
        1 => (0..2_000_usize).prop_map(Sent::Read),
    ]
}

/// Says all this to a session; gives back each request that was run.
fn say(line: &mut Line, script: &[Sent], mut after: impl FnMut(&Line)) -> Vec<Header> {
    let mut run = Vec::new();
    for sent in script {
        match sent {
            Sent::Time(millis) => {
                line.now += Duration::from_millis(*millis);
                line.session.handle_timeout(line.now);
            }
            Sent::Read(bytes) => line.session.handle_sent(*bytes, line.now),
            sent => put_on(line, sent),
        }
        run.extend(take(line));
        after(line);
    }
    run
}

/// Puts bytes on the line.
fn put_on(line: &mut Line, sent: &Sent) {
    let frame = match sent {
        Sent::Bytes(bytes) => return line.input.extend_from_slice(bytes),
        Sent::Frame(frame) => BytesMut::from(&frame[..]),
        Sent::Message { text, format, damaged } => {
            line.format = *format;
            let mut frame = line.frame(&message(text));
            *frame.last_mut().unwrap() ^= u8::from(*damaged);
            frame
        }
        Sent::Time(_) | Sent::Read(_) => return,
    };
    Framer::new(line.framing).frame(&mut line.input, put(&frame)).unwrap();
}

/// Lets the session take what has arrived; each handler answers at once.
fn take(line: &mut Line) -> Vec<Header> {
    let mut run = Vec::new();
    let mut asked = true;
    while asked {
        asked = false;
        line.session.handle_input(&mut line.input, line.now);
        while let Some(event) = line.session.poll_event() {
            match event {
                Event::Ask(question) => {
                    let answer = line.authenticator.answer(&question);
                    line.session.handle_auth_answer(answer, line.now);
                    asked = true;
                }
                Event::Dispatch(incoming) => {
                    run.push(incoming.header);
                    line.session.handle_reply(incoming.request, Status::OKAY, "5", line.now);
                }
                _ => {}
            }
        }
    }
    run
}

/// What stuffing may add to the last frame that fits.
const STUFFING: usize = 64;

fn line(config: Config, framing: Framing) -> Line {
    let framing = config.framing.unwrap_or(framing);
    Line::new(config).speaks(framing)
}

proptest! {
    #[test]
    fn an_untrusted_peer_runs_nothing_but_public_data_and_costs_little(
        stp: bool,
        script in proptest::collection::vec(sent(), 1..100),
    ) {
        let framing = if stp { Framing::Stp } else { Framing::Length };
        // Some errors would end the script early.
        let config = config(Role::Server).secret().public().limit(|limits| {
            limits.protocol_errors = 1000;
            limits.untrusted_max_frame = 5000;
        });
        let mut line = line(config, framing);
        let run = say(&mut line, &script, |line| {
            assert_ne!(line.session.auth_state(), AuthState::Trusted);
            assert!(line.session.unsent() <= 16 * 1024 + STUFFING);
            assert!(line.session.close_reason().is_some() || line.input.len() <= 16 * 1024);
            assert_eq!(line.session.requests.running(), 0);
        });
        for header in run {
            prop_assert_eq!((header.service_id.value(), header.data_id.value()), (10, 9));
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_a_session_panic(
        client: bool,
        secret: bool,
        stp: bool,
        script in proptest::collection::vec(sent(), 1..100),
    ) {
        let framing = if stp { Framing::Stp } else { Framing::Length };
        let mut config = config(if client { Role::Client } else { Role::Server });
        (config.secret, config.legacy) = (secret, secret);
        let mut line = line(if client { config.framing(framing) } else { config }, framing);
        for call in 0..5 {
            line.session.handle_call(new_call(call, "10/1", SECOND), line.now);
        }
        for header in say(&mut line, &script, |_| {}) {
            prop_assert!(!header.service_id.is_reserved());
        }
    }

    #[test]
    fn how_a_stream_is_cut_changes_nothing(
        stp: bool,
        script in proptest::collection::vec(sent(), 1..60),
        cuts in proptest::collection::vec(1..400_usize, 1..50),
    ) {
        let framing = if stp { Framing::Stp } else { Framing::Length };
        let [mut whole, mut cut] = [(); 2].map(|()| line(config(Role::Server), framing));
        cut.now = whole.now;
        for sent in &script {
            put_on(&mut whole, sent);
        }
        let mut stream = whole.input.clone();
        let run = take(&mut whole);
        let mut run_in_pieces = Vec::new();
        for length in cuts.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            cut.input.unsplit(stream.split_to(stream.len().min(*length)));
            run_in_pieces.extend(take(&mut cut));
        }
        let ended = |line: &Line| line.session.close_reason().is_some();
        prop_assert_eq!(ended(&whole), ended(&cut));
        // What had not begun at the end is dropped.
        prop_assert!(run_in_pieces.starts_with(&run), "{:?}, {:?}", run, run_in_pieces);
        prop_assert!(ended(&whole) || run.len() == run_in_pieces.len());
        prop_assert_eq!(whole.session.counters, cut.session.counters);
        prop_assert_eq!(whole.session.channel_name(), cut.session.channel_name());
    }
}
