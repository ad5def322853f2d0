//! From a message's ids to the code that serves it.

use std::hint::black_box;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bench::dialogue::{config, data_ids};
use crate::bench::{CALL, Case, SERVICE, request};
use crate::framing::Framing;
use crate::link::Link;
use crate::peer::Peer;
use crate::service::{Door, Request, Service, State, Step};
use crate::session::Role;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("derive/dispatch", 0, dispatch)];
    for ids in [1, 100, 10_000] {
        cases.push(Case::new(format!("dispatch/find/{ids}"), 0, move || find(ids)));
    }
    cases
}

/// The look-up in an endpoint's table.
fn find(ids: u32) -> impl FnMut() {
    let table = config(Role::Server, Framing::Length, ids).dispatch;
    let data_ids: Vec<_> = data_ids(ids).collect();
    let mut turn = 0;
    move || {
        turn = (turn + 1) % data_ids.len();
        assert!(black_box(table.find(SERVICE, data_ids[turn])).is_some());
    }
}

#[derive(Deserialize)]
struct Reading {
    unit: String,
    seq: u64,
}

#[derive(Serialize)]
struct Taken {
    seq: u64,
    value: f64,
    ok: bool,
}

#[derive(socketproto_derive::Service)]
#[service(crate = crate)]
#[did(7, execute = fn take(reading: Reading) -> Taken)]
struct Boiler {
    #[did(1, read)]
    pressure: f64,
    #[did(2, read, write)]
    setpoint: f64,
}

impl Boiler {
    fn take(&mut self, reading: Reading) -> Taken {
        Taken { seq: reading.seq, value: 21.5, ok: reading.unit == "celsius" }
    }
}

/// What a derived service does for one request: its data read, its method run, the reply written.
fn dispatch() -> impl FnMut() {
    let state = State::new(Boiler { pressure: 1.0, setpoint: 20.0 }, Door::new(drop));
    let peer = Peer::of_handler(Arc::new(Link::new("mem://bench".into(), Arc::default(), 1024 * 1024)));
    let (header, data) = request(CALL).into_parts();
    let entry = Boiler::SERVICE.entries().iter().position(|entry| entry.name() == "take");
    let entry = entry.expect("it is declared");
    let mut request = Request::new(peer);
    let mut out = Vec::new();
    move || {
        out.clear();
        request.set(header, data.clone(), "take");
        assert!(matches!(state.dispatch(entry, &request, &mut out), Step::Now(Ok(()))));
        black_box(&out);
    }
}
