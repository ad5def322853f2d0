//! Dialogues of a session with a scripted peer, and of two sessions with each other. The time is an argument here,
//! so that no test waits; seeds are counted, so that every run is the same.
//!
//! Messages are written as `SID/DID sSTATUS #MESSAGE_ID DATA`; what is 0, absent or null is left out.

mod auth;
mod calls;
mod counts;
mod dialogue;
mod garbage;
mod gate;
mod heartbeat;
mod heartbeat_pair;
mod limits;
mod lines;
mod load;
mod memory;
mod opening;
mod operations;
mod pace;
mod pair;
#[cfg(feature = "secure")]
mod rekey;
mod restart;
mod restart_pair;
#[cfg(feature = "secure")]
mod secure;
#[cfg(feature = "secure")]
mod secure_edges;
mod untrusted;

use sha2::{Digest, Sha512};

use super::*;
use crate::frame;
use crate::framing::Piece;
use crate::id::AuthState;
use crate::limits::Limits;
use crate::message::Header;
use crate::message::Message;
use crate::session::dispatch::Route;

const SECRET: &str = "a secret of the tests";
const OURS: &str = "00000000000000aa";
/// What a peer says of itself that takes two calls at once, and frames of 100,000 bytes.
const HELLO: &str =
    r#"{"session":"00000000000000bb","features":["message_id"],"max_frame":100000,"max_in_flight":2}"#;
/// The HELLO of the default limits.
const OUR_HELLO: &str = r#"{"session":"00000000000000aa","features":["message_id","heartbeat","cancel"],"max_frame":8388608,"max_in_flight":256}"#;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// An endpoint that speaks length framing as a client, and whatever comes as a server.
///
/// It serves 10/1, 10/2, 20/2 and 30/3, takes the response 11/8 and the message 50/1, and has a service 40 without
/// data.
pub(crate) fn config(role: Role) -> Config {
    let mut dispatch = Dispatch::new();
    dispatch.add_service(40.into(), 41.into()).unwrap();
    for (service_id, data_id) in [(10, 1), (10, 2), (20, 2), (30, 3), (11, 8), (50, 1)] {
        serve(&mut dispatch, service_id, data_id);
    }
    Config {
        role,
        session: OURS.into(),
        channel_name: None,
        secret: false,
        secure: false,
        legacy: false,
        ignore_sentinel: false,
        trust_certificates: false,
        auto_auth: true,
        reconnect: false,
        hello: role == Role::Client,
        framing: (role == Role::Client).then_some(Framing::Length),
        format: Format::Json,
        lossy: false,
        serial: false,
        line_rate: None,
        limits: Arc::default(),
        dispatch: Arc::new(dispatch),
    }
}

fn serve(dispatch: &mut Dispatch, service_id: u32, data_id: u32) {
    let route = Route { handler: 0, entry: 0, timeout: 30 * SECOND, name: "datum" };
    dispatch.insert(Some(service_id.into()), Some(data_id.into()), route);
}

impl Config {
    fn secret(mut self) -> Self {
        self.secret = true;
        self.legacy = true;
        self
    }

    /// The peer is of the old library.
    fn old_peer(mut self) -> Self {
        self.hello = false;
        self.framing(Framing::Stp)
    }

    fn framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    fn named(mut self, name: &str) -> Self {
        self.channel_name = Some(name.into());
        self
    }

    fn limit(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(Arc::make_mut(&mut self.limits));
        self
    }

    fn dispatch(mut self, change: impl FnOnce(&mut Dispatch)) -> Self {
        change(Arc::get_mut(&mut self.dispatch).expect("the session has yet to be made"));
        self
    }

    /// 10/9 is served to everybody.
    fn public(self) -> Self {
        self.dispatch(|dispatch| {
            serve(dispatch, 10, 9);
            dispatch.whitelist(10.into(), 9.into());
        })
    }
}

/// The one who knows the secret.
#[derive(Debug, Default)]
struct Authenticator {
    seeds: u64,
    /// Handshakes so far: each has random bytes of its own.
    handshakes: u8,
    /// Which of two secrets it knows.
    other: bool,
}

