//! Two sessions on a serial line that loses and garbles bytes, and whose ends restart at any moment: no call ever gets
//! another's answer, each ends once, and when the line is sound again calls are answered. In secure mode somebody plays
//! back what was sent before, and says things in clear: nothing runs but what an end has asked for, and that once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// One thing that happens. Ends are 0, the client, and 1, the server.
#[derive(Clone, Debug)]
enum Act {
    Call {
        from: usize,
        data_id: u32,
    },
    Reply {
        at: usize,
        which: Index,
    },
    /// So many bytes of what this end has to send go on the line.
    Send {
        from: usize,
        bytes: usize,
    },
    /// So many bytes of what this end has sent arrive at the other.
    Arrive {
        from: usize,
        bytes: usize,
    },
    /// A byte on its way is lost, changed, or gets another before it.
    Hit {
        from: usize,
        which: Index,
        kind: u8,
    },
    Wait {
        time: Duration,
    },
    /// All that is on its way arrives, and what it leads to.
    Carry,
    /// The process ends and another takes its place; what it had not sent is gone.
    Restart {
        at: usize,
    },
    /// The adapter is pulled out and put in again.
    Replug {
        at: usize,
    },
    /// Something that this end has said before is on the line once more.
    Replay {
        from: usize,
        which: Index,
    },
    /// Somebody says something in clear, as if this end did.
    Forge {
        from: usize,
        which: Index,
    },
}

/// What anybody can say. Neither a refusal nor what gets one: before a session lives it ends the line, for the user has to
/// hear of a wrong secret.
const FORGED: [&str; 8] = [
    "1/2 s3",
    "1/2 {\"suite\":\"NNpsk0-25519-CCP-SHA256\",\"m\":\"\"}",
    "hello/0 {\"session\":\"00000000000000cc\",\"features\":[],\"max_frame\":9,\"max_in_flight\":1}",
    "hello-answer/0 {\"session\":\"00000000000000cc\",\"features\":[],\"max_frame\":9,\"max_in_flight\":1}",
    "10/1 0",
    "11/1 0",
    "0/0",
    "1/1 true",
];

fn act() -> impl Strategy<Value = Act> {
    let end = 0..2_usize;
    let bytes = prop_oneof![1..60_usize, Just(usize::MAX)];
    prop_oneof![
        8 => (end.clone(), 1..4_u32).prop_map(|(from, data_id)| Act::Call { from, data_id }),
        8 => (end.clone(), any::<Index>()).prop_map(|(at, which)| Act::Reply { at, which }),
        10 => (end.clone(), bytes.clone()).prop_map(|(from, bytes)| Act::Send { from, bytes }),
        10 => (end.clone(), bytes).prop_map(|(from, bytes)| Act::Arrive { from, bytes }),
        2 => (end.clone(), any::<Index>(), any::<u8>()).prop_map(|(from, which, kind)| Act::Hit { from, which, kind }),
        4 => (1..3_000_u64).prop_map(|millis| Act::Wait { time: Duration::from_millis(millis) }),
        3 => Just(Act::Carry),
        1 => end.clone().prop_map(|at| Act::Restart { at }),
        1 => end.clone().prop_map(|at| Act::Replug { at }),
        2 => (end.clone(), any::<Index>()).prop_map(|(from, which)| Act::Replay { from, which }),
        1 => (end, any::<Index>()).prop_map(|(from, which)| Act::Forge { from, which }),
    ]
}

/// One end, and what its owner remembers.
struct End {
    session: Session,
    input: BytesMut,
    authenticator: Authenticator,
    /// What is on the line to the other end.
    wire: BytesMut,
    running: Vec<(RequestId, String)>,
    /// What it has said.
    said: Vec<Bytes>,
    recorder: Deframer,
}

/// What both ends prove, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Proof {
    Nothing,
    Key,
    Records,
}

struct Pair {
    ends: [End; 2],
    proof: Proof,
    now: Instant,
    /// The calls that are not over, with the end that made them.
    open: BTreeMap<CallKey, usize>,
    next: u64,
    answered: usize,
    /// The calls that were made and have yet to run, with the end that made them.
    unrun: BTreeSet<(usize, String)>,
}

