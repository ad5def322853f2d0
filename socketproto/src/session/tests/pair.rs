//! Two sessions on one line, under a random script: whatever happens, every call ends once, and with its own answer.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// One thing that happens. Ends are 0, the client, and 1, the server.
#[derive(Clone, Debug)]
enum Act {
    Call {
        from: usize,
        data_id: u32,
        nested: bool,
        timeout: Duration,
    },
    Reply {
        at: usize,
        which: Index,
        fault: bool,
    },
    Cancel {
        from: usize,
        which: Index,
    },
    /// So many bytes of what this end has to send arrive at the other.
    Carry {
        from: usize,
        bytes: usize,
    },
    Wait {
        time: Duration,
    },
    Cut,
}

fn act() -> impl Strategy<Value = Act> {
    let end = 0..2_usize;
    let call = (end.clone(), 1..4_u32, any::<bool>(), 500..20_000_u64);
    prop_oneof![
        8 => call.prop_map(|(from, data_id, nested, millis)| {
            Act::Call { from, data_id, nested, timeout: Duration::from_millis(millis) }
        }),
        8 => (end.clone(), any::<Index>(), any::<bool>()).prop_map(|(at, which, fault)| Act::Reply { at, which, fault }),
        1 => (end.clone(), any::<Index>()).prop_map(|(from, which)| Act::Cancel { from, which }),
        12 => (end, prop_oneof![1..8_usize, 1..300_usize, Just(usize::MAX)])
            .prop_map(|(from, bytes)| Act::Carry { from, bytes }),
        3 => prop_oneof![4 => 1..500_u64, 1 => 1..6_000_u64]
            .prop_map(|millis| Act::Wait { time: Duration::from_millis(millis) }),
        // The weight of one in hundreds: most scripts end with the line whole.
        1 => any::<u8>().prop_map(|dice| if dice < 32 { Act::Cut } else { Act::Wait { time: SECOND } }),
    ]
}

/// How the two ends know each other.
#[derive(Clone, Copy, Debug)]
struct Terms {
    framing: Framing,
    hello: bool,
    secret: bool,
    /// The exchanges of section 4 are over before the script begins.
    settled: bool,
}

impl Terms {
    /// Whether every call carries an id, so that no answer can ever be taken for another's.
    fn always_ids(self) -> bool {
        self.hello && self.settled
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let line =
        prop_oneof![Just((Framing::Length, true)), Just((Framing::Stp, true)), Just((Framing::Stp, false))];
    (line, any::<bool>(), any::<bool>()).prop_map(|((framing, hello), secret, settled)| Terms {
        framing,
        hello,
        secret,
        settled,
    })
}

#[derive(Debug)]
struct Made {
    data_id: u32,
    deadline: Instant,
    /// How long a tombstone of it stands.
    stands: Duration,
    /// Timed out or cancelled.
    given_up: Option<Instant>,
    done: bool,
}

/// One end, and what its owner remembers.
struct End {
    session: Session,
    input: BytesMut,
    authenticator: Authenticator,
    calls: BTreeMap<CallKey, Made>,
    running: Vec<(RequestId, String)>,
    last_request: RequestId,
    /// The number of the last request that came, per datum and kind of call.
    last_number: HashMap<(u32, bool), u64>,
}

struct Pair {
    terms: Terms,
    ends: [End; 2],
    now: Instant,
    next_call: CallKey,
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const IN_FLIGHT: usize = 3;

impl Pair {
    fn new(terms: Terms) -> Self {
        let now = Instant::now();
        let ends = ROLES.map(|role| {
            let mut dispatch = Dispatch::new();
            for data_id in 1..4 {
                let route = Route { handler: 0, entry: 0, timeout: 8 * SECOND, name: "datum" };
                dispatch.insert(Some(10.into()), Some(data_id.into()), route);
            }
            let mut config = config(role).limit(|limits| limits.max_in_flight = IN_FLIGHT);
            config.dispatch = Arc::new(dispatch);
            config.session = format!("{role:?}").into();
            (config.secret, config.legacy) = (terms.secret, terms.secret);
            config.hello = terms.hello && role == Role::Client;
            config.framing = (role == Role::Client).then_some(terms.framing);
            End {
                session: Session::new(config, now),
                input: BytesMut::new(),
                authenticator: Authenticator::default(),
                calls: BTreeMap::new(),
                running: Vec::new(),
                last_request: 0,
                last_number: HashMap::new(),
            }
        });
        let mut pair = Self { terms, ends, now, next_call: 1 };
        if terms.settled {
            pair.carry_all();
        }
        pair
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Call { from, data_id, nested, timeout } => self.call(*from, *data_id, *nested, *timeout),
            Act::Reply { at, which, fault } => {
                let running = self.ends[*at].running.len();
                if running > 0 {
                    self.reply(*at, which.index(running), *fault);
                }
            }
            Act::Cancel { from, which } => self.cancel(*from, which),
            Act::Carry { from, bytes } => {
                self.carry(*from, *bytes);
            }
            Act::Wait { time } => self.wait(*time),
            Act::Cut => self.cut(),
        }
    }