impl Authenticator {
    fn answer(&mut self, question: &AuthQuestion) -> AuthAnswer {
        match question {
            AuthQuestion::Seed => {
                self.seeds += 1;
                AuthAnswer::Seed(Some(seed(self.seeds)))
            }
            AuthQuestion::Verify { seed, key: sent } => {
                AuthAnswer::Verdict(sent.as_ref() == Some(&key(seed)))
            }
            AuthQuestion::Prove { seed } => AuthAnswer::Key(key(seed)),
            #[cfg(feature = "secure")]
            AuthQuestion::Offer | AuthQuestion::Accept(_) => self.answer_secure(question),
            #[cfg(not(feature = "secure"))]
            AuthQuestion::Offer | AuthQuestion::Accept(_) => unreachable!("there is no secure mode"),
        }
    }
}

fn seed(count: u64) -> String {
    format!("{count:064x}")
}

fn key(seed: &str) -> String {
    hex::encode(Sha512::new().chain_update(seed).chain_update(SECRET).finalize())
}

/// A session, and a peer that says what the test makes it say. Each step checks all that comes of it, in this order:
/// the events, the frames sent, the end.
struct Line {
    session: Session,
    now: Instant,
    /// What has arrived and is not taken yet.
    input: BytesMut,
    authenticator: Authenticator,
    /// Questions are left to the test.
    asks_held: bool,
    /// The peer reads nothing.
    stalled: bool,
    framing: Framing,
    format: Format,
    deframer: Deframer,
    end_told: bool,
    /// Keys that its owner was told of as wrong.
    wrong_keys: u32,
}

impl Line {
    fn new(config: Config) -> Self {
        let framing = config.framing.unwrap_or(Framing::Length);
        let now = Instant::now();
        Self {
            session: Session::new(config, now),
            now,
            input: BytesMut::new(),
            authenticator: Authenticator::default(),
            asks_held: false,
            stalled: false,
            framing,
            format: Format::Json,
            deframer: Deframer::new(framing, Limits::MAX_MAX_FRAME),
            end_told: false,
            wrong_keys: 0,
        }
    }

    /// A session that has just begun, and what it does at once.
    #[track_caller]
    fn open(config: Config, expected: &str) -> Self {
        let mut line = Self::new(config);
        line.check(expected);
        line
    }

    /// A server whose client has said HELLO.
    fn server(config: Config) -> Self {
        let mut line = Self::new(config);
        line.transmit(&message(&format!("hello/0 {HELLO}")));
        line.drive();
        line
    }

    /// A server whose client has said HELLO and proved the secret.
    fn trusted_server(config: Config) -> Self {
        let mut line = Self::server(config.secret());
        line.transmit(&message("0/0"));
        line.transmit(&message(&format!("0/1 \"{}\"", key(&seed(1)))));
        line.drive();
        line.is(AuthState::Trusted);
        line
    }

    /// A client that is ready, without a secret.
    fn client(config: Config) -> Self {
        let mut line = Self::new(config);
        if line.session.config.hello {
            line.transmit(&message(&format!("hello-answer/0 {HELLO}")));
        }
        line.transmit(&message("9/0"));
        line.drive();
        line
    }

    /// The peer of a server speaks this framing.
    fn speaks(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self.deframer = Deframer::new(framing, Limits::MAX_MAX_FRAME);
        self
    }

    // What the peer does

    #[track_caller]
    fn tell(&mut self, text: &str, expected: &str) {
        self.transmit(&message(text));
        self.check(expected);
    }

    /// Several messages that arrive together.
    #[track_caller]
    fn tell_all(&mut self, texts: &[&str], expected: &str) {
        for text in texts {
            self.transmit(&message(text));
        }
        self.check(expected);
    }

    /// A frame whose checksum is wrong.
    #[track_caller]
    fn tell_damaged(&mut self, text: &str, expected: &str) {
        let mut frame = self.frame(&message(text));
        *frame.last_mut().unwrap() ^= 1;
        self.tell_frame(&frame, expected);
    }

    #[track_caller]
    fn tell_frame(&mut self, frame: &[u8], expected: &str) {
        Framer::new(self.framing).frame(&mut self.input, put(frame)).unwrap();
        self.check(expected);
    }

    #[track_caller]
    fn tell_bytes(&mut self, bytes: &[u8], expected: &str) {
        self.input.extend_from_slice(bytes);
        self.check(expected);
    }

    /// Puts a message on the line.
    fn transmit(&mut self, message: &Message) {
        let frame = self.frame(message);
        Framer::new(self.framing).frame(&mut self.input, put(&frame)).unwrap();
    }

