//! Handlers that call the peer and wait for the answer, from both sides at once (protocol.md 8.1).

use std::collections::HashMap;

use super::*;

/// Two ends. A request says how deep its handler calls back; it answers when its own calls are answered.
struct Load {
    sessions: [Session; 2],
    inputs: [BytesMut; 2],
    /// The requests that wait for calls of theirs, and for how many.
    waiting: [HashMap<RequestId, u32>; 2],
    /// Whose calls these are; none for those that no handler made.
    calls: [HashMap<CallKey, Option<RequestId>>; 2],
    now: Instant,
    next_call: CallKey,
    hello: bool,
    fan_out: u32,
    /// The calls answered that no handler made.
    answered: u32,
}

impl Load {
    fn new(hello: bool, fan_out: u32) -> Self {
        let now = Instant::now();
        let sessions = [Role::Client, Role::Server].map(|role| {
            let config = config(role).limit(|limits| limits.max_in_flight = 4);
            let mut config =
                config.dispatch(|dispatch| (100..110).for_each(|data_id| serve(dispatch, 10, data_id)));
            config.session = format!("{role:?}").into();
            Session::new(if hello || role == Role::Server { config } else { config.old_peer() }, now)
        });
        Self {
            sessions,
            inputs: Default::default(),
            waiting: Default::default(),
            calls: Default::default(),
            now,
            next_call: 0,
            hello,
            fan_out,
            answered: 0,
        }
    }

    fn call(&mut self, at: usize, depth: u32, parent: Option<RequestId>) {
        self.next_call += 1;
        self.calls[at].insert(self.next_call, parent);
        // Without ids an answer waits for those before it of its datum: one that waits for itself never comes.
        let data_id = if self.hello { 1 } else { 100 + depth };
        let new = new_call(self.next_call, &format!("10/{data_id} {depth}"), 10 * SECOND);
        self.sessions[at].handle_call(NewCall { nested: parent.is_some(), ..new }, self.now);
    }

    /// Carries and runs until nothing moves; no time passes.
    fn run(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for at in 0..2 {
                let bytes = self.sessions[at].poll_transmit().to_vec();
                self.sessions[at].handle_sent(bytes.len(), self.now);
                self.inputs[1 - at].extend_from_slice(&bytes);
                self.sessions[at].handle_input(&mut self.inputs[at], self.now);
                while let Some(event) = self.sessions[at].poll_event() {
                    self.handle(at, event);
                    moved = true;
                }
                moved |= !bytes.is_empty();
            }
        }
    }

    fn handle(&mut self, at: usize, event: Event) {
        match event {
            Event::Dispatch(incoming) => match incoming.data.decode::<u32>().unwrap() {
                0 => self.sessions[at].handle_reply(incoming.request, Status::OKAY, "null", self.now),
                depth => {
                    self.waiting[at].insert(incoming.request, self.fan_out);
                    for _ in 0..self.fan_out {
                        self.call(at, depth - 1, Some(incoming.request));
                    }
                }
            },
            Event::Completed { call, outcome } => {
                outcome.unwrap();
                let Some(parent) = self.calls[at].remove(&call).unwrap() else {
                    self.answered += 1;
                    return;
                };
                let left = self.waiting[at].get_mut(&parent).unwrap();
                *left -= 1;
                if *left == 0 {
                    self.waiting[at].remove(&parent);
                    self.sessions[at].handle_reply(parent, Status::OKAY, "null", self.now);
                }
            }
            _ => {}
        }
    }
}

#[track_caller]
fn all_are_answered(hello: bool, calls: u32, depth: u32, fan_out: u32) {
    let mut load = Load::new(hello, fan_out);
    load.run();
    for _ in 0..calls {
        load.call(0, depth, None);
        load.call(1, depth, None);
    }
    load.run();
    assert_eq!(load.answered, 2 * calls, "depth {depth}, {fan_out} calls back");
}

#[test]
fn handlers_that_call_back_never_wait_for_each_other_for_ever() {
    for hello in [true, false] {
        for depth in 0..10 {
            all_are_answered(hello, 200, depth, 1);
        }
        all_are_answered(hello, 20, 2, 10);
    }
}