    fn call(&mut self, from: usize, data_id: u32, nested: bool, timeout: Duration) {
        let call = self.next_call;
        self.next_call += 1;
        let stands = (timeout / 2).min(5 * SECOND);
        let made = Made { data_id, deadline: self.now + timeout, stands, given_up: None, done: false };
        let new = NewCall { nested, ..new_call(call, &format!("10/{data_id} [{call},{nested}]"), timeout) };
        self.ends[from].calls.insert(call, made);
        self.ends[from].session.handle_call(new, self.now);
        self.drive(from);
    }

    fn reply(&mut self, at: usize, which: usize, fault: bool) {
        let (request, number) = self.ends[at].running.swap_remove(which);
        let status = if fault { Status::new(7).unwrap() } else { Status::OKAY };
        self.ends[at].session.handle_reply(request, status, &number, self.now);
        self.drive(at);
    }

    fn cancel(&mut self, from: usize, which: &Index) {
        let end = &mut self.ends[from];
        let open: Vec<_> = end.calls.iter().filter(|(_, made)| !made.done).map(|(call, _)| *call).collect();
        if open.is_empty() {
            return;
        }
        let call = *which.get(&open);
        let made = end.calls.get_mut(&call).unwrap();
        made.done = true;
        made.given_up = Some(self.now);
        end.session.handle_cancel(call, self.now);
        self.drive(from);
    }

    /// How many bytes arrived.
    fn carry(&mut self, from: usize, bytes: usize) -> usize {
        let ready = self.ends[from].session.poll_transmit();
        let bytes = bytes.min(ready.len());
        let chunk = ready[..bytes].to_vec();
        self.ends[from].session.handle_sent(bytes, self.now);
        if self.ends[1 - from].session.close_reason().is_none() {
            self.ends[1 - from].input.extend_from_slice(&chunk);
            self.drive(1 - from);
        }
        bytes
    }

    fn carry_all(&mut self) {
        while self.carry(0, usize::MAX) + self.carry(1, usize::MAX) > 0 {}
    }