    fn frame(&self, message: &Message) -> BytesMut {
        let mut frame = BytesMut::new();
        frame::encode(self.format, message.header(), message.json().as_str(), &mut frame).unwrap();
        frame
    }

    // What the owner does

    #[track_caller]
    fn reply(&mut self, request: RequestId, text: &str, expected: &str) {
        self.session.handle_reply(request, Status::OKAY, text, self.now);
        self.check(expected);
    }

    #[track_caller]
    fn fault(&mut self, request: RequestId, status: u32, text: &str, expected: &str) {
        self.session.handle_reply(request, Status::new(status).unwrap(), text, self.now);
        self.check(expected);
    }

    /// Makes a call that waits 10 s for its answer.
    #[track_caller]
    fn call(&mut self, call: CallKey, text: &str, expected: &str) {
        self.session.handle_call(new_call(call, text, 10 * SECOND), self.now);
        self.check(expected);
    }

    #[track_caller]
    fn nested_call(&mut self, call: CallKey, text: &str, expected: &str) {
        let new = NewCall { nested: true, ..new_call(call, text, 10 * SECOND) };
        self.session.handle_call(new, self.now);
        self.check(expected);
    }

    #[track_caller]
    fn cancel(&mut self, call: CallKey, expected: &str) {
        self.session.handle_cancel(call, self.now);
        self.check(expected);
    }

    #[track_caller]
    fn answer(&mut self, answer: AuthAnswer, expected: &str) {
        self.session.handle_auth_answer(answer, self.now);
        self.check(expected);
    }

    #[track_caller]
    fn close(&mut self, expected: &str) {
        self.session.close(CloseReason::Local);
        self.check(expected);
    }

    /// Lets time pass, and the session act whenever it asked to.
    #[track_caller]
    fn wait(&mut self, time: Duration, expected: &str) {
        assert_eq!(self.pass(time).join(" | "), expected);
    }

    /// The same, and what comes of it.
    fn pass(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut log = Vec::new();
        let mut turns = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            turns += 1;
            assert!(turns < 1000, "the session asks for the same time again and again");
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            log.extend(self.drive());
        }
        self.now = end;
        log
    }

    // What comes of it

    #[track_caller]
    fn check(&mut self, expected: &str) {
        assert_eq!(self.drive().join(" | "), expected);
    }

    fn drive(&mut self) -> Vec<String> {
        let mut log = Vec::new();
        loop {
            self.session.handle_input(&mut self.input, self.now);
            let mut answered = false;
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Ask(question) if !self.asks_held => {
                        let answer = self.authenticator.answer(&question);
                        self.session.handle_auth_answer(answer, self.now);
                        answered = true;
                    }
                    Event::WrongKey => self.wrong_keys += 1,
                    event => log.push(show_event(event)),
                }
            }
            if !answered {
                break;
            }
        }
        if !self.stalled {
            log.extend(self.receive());
        }
        if let Some(reason) = self.session.close_reason().filter(|_| !self.end_told) {
            log.push(format!("end: {reason}"));
            self.end_told = true;
        }
        log
    }

    /// Takes what the session has to send.
    fn receive(&mut self) -> Vec<String> {
        let mut bytes = BytesMut::from(self.session.poll_transmit());
        self.session.handle_sent(bytes.len(), self.now);
        let mut log = Vec::new();
        while let Some(piece) = self.deframer.decode(&mut bytes).unwrap() {
            let Piece::Frame(frame) = piece else { panic!("the session sent {piece:?}") };
            let decoded = frame::decode(frame).unwrap();
            let struct_format = if decoded.format == Format::Struct { " (struct)" } else { "" };
            log.push(show(&decoded.message) + struct_format);
        }
        assert!(bytes.is_empty(), "the session sends whole frames");
        log
    }

    #[track_caller]
    fn is(&self, state: AuthState) {
        assert_eq!(self.session.auth_state(), state);
    }

    #[track_caller]
    fn has_name(&self, name: Option<&str>) {
        assert_eq!(self.session.channel_name().map(AsRef::as_ref), name);
    }
}

fn put(frame: &[u8]) -> impl FnOnce(&mut BytesMut) -> Result<(), std::convert::Infallible> {
    |out| {
        out.extend_from_slice(frame);
        Ok(())
    }
}

