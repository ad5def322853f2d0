//! Two sessions on a line of any speed, whose system keeps what it cannot carry yet: as long as bytes arrive nobody is taken
//! for dead, and once they do not, everybody is.

use proptest::prelude::*;

use super::*;

/// The time of one step; both sides are looked at once in each.
const STEP: Duration = Duration::from_millis(250);

/// One direction.
#[derive(Clone, Debug)]
struct Way {
    /// Bytes that arrive in each step.
    rate: usize,
    /// Bytes that the system takes beyond those.
    room: usize,
}

/// A request or a message of so many bytes, or none, and so many steps until the next.
#[derive(Clone, Debug)]
struct Act {
    from: usize,
    size: usize,
    answered: bool,
    steps: usize,
}

fn way() -> impl Strategy<Value = Way> {
    (prop_oneof![500..2_000_usize, Just(usize::MAX)], prop_oneof![0..10_000_usize, 0..600_000_usize])
        .prop_map(|(rate, room)| Way { rate, room })
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![3 => 10..1_000_usize, 1 => 10..400_000_usize];
    let steps = prop_oneof![2 => 1..40_usize, 1 => 40..400_usize];
    (0..2_usize, size, any::<bool>(), steps).prop_map(|(from, size, answered, steps)| Act {
        from,
        size,
        answered,
        steps,
    })
}

struct End {
    session: Session,
    way: Way,
    /// What its system holds.
    system: BytesMut,
    /// What it sends gets lost on the way.
    is_cut: bool,
    input: BytesMut,
    running: Vec<RequestId>,
    /// When a byte last arrived here.
    heard: Instant,
    /// When it ended.
    ended: Option<Instant>,
}

struct Pair {
    ends: [End; 2],
    now: Instant,
    calls: CallKey,
}

impl Pair {
    fn new(ways: [Way; 2]) -> Self {
        let now = Instant::now();
        let [first, second] = ways;
        let ends = [(Role::Client, first), (Role::Server, second)].map(|(role, way)| {
            let mut config = config(role).limit(|limits| {
                limits.handler_timeout = 10_000 * SECOND;
                // Lines may be slower than frames have to be.
                limits.frame_timeout = 10_000 * SECOND;
            });
            // As random ones, the digits tell the ends apart.
            config.session =
                format!("00000000000000{}", if role == Role::Client { "20" } else { "e0" }).into();
            End {
                session: Session::new(config, now),
                way,
                system: BytesMut::new(),
                is_cut: false,
                input: BytesMut::new(),
                running: Vec::new(),
                heard: now,
                ended: None,
            }
        });
        Self { ends, now, calls: 0 }
    }

    fn act(&mut self, act: &Act) {
        self.calls += 1;
        let service_id = if act.answered { 10 } else { 50 };
        let text = format!("{service_id}/1 \"{}\"", "x".repeat(act.size));
        let new = new_call(self.calls, &text, 10_000 * SECOND);
        let kind = if act.answered { CallKind::Request } else { CallKind::Send { status: Status::OKAY } };
        self.ends[act.from].session.handle_call(NewCall { kind, ..new }, self.now);
        for _ in 0..act.steps {
            self.step();
        }
    }

    /// What each side can take and give in one step; where one ends, the other sees it only over a whole line.
    fn step(&mut self) {
        self.now += STEP;
        for at in 0..2 {
            let end = &mut self.ends[at];
            if end.session.poll_timeout().is_some_and(|due| due <= self.now) {
                end.session.handle_timeout(self.now);
            }
            if end.session.close_reason().is_some() {
                end.ended.get_or_insert(self.now);
            }
            let room = end.way.rate.saturating_add(end.way.room).saturating_sub(end.system.len());
            let ready = end.session.poll_transmit();
            let taken = ready.len().min(room);
            end.system.extend_from_slice(&ready[..taken]);
            if taken > 0 {
                end.session.handle_sent(taken, self.now);
            }
            let arrives = end.system.len().min(end.way.rate);
            let bytes = end.system.split_to(arrives);
            if arrives > 0 && !end.is_cut {
                let other = &mut self.ends[1 - at];
                other.heard = self.now;
                other.input.extend_from_slice(&bytes);
            }
        }
        for at in 0..2 {
            self.drive(at);
        }
    }

    fn drive(&mut self, at: usize) {
        let end = &mut self.ends[at];
        end.session.handle_input(&mut end.input, self.now);
        while let Some(event) = end.session.poll_event() {
            if let Event::Dispatch(incoming) = event {
                end.running.push(incoming.request);
            }
        }
        for request in std::mem::take(&mut end.running) {
            end.session.handle_reply(request, Status::OKAY, "1", self.now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn who_is_there_lives_and_who_has_gone_is_noticed(
        ways in (way(), way()),
        acts in proptest::collection::vec(act(), 0..12),
        cut in 1..4_u8,
    ) {
        let mut pair = Pair::new([ways.0, ways.1]);
        for _ in 0..16 {
            pair.step();
        }
        for act in &acts {
            pair.act(act);
            for end in &pair.ends {
                prop_assert_eq!(end.session.close_reason(), None);
                prop_assert!(end.session.is_ready());
            }
        }
        // A cable, in one direction or both.
        for at in 0..2 {
            pair.ends[at].is_cut = cut & (1 << at) != 0;
        }
        let deaf: Vec<usize> = (0..2).filter(|at| pair.ends[1 - at].is_cut).collect();
        for at in deaf {
            let timeout = pair.ends[at].session.config.limits.heartbeat_timeout;
            // At the most: what it had yet to write, a question behind it, and the time for an answer.
            let most = pair.now + 2 * timeout + 5_000_000 / 500 * STEP;
            while pair.ends[at].ended.is_none() {
                pair.step();
                prop_assert!(pair.now < most, "nobody notices");
            }
            let end = &pair.ends[at];
            prop_assert!(matches!(end.session.close_reason(), Some(CloseReason::HeartbeatTimeout(_))));
            let silence = end.ended.unwrap() - end.heard;
            prop_assert!(silence >= timeout, "too early");
            if end.way.rate == usize::MAX {
                prop_assert!(silence <= timeout + 2 * STEP, "too late");
            }
        }
    }
}

/// A line that takes 40 s for what the system took at once.
#[test]
fn who_listens_to_a_large_frame_keeps_its_sender_alive() {
    let way = |rate| Way { rate, room: 1 << 20 };
    let mut pair = Pair::new([way(500), way(usize::MAX)]);
    for _ in 0..16 {
        pair.step();
    }
    pair.act(&Act { from: 0, size: 400_000, answered: false, steps: 900 });
    assert!(pair.ends.iter().all(|end| end.session.close_reason().is_none()));
}
