//! Sessions: bytes in, bytes out.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::bench::lines::streamed;
use crate::bench::{CALL, Case, DATUM, KIB, MIB, SERVICE, header, size};
use crate::endpoint::Settings;
use crate::frame::{self, Format};
use crate::framing::{Deframer, Framer, Framing, Piece};
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json};
use crate::session::{CallKind, Config, Event, NewCall, Role, Session};
use crate::transport::Options;

/// What every request is answered.
const REPLY: &str = r#"{"seq":123456,"value":21.5,"ok":true}"#;
const REQUEST: &[u8] = br#"{"sensor":"boiler-room-7","unit":"celsius","seq":123456}"#;

/// How many requests a case takes in turn, spread over the registered ids.
const SPREAD: u32 = 100;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for framing in [Framing::Length, Framing::Stp] {
        let name = framing.to_string().to_lowercase();
        cases.push(Case::new(format!("session/{name}/serve"), CALL, move || serve(framing, 1)));
        cases.push(Case::new(format!("session/{name}/call"), CALL, move || call(framing)));
        for bytes in [MIB / 2, MIB] {
            let name = format!("session/{name}/bytewise/{}", size(bytes));
            cases.push(Case::new(name, bytes, move || bytewise(framing, bytes)));
        }
    }
    for ids in [1, 100, 10_000] {
        cases.push(Case::new(format!("session/ids/{ids}"), CALL, move || serve(Framing::Length, ids)));
    }
    cases
}

/// What an endpoint gives its sessions, where it serves so many data, [`DATUM`] first.
pub(super) fn config(role: Role, framing: Framing, ids: u32) -> Config {
    let mut settings = Settings::new();
    for data_id in data_ids(ids) {
        settings.callback(Some(SERVICE), Some(data_id), |_| Ok(Json::NULL));
    }
    let options = Options { framing: Some(framing), ..Options::default() };
    settings.build(role, &options).expect("nothing is served twice").config
}

pub(super) fn data_ids(count: u32) -> impl Iterator<Item = DataId> {
    (0..count).map(|number| DataId::new(DATUM.value() + number))
}

/// A server's session: a request in, its answer out.
fn serve(framing: Framing, ids: u32) -> impl FnMut() {
    let now = Instant::now();
    let (_, mut server) = acquainted(framing, ids, now);
    let requests: Vec<_> =
        data_ids(ids).step_by(ids.div_ceil(SPREAD) as usize).map(|id| on_stream(framing, id)).collect();
    let mut turn = 0;
    move || {
        turn = (turn + 1) % requests.len();
        server.input.extend_from_slice(&requests[turn]);
        server.session.handle_input(&mut server.input, now);
        let Some(Event::Dispatch(incoming)) = server.session.poll_event() else {
            panic!("a served datum is dispatched");
        };
        server.session.handle_reply(incoming.request, Status::OKAY, REPLY, now);
        drop(incoming);
        server.sent(now);
    }
}

/// A client's session: a call out, its answer in. That the answer is encoded here counts as well.
fn call(framing: Framing) -> impl FnMut() {
    let now = Instant::now();
    let (mut client, _) = acquainted(framing, 1, now);
    let mut framer = Framer::new(framing);
    let mut message_id = ask(&mut client, 0, now, framing);
    let mut key = 0;
    move || {
        answer(&mut framer, message_id, &mut client.input);
        client.session.handle_input(&mut client.input, now);
        assert!(matches!(client.session.poll_event(), Some(Event::Completed { outcome: Ok(_), .. })));
        client.release();
        key += 1;
        client.session.handle_call(new_call(key), now);
        client.sent(now);
        message_id += 1;
    }
}

/// A server's session: a large frame that arrives byte by byte.
fn bytewise(framing: Framing, bytes: usize) -> impl FnMut() {
    let now = Instant::now();
    let (_, mut server) = acquainted(framing, 1, now);
    let stream = streamed(framing, bytes);
    move || {
        for byte in &stream {
            server.input.extend_from_slice(&[*byte]);
            server.session.handle_input(&mut server.input, now);
        }
        let Some(Event::Dispatch(incoming)) = server.session.poll_event() else {
            panic!("a served datum is dispatched");
        };
        server.session.handle_reply(incoming.request, Status::OKAY, REPLY, now);
        drop(incoming);
        server.sent(now);
    }
}

/// A session and its line.
struct End {
    session: Session,
    input: BytesMut,
}

impl End {
    fn new(role: Role, framing: Framing, ids: u32, now: Instant) -> Self {
        Self { session: Session::new(config(role, framing, ids), now), input: BytesMut::new() }
    }

    /// What the session has to send reaches the other side.
    fn carry(&mut self, to: &mut Self, now: Instant) {
        to.input.extend_from_slice(self.session.poll_transmit());
        self.sent(now);
        to.session.handle_input(&mut to.input, now);
        while to.session.poll_event().is_some() {}
    }

    /// What the session has to send leaves.
    fn sent(&mut self, now: Instant) {
        let bytes = black_box(self.session.poll_transmit()).len();
        assert!(self.session.close_reason().is_none());
        self.session.handle_sent(bytes, now);
        self.release();
    }

    /// As the owner of a session does after each read.
    fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

/// A client and a server that have greeted each other.
fn acquainted(framing: Framing, ids: u32, now: Instant) -> (End, End) {
    let mut client = End::new(Role::Client, framing, 1, now);
    let mut server = End::new(Role::Server, framing, ids, now);
    while !client.session.poll_transmit().is_empty() || !server.session.poll_transmit().is_empty() {
        client.carry(&mut server, now);
        server.carry(&mut client, now);
    }
    (client, server)
}

fn new_call(call: u64) -> NewCall {
    NewCall {
        call,
        service_id: SERVICE,
        data_id: DATUM,
        data: REQUEST.to_vec(),
        timeout: Duration::from_secs(10),
        kind: CallKind::Request,
        nested: false,
        response: None,
    }
}

/// Makes a call, and gives its message id; those of the next calls follow.
fn ask(client: &mut End, key: u64, now: Instant, framing: Framing) -> u64 {
    client.session.handle_call(new_call(key), now);
    let mut sent = BytesMut::from(client.session.poll_transmit());
    client.sent(now);
    let Ok(Some(Piece::Frame(frame))) = Deframer::new(framing, KIB).decode(&mut sent) else {
        panic!("a call is one frame");
    };
    frame::decode(frame)
        .ok()
        .and_then(|decoded| decoded.message.header().message_id)
        .expect("peers that have greeted each other use ids")
}

fn answer(framer: &mut Framer, message_id: u64, out: &mut BytesMut) {
    let header = Header { service_id: ServiceId::EXECUTE_RESPONSE, ..header(message_id) };
    framer.frame(out, |out| frame::encode(Format::Json, &header, REPLY, out)).expect("the reply is flat");
}

/// A request of this datum on a stream.
fn on_stream(framing: Framing, data_id: DataId) -> Bytes {
    let header = Header { data_id, ..header(1_234_567) };
    let data = std::str::from_utf8(REQUEST).expect("it is text");
    let mut out = BytesMut::new();
    Framer::new(framing)
        .frame(&mut out, |out| frame::encode(Format::Json, &header, data, out))
        .expect("the request is flat");
    out.freeze()
}