impl Pair {
    fn new(proof: Proof) -> Self {
        let now = Instant::now();
        let ends = [0, 1].map(|at| End {
            session: Session::new(serial(at, proof, 0), now),
            input: BytesMut::new(),
            authenticator: Authenticator::default(),
            wire: BytesMut::new(),
            running: Vec::new(),
            said: Vec::new(),
            recorder: Deframer::new(Framing::Stp, Limits::MAX_MAX_FRAME),
        });
        Self { ends, proof, now, open: BTreeMap::new(), next: 1, answered: 0, unrun: BTreeSet::new() }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Call { from, data_id } => self.call(from, data_id),
            Act::Reply { at, which } if !self.ends[at].running.is_empty() => {
                self.reply(at, which.index(self.ends[at].running.len()));
            }
            Act::Reply { .. } => {}
            Act::Send { from, bytes } => {
                self.send(from, bytes);
            }
            Act::Arrive { from, bytes } => {
                self.arrive(from, bytes);
            }
            Act::Hit { from, which, kind } if !self.ends[from].wire.is_empty() => {
                let wire = &mut self.ends[from].wire;
                let at = which.index(wire.len());
                let mut bytes = wire.to_vec();
                match kind % 3 {
                    0 => drop(bytes.remove(at)),
                    1 => bytes[at] ^= 1 << (kind % 8),
                    _ => bytes.insert(at, kind),
                }
                *wire = bytes.as_slice().into();
            }
            Act::Hit { .. } => {}
            Act::Wait { time } => self.wait(time),
            Act::Carry => while self.carry() > 0 {},
            Act::Restart { at } => self.restart(at),
            Act::Replug { at } => self.replug(at),
            // In clear anybody can say anything.
            Act::Replay { .. } | Act::Forge { .. } if self.proof != Proof::Records => {}
            Act::Replay { from, which } => {
                let said = &self.ends[from].said;
                if !said.is_empty() {
                    let said = said[which.index(said.len())].clone();
                    self.put(from, &said);
                }
            }
            Act::Forge { from, which } => {
                let forged = message(FORGED[which.index(FORGED.len())]);
                let mut frame = BytesMut::new();
                frame::encode(Format::Json, forged.header(), forged.json().as_str(), &mut frame).unwrap();
                self.put(from, &frame);
            }
        }
    }

    /// Puts a payload on the line from this end.
    fn put(&mut self, from: usize, payload: &[u8]) {
        Framer::new(Framing::Stp).frame(&mut self.ends[from].wire, put(payload)).unwrap();
    }

    fn call(&mut self, from: usize, data_id: u32) {
        let call = self.next;
        self.next += 1;
        self.unrun.insert((from, call.to_string()));
        self.open.insert(call, from);
        let new = new_call(call, &format!("10/{data_id} {call}"), 10 * SECOND);
        self.ends[from].session.handle_call(new, self.now);
        self.drive(from);
    }

    fn reply(&mut self, at: usize, which: usize) {
        let (request, number) = self.ends[at].running.swap_remove(which);
        self.ends[at].session.handle_reply(request, Status::OKAY, &number, self.now);
        self.drive(at);
    }

    fn send(&mut self, from: usize, bytes: usize) -> usize {
        let end = &mut self.ends[from];
        let ready = end.session.poll_transmit();
        let bytes = bytes.min(ready.len());
        end.wire.extend_from_slice(&ready[..bytes]);
        let mut recorded = BytesMut::from(&ready[..bytes]);
        while let Some(piece) = end.recorder.decode(&mut recorded).unwrap() {
            if let Piece::Frame(frame) = piece {
                end.said.push(frame);
            }
        }
        end.session.handle_sent(bytes, self.now);
        bytes
    }

    fn arrive(&mut self, from: usize, bytes: usize) -> usize {
        let bytes = bytes.min(self.ends[from].wire.len());
        let arrived = self.ends[from].wire.split_to(bytes);
        self.ends[1 - from].input.extend_from_slice(&arrived);
        self.drive(1 - from);
        bytes
    }

    /// Gives the bytes that have moved.
    fn carry(&mut self) -> usize {
        (0..2).map(|at| self.send(at, usize::MAX) + self.arrive(at, usize::MAX)).sum()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for at in 0..2 {
            let mut turns = 0;
            while self.ends[at].session.poll_timeout().is_some_and(|due| due <= self.now) {
                turns += 1;
                assert!(turns < 10, "the session asks for a time that is over again and again");
                self.ends[at].session.handle_timeout(self.now);
                self.drive(at);
            }
        }
    }

    fn restart(&mut self, at: usize) {
        self.open.retain(|_, from| *from != at);
        let count = self.next;
        self.next += 1;
        let end = &mut self.ends[at];
        end.session = Session::new(serial(at, self.proof, count), self.now);
        end.input.clear();
        end.running.clear();
        self.drive(at);
    }

    fn replug(&mut self, at: usize) {
        self.ends[at].session.close(CloseReason::Peer);
        self.drive(at);
        self.ends[at].input.clear();
        self.reopen(at);
    }

    fn reopen(&mut self, at: usize) {
        self.ends[at].running.clear();
        self.ends[at].session.reopen(self.now);
        self.drive(at);
    }

    fn drive(&mut self, at: usize) {
        let mut again = true;
        while again {
            again = false;
            let end = &mut self.ends[at];
            end.session.handle_input(&mut end.input, self.now);
            while let Some(event) = self.ends[at].session.poll_event() {
                match event {
                    Event::Ask(question) => {
                        let answer = self.ends[at].authenticator.answer(&question);
                        self.ends[at].session.handle_auth_answer(answer, self.now);
                        again = true;
                    }
                    Event::Dispatch(incoming) => {
                        let number = incoming.data.as_str().to_owned();
                        assert!(
                            self.unrun.remove(&(1 - at, number.clone())) || self.proof != Proof::Records,
                            "nobody has asked for it, or it has run already"
                        );
                        self.ends[at].running.push((incoming.request, number));
                    }
                    Event::Completed { call, outcome } => self.completed(at, call, &outcome),
                    Event::Expired { .. } | Event::Cancelled { .. } | Event::WrongKey | Event::Ready => {}
                }
            }
        }
        match self.ends[at].session.close_reason() {
            None => {}
            Some(_) if self.ends[at].session.begins_again() => self.reopen(at),
            // The test closes it and is about to open it again.
            Some(CloseReason::Peer) => {}
            Some(reason) => panic!("the line of end {at} ends: {reason}"),
        }
    }

    fn completed(&mut self, at: usize, call: CallKey, outcome: &CallOutcome) {
        assert_eq!(self.open.remove(&call), Some(at), "call {call} ends twice, or was never made");
        if let Ok(Done::Answered(Status::OKAY, data)) = outcome {
            assert_eq!(data.as_str(), call.to_string(), "the answer of another call");
            self.answered += 1;
        }
    }

    /// The line is sound from now on, and handlers answer at once.
    fn settle(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            loop {
                let moved = self.carry();
                let answering = (0..2).find(|at| !self.ends[*at].running.is_empty());
                match answering {
                    Some(at) => self.reply(at, 0),
                    None if moved == 0 => break,
                    None => {}
                }
            }
            self.wait(SECOND / 4);
        }
    }
}