fn new_call(call: CallKey, text: &str, timeout: Duration) -> NewCall {
    let (header, data) = message(text).into_parts();
    let data = data.as_str().into();
    let (service_id, data_id) = (header.service_id, header.data_id);
    let kind = CallKind::Request;
    NewCall { call, kind, service_id, data_id, data, timeout, nested: false, response: None }
}

/// Reads the notation of a message.
fn message(text: &str) -> Message {
    let (ids, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let (service_id, data_id) = ids.split_once('/').unwrap();
    let service_id = match service_id {
        "hello" => ServiceId::HELLO_REQUEST,
        "hello-answer" => ServiceId::HELLO_RESPONSE,
        "ping" => ServiceId::HEARTBEAT_REQUEST,
        "pong" => ServiceId::HEARTBEAT_RESPONSE,
        "cancel" => ServiceId::CANCEL,
        number => ServiceId::new(number.parse().unwrap()),
    };
    let mut header = Header {
        service_id,
        data_id: DataId::new(data_id.parse().unwrap()),
        status: Status::OKAY,
        message_id: None,
    };
    loop {
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Some(status) = word.strip_prefix('s') {
            header.status = Status::new(status.parse().unwrap()).unwrap();
        } else if let Some(id) = word.strip_prefix('#') {
            header.message_id = Some(id.parse().unwrap());
        } else {
            break;
        }
        rest = behind;
    }
    let data = if rest.is_empty() { "null" } else { rest };
    Message::from_parts(header, Json::from_text(data).unwrap())
}

/// Writes the notation of a message.
fn show(message: &Message) -> String {
    let Header { service_id, data_id, status, message_id } = message.header();
    let service_id = match *service_id {
        ServiceId::HELLO_REQUEST => "hello".to_owned(),
        ServiceId::HELLO_RESPONSE => "hello-answer".to_owned(),
        ServiceId::HEARTBEAT_REQUEST => "ping".to_owned(),
        ServiceId::HEARTBEAT_RESPONSE => "pong".to_owned(),
        ServiceId::CANCEL => "cancel".to_owned(),
        other => other.value().to_string(),
    };
    let mut shown = format!("{service_id}/{}", data_id.value());
    if !status.is_okay() {
        shown += &format!(" s{}", status.value());
    }
    if let Some(id) = message_id {
        shown += &format!(" #{id}");
    }
    if !message.json().is_null() {
        shown += &format!(" {}", message.json());
    }
    shown
}

fn show_event(event: Event) -> String {
    match event {
        Event::Dispatch(Incoming { request, header, data, .. }) => {
            format!("run {request}: {}", show(&Message::from_parts(header, data)))
        }
        Event::Cancelled { request, .. } => format!("cancelled {request}"),
        Event::Expired { request, .. } => format!("expired {request}"),
        Event::Completed { call, outcome: Ok(Done::Answered(status, data)) } => {
            let status = if status.is_okay() { String::new() } else { format!("s{} ", status.value()) };
            format!("call {call}: {status}{data}")
        }
        Event::Completed { call, outcome: Ok(Done::Sent) } => format!("call {call}: sent"),
        Event::Completed { call, outcome: Ok(Done::Trusted) } => format!("call {call}: trusted"),
        Event::Completed { call, outcome: Ok(Done::Received(received)) } => {
            format!("call {call}: received {}", show(&received.message))
        }
        Event::Completed { call, outcome: Err(failure) } => format!(
            "call {call}: {}",
            match failure {
                CallFailure::TimedOut | CallFailure::Unsent(None) => "timed out".to_owned(),
                CallFailure::Lost(_) | CallFailure::Unsent(Some(_)) => "lost".to_owned(),
                CallFailure::NotSendable(reason) => format!("not sendable, {reason}"),
                CallFailure::UnknownService => "unknown service".to_owned(),
                CallFailure::NotTrusted(reason) => format!("not trusted, {reason}"),
            }
        ),
        Event::Ask(AuthQuestion::Offer) => "ask offer".to_owned(),
        Event::Ask(AuthQuestion::Accept(_)) => "ask accept".to_owned(),
        Event::Ask(AuthQuestion::Seed) => "ask seed".to_owned(),
        Event::Ask(AuthQuestion::Verify { .. }) => "ask verify".to_owned(),
        Event::Ask(AuthQuestion::Prove { .. }) => "ask prove".to_owned(),
        Event::WrongKey => "wrong key".to_owned(),
        Event::Ready => "ready".to_owned(),
    }
}