    /// Answers all that runs and carries all that is to be sent, until nothing moves.
    fn finish(&mut self) {
        loop {
            self.carry_all();
            let Some(at) = (0..2).find(|at| !self.ends[*at].running.is_empty()) else { return };
            self.reply(at, 0, false);
        }
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

    fn cut(&mut self) {
        for at in 0..2 {
            self.ends[at].session.close(CloseReason::Peer);
            self.drive(at);
        }
    }

    fn is_cut(&self) -> bool {
        self.ends.iter().any(|end| end.session.close_reason().is_some())
    }

    fn drive(&mut self, at: usize) {
        let mut asked = true;
        while asked {
            asked = false;
            let end = &mut self.ends[at];
            end.session.handle_input(&mut end.input, self.now);
            while let Some(event) = self.ends[at].session.poll_event() {
                match event {
                    Event::Ask(question) => {
                        let answer = self.ends[at].authenticator.answer(&question);
                        self.ends[at].session.handle_auth_answer(answer, self.now);
                        asked = true;
                    }
                    Event::Dispatch(incoming) => self.dispatched(at, &incoming),
                    Event::Completed { call, outcome } => self.completed(at, call, outcome),
                    Event::Expired { .. } | Event::Cancelled { .. } | Event::WrongKey | Event::Ready => {}
                }
            }
        }
        // The end of one side is the end of the other.
        if self.ends[at].session.close_reason().is_some()
            && self.ends[1 - at].session.close_reason().is_none()
        {
            self.ends[1 - at].session.close(CloseReason::Peer);
            self.drive(1 - at);
        }
    }

    fn dispatched(&mut self, at: usize, incoming: &Incoming) {
        assert!(self.ends[at].session.close_reason().is_none(), "nothing is dispatched after the end");
        let (number, nested): (u64, bool) = incoming.data.decode().unwrap();
        let data_id = incoming.header.data_id.value();
        assert_eq!(self.ends[1 - at].calls[&number].data_id, data_id);
        let end = &mut self.ends[at];
        assert!(incoming.request > end.last_request, "requests are dispatched in the order of their arrival");
        end.last_request = incoming.request;
        let last = end.last_number.insert((data_id, nested), number);
        assert!(last.is_none_or(|last| last < number), "once each, and in the order of the calls");
        end.running.push((incoming.request, number.to_string()));
    }

    fn completed(&mut self, at: usize, call: CallKey, outcome: CallOutcome) {
        let (now, open) = (self.now, self.ends[at].session.close_reason().is_none());
        let made = self.ends[at].calls.get_mut(&call).expect("a call that was made");
        assert!(!made.done, "call {call} ends twice");
        made.done = true;
        let (status, data) = match outcome {
            Ok(Done::Answered(status, data)) => (status, data),
            Ok(other) => panic!("{other:?}"),
            Err(CallFailure::TimedOut | CallFailure::Unsent(None)) => {
                assert!(made.deadline <= now, "call {call} ends too early");
                made.given_up = Some(now);
                return;
            }
            Err(CallFailure::Lost(_) | CallFailure::Unsent(Some(_))) if !open => return,
            Err(failure) => panic!("call {call}: {failure:?}"),
        };
        let own = match status.value() {
            0 => call.to_string(),
            7 => format!("{{\"error\":\"{call}\"}}"),
            _ => r#"{"error":"handler timed out"}"#.to_owned(),
        };
        if data.as_str() == own {
            return;
        }
        assert!(!self.terms.always_ids(), "call {call} got {data}");
        // Without ids an answer that comes after the tombstone has gone is taken for the next call's.
        let data_id = made.data_id;
        let explained = self.ends[at].calls.values().any(|other| {
            other.data_id == data_id && other.given_up.is_some_and(|given_up| given_up + other.stands <= now)
        });
        assert!(explained, "call {call} got {data}");
    }

    /// Every call that was made and not cancelled has ended.
    fn assert_all_done(&self) {
        for end in &self.ends {
            let open: Vec<_> = end.calls.iter().filter(|(_, made)| !made.done).collect();
            assert!(open.is_empty(), "{open:?}");
        }
    }

    /// Nothing is left over: the whole window is free.
    fn assert_window_is_free(&mut self) {
        for at in 0..2 {
            for _ in 0..IN_FLIGHT {
                let before = self.ends[at].session.poll_transmit().len();
                self.call(at, 1, false, SECOND);
                assert!(
                    self.ends[at].session.poll_transmit().len() > before,
                    "a place in the window has got lost"
                );
            }
            self.finish();
        }
    }

    fn assert_idle(&self) {
        for end in &self.ends {
            assert_eq!(end.session.requests.running(), 0);
            assert!(!end.session.requests.has_parked());
            assert!(end.session.is_idle());
            assert_eq!(end.session.auth_state() == AuthState::Trusted, self.terms.secret);
            assert_eq!(Counters { late: 0, expired: 0, ..end.session.counters }, Counters::default());
        }
    }
}

proptest! {
    #[test]
    fn every_call_ends_once_and_with_its_own_answer(
        terms in terms(),
        script in proptest::collection::vec(act(), 0..150),
    ) {
        let mut pair = Pair::new(terms);
        for act in &script {
            pair.act(act);
        }
        pair.finish();
        if !pair.is_cut() && terms.always_ids() {
            pair.assert_all_done();
            pair.assert_idle();
            pair.assert_window_is_free();
        }
        // What waits behind a tombstone goes out or times out.
        for _ in 0..60 {
            pair.wait(SECOND);
            pair.finish();
        }
        pair.assert_all_done();
        pair.cut();
        pair.call(0, 1, false, SECOND);
        pair.call(1, 1, true, SECOND);
        pair.assert_all_done();
        for end in &pair.ends {
            prop_assert_eq!(end.session.poll_timeout(), None);
            prop_assert!(!end.session.requests.has_parked());
            prop_assert_eq!(end.session.auth_state(), AuthState::Untrusted);
        }
    }
}

/// All terms, with calls from both sides at once.
#[test]
fn both_sides_call_each_other_at_once() {
    for (framing, hello) in [(Framing::Length, true), (Framing::Stp, true), (Framing::Stp, false)] {
        for (secret, settled) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut pair = Pair::new(Terms { framing, hello, secret, settled });
            for round in 0..100 {
                pair.call(round % 2, 1 + u32::try_from(round % 3).unwrap(), false, 10 * SECOND);
            }
            pair.finish();
            pair.assert_all_done();
            pair.assert_idle();
        }
    }
}