/// What an end is: each start of it has a session of its own.
fn serial(at: usize, proof: Proof, count: u64) -> Config {
    let role = [Role::Client, Role::Server][at];
    let mut dispatch = Dispatch::new();
    for data_id in 1..4 {
        let route = Route { handler: 0, entry: 0, timeout: 8 * SECOND, name: "datum" };
        dispatch.insert(Some(10.into()), Some(data_id.into()), route);
    }
    Config {
        // As random ones, the digits tell ends and starts apart.
        session: format!("{:08x}{count:06x}{at:02x}", (count + 1) * 1_000_003 % 0xffff_fffb).into(),
        secret: proof != Proof::Nothing,
        secure: proof == Proof::Records,
        legacy: proof == Proof::Key,
        dispatch: Arc::new(dispatch),
        ..config(role).serial()
    }
}

fn proof() -> impl Strategy<Value = Proof> {
    let proofs = [Proof::Nothing, Proof::Key, Proof::Records];
    // Without secure mode there are no records.
    (0..if cfg!(feature = "secure") { 3 } else { 2_usize }).prop_map(move |which| proofs[which])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_a_serial_line_and_its_ends_do_no_answer_is_anothers_and_calls_work_again(
        proof in proof(),
        script in proptest::collection::vec(act(), 0..200),
    ) {
        let mut pair = Pair::new(proof);
        for act in &script {
            pair.act(act);
        }
        // HELLO, a call that notices the lost trust, the times of all that waits.
        pair.settle(30 * SECOND);
        prop_assert!(pair.open.is_empty(), "{:?}", pair.open);
        for _ in 0..2 {
            pair.call(0, 1);
            pair.settle(15 * SECOND);
        }
        pair.answered = 0;
        pair.call(0, 1);
        pair.call(1, 1);
        pair.settle(15 * SECOND);
        prop_assert_eq!(pair.answered, 2);
        prop_assert!(pair.open.is_empty());
    }
}
