//! What both sides of these tests serve, the messages they send in clear, and a bound against hanging.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use socketproto::frame::{self, Format};
use socketproto::framing::{Framer, Framing};
use socketproto::prelude::*;
use socketproto::{Backoff, ClientBuilder, ConnectionEvent, Header, Level, Message, ServerBuilder};
use tokio_util::codec::Encoder;

/// 16 random bytes as their digits.
pub(crate) const DIGITS: &str = "8f3ad1c0b7e94425a6d80f1e2c3b4a59";

/// Far longer than anything here takes: whoever is still waiting then, waits for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Runs to the end, or fails instead of hanging.
pub(crate) async fn within<F: IntoFuture>(work: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(output) => output,
        Err(_) => panic!("it hangs: no end within {PATIENCE:?}"),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it hangs: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("a text")
}

/// A client that tries again at once.
pub(crate) fn client(address: &str) -> ClientBuilder {
    Client::connect(address).backoff(Backoff::new(Duration::ZERO, Duration::from_millis(20)))
}

/// Hears what the other side tells, and says how that has proved the secret.
#[derive(Service, Client)]
#[did(1, execute = async fn tell(cx, text: String) -> String)]
#[did(2, execute = fn echo(text: String) -> String)]
#[did(3, execute = fn fail())]
pub(crate) struct Desk {
    notes: Notes,
}

impl Desk {
    async fn tell(cx: Call<Self>, text: String) -> String {
        cx.actor(move |this| this.notes.heard(text)).await;
        show(cx.level()).to_owned()
    }

    fn echo(&mut self, text: String) -> String {
        self.notes.heard(text.clone());
        text
    }

    fn fail(&mut self) {
        panic!("this method panics");
    }
}

pub(crate) fn show(level: Option<Level>) -> &'static str {
    match level {
        Some(Level::Secure) => "secure",
        Some(Level::Legacy) => "legacy",
        _ => "open",
    }
}

/// What one side has seen.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    heard: Vec<String>,
    events: Vec<String>,
}

impl Notes {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().expect("nobody panics while noting")
    }

    fn heard(&self, text: String) {
        self.seen().heard.push(text);
    }

    /// What was told on this side's desk.
    pub(crate) fn all_heard(&self) -> Vec<String> {
        self.seen().heard.clone()
    }

    /// What became of its lines.
    pub(crate) fn events(&self) -> Vec<String> {
        self.seen().events.clone()
    }

    /// Why its lines ended.
    pub(crate) fn ends(&self) -> Vec<String> {
        let events = self.events();
        events.iter().filter_map(|event| event.strip_prefix("end: ")).map(ToOwned::to_owned).collect()
    }

    pub(crate) fn event(&self, event: &ConnectionEvent) {
        let event = match event {
            ConnectionEvent::Connected => "connected".to_owned(),
            ConnectionEvent::Ready => "ready".to_owned(),
            ConnectionEvent::Reconnected => "reconnected".to_owned(),
            ConnectionEvent::Disconnected { reason } => format!("end: {reason}"),
            other => format!("{other:?}"),
        };
        self.seen().events.push(event);
    }

    /// A server with a desk that notes here.
    pub(crate) fn server(&self, builder: ServerBuilder) -> ServerBuilder {
        let notes = self.clone();
        builder.service(Desk { notes: self.clone() }).on_event(move |_, event| notes.event(event))
    }

    /// A client with a desk that notes here.
    pub(crate) fn client(&self, builder: ClientBuilder) -> ClientBuilder {
        let notes = self.clone();
        builder.service(Desk { notes: self.clone() }).on_event(move |_, event| notes.event(event))
    }
}

/// A server with the secret of [`DIGITS`].
pub(crate) async fn serve(address: &str) -> (Server, Notes) {
    let notes = Notes::default();
    let server = notes.server(Server::bind(address).secret(secret(DIGITS)));
    (within(server.start()).await.expect("it listens"), notes)
}

/// The place behind the scheme of an address.
pub(crate) fn place(address: &str) -> &str {
    address.split_once("://").expect("a URL").1
}

// Messages in clear

/// A message as a frame with its length before it.
pub(crate) fn framed(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out).expect("a message");
    let mut line = BytesMut::new();
    Framer::new(Framing::Length).encode(&out, &mut line).expect("a frame below every limit");
    line.to_vec()
}

/// The message of such a frame.
pub(crate) fn message(unit: &[u8]) -> Option<Message> {
    let frame = Bytes::copy_from_slice(unit.get(4..)?);
    frame::decode(frame).ok().map(|decoded| decoded.message)
}

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Json {
    Json::encode(value).expect("a value that can be written")
}

/// The answer to a request, with the same message id.
pub(crate) fn answer(request: &Message, status: Status, data: Json) -> Message {
    let service_id = ServiceId::new(request.service_id().value() + 1);
    Message::from_parts(Header { service_id, status, ..*request.header() }, data)
}
