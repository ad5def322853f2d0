//! The Rust side of the dialogues in `tests/python/dialogues.py`: one fixed application on several servers or clients.
//!
//! `dialogue serve VARIANT..` prints `listening on URL` for each, `dialogue connect VARIANT=URL..` connects again and again.
//! A variant is `open` or `secret`, with `+any` for a callback that takes whatever is left, or `+receive` for handles that
//! receive it, and register further callbacks while connections are there. The program ends when its standard input
//! does. `tests/python/model.py` says what the application answers.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use socketproto::prelude::*;
use socketproto::{Backoff, Error, Level, Limits, Message, Protocol};
use tokio::sync::oneshot;

/// What both sides know; `dialogues.py` has the same.
const SECRET: &str = "a secret of more than 16 bytes, ключ";

/// The name of the server's channel.
const CHANNEL: &str = "dialogue";

/// Longer than a dialogue takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The keys that dialogues register callbacks for; each connection begins without them.
const CHANGING: [(Option<u32>, Option<u32>); 9] = [
    (Some(50), Some(1)),
    (Some(50), None),
    (Some(10), Some(60)),
    (Some(11), Some(60)),
    (Some(77), Some(60)),
    (Some(20), None),
    (Some(40), None),
    (None, Some(60)),
    (None, None),
];

/// What tokens begin with, so that no random data are taken for one.
const TOKEN: &str = "token ";

/// Longer than a text that travels.
const LONG_TEXT: usize = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> socketproto::Result<()> {
    // Handlers panic on purpose.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument.split_once('=') {
            None if role == "serve" => servers.push(serve(&argument).await?),
            Some((variant, url)) if role == "connect" => clients.push(connect(variant, url).await?),
            _ => panic!("write `serve VARIANT..` or `connect VARIANT=URL..`"),
        }
    }
    for server in &servers {
        println!("listening on {}", server.address());
    }
    // Connections have a thread of their own.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

async fn serve(variant: &str) -> socketproto::Result<Server> {
    let mut builder = Server::bind("tcp://127.0.0.1:0").channel_name(CHANNEL).limits(limits());
    builder = builder.add_service(40, 41).add_service(50, 51);
    if variant.starts_with("secret") {
        let secret = Secret::from_text(SECRET)?;
        builder = builder.secret(secret).accept_legacy(true).allow_weak_secret(true);
    }
    for (service_id, data_id, callback) in callbacks(variant.ends_with("+any")) {
        builder = builder.register_callback(service_id, data_id, callback);
    }
    let receives = variant.ends_with("+receive");
    builder.service_per_peer(move |peer| Application::new(peer, receives)).start().await
}

async fn connect(variant: &str, url: &str) -> socketproto::Result<Client> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
    let mut builder = Client::connect(url).lazy().backoff(backoff).limits(limits());
    builder = builder.add_service(40, 41).add_service(50, 51);
    if variant.starts_with("secret") {
        let secret = Secret::from_text(SECRET)?;
        builder = builder.secret(secret).level(Level::Legacy).allow_weak_secret(true);
    }
    for (service_id, data_id, callback) in callbacks(variant.ends_with("+any")) {
        builder = builder.register_callback(service_id, data_id, callback);
    }
    let receives = variant.ends_with("+receive");
    builder.service_per_peer(move |peer| Application::new(peer, receives)).await
}

/// The model knows no limits: a dialogue may try what it likes before trust, however often.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.untrusted_frames, limits.wrong_keys) = (u32::MAX, u32::MAX);
    limits
}

// What does not depend on the connection

type Callback = Box<dyn FnMut(&Message) -> Result<Json, Fault> + Send>;

fn callbacks(any: bool) -> Vec<(Option<ServiceId>, Option<DataId>, Callback)> {
    let read = Some(ServiceId::READ_REQUEST);
    let mut callbacks: Vec<(Option<ServiceId>, Option<DataId>, Callback)> = vec![
        (read, Some(1.into()), Box::new(|message| Ok(message.json().clone()))),
        (Some(ServiceId::WRITE_REQUEST), Some(1.into()), Box::new(describe)),
        (Some(40.into()), Some(1.into()), Box::new(|message| Ok(message.json().clone()))),
        (read, Some(2.into()), Box::new(|_| text(r#""read only""#))),
        (read, Some(10.into()), Box::new(|_| Err(Fault::callback_error("two")))),
        (read, Some(11.into()), Box::new(|_| Err(Fault::not_permitted("six")))),
        (read, Some(12.into()), Box::new(|_| Err(Fault::custom(7, "seven: \"°\"\n")))),
        (read, Some(13.into()), Box::new(|_| Err(Fault::custom(1000, "é".repeat(LONG_TEXT))))),
        (read, Some(14.into()), Box::new(|_| panic!("as it is told to"))),
        (read, Some(15.into()), Box::new(|_| Err(Fault::unknown("")))),
        (Some(ServiceId::EXECUTE_REQUEST), None, Box::new(any_data)),
        (None, Some(30.into()), recorder()),
    ];
    if any {
        callbacks.push((None, None, Box::new(anything)));
    }
    callbacks
}

fn describe(message: &Message) -> Result<Json, Fault> {
    text(format!(r#"{{"status":{},"data":{}}}"#, message.status().value(), message.json()))
}

fn any_data(message: &Message) -> Result<Json, Fault> {
    text(format!(r#"{{"any_data":[{},{}]}}"#, message.data_id().value(), message.status().value()))
}

fn anything(message: &Message) -> Result<Json, Fault> {
    text(format!(r#"{{"any":[{},{}]}}"#, message.service_id().value(), message.data_id().value()))
}

/// Remembers messages of whatever service under the token that their data begin with; reading a token gives and forgets
/// them. So it shows what came of messages that are not answered.
fn recorder() -> Callback {
    let seen: Arc<Mutex<HashMap<String, Vec<String>>>> = Arc::default();
    Box::new(move |message| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if message.service_id() == ServiceId::READ_REQUEST {
            let token: String = message.data().map_err(|error| error.to_string())?;
            return text(format!("[{}]", seen.remove(&token).unwrap_or_default().join(",")));
        }
        let named = message.data::<(String, IgnoredAny)>().ok().filter(|(token, _)| token.starts_with(TOKEN));
        if let Some((token, _)) = named {
            let (service_id, status) = (message.service_id().value(), message.status().value());
            seen.entry(token).or_default().push(format!("[{service_id},{status},{}]", message.json()));
        }
        Ok(Json::NULL)
    })
}

fn text(json: impl Into<String>) -> Result<Json, Fault> {
    Json::from_text(json).map_err(|error| error.to_string().into())
}

// What each connection has for itself

/// What to ask the peer.
#[derive(Deserialize)]
struct Order {
    /// Service, datum and data.
    call: (u32, u32, Json),
    /// The key whose release gives the call up; 0 is never released.
    key: u32,
    /// Whether the call is made as one of the handler, which no window holds up.
    nested: bool,
}

#[derive(Service)]
#[did(3, read = fn motto() -> &'static str, public)]
#[did(4, read = fn probe() -> bool, public)]
#[did(100, execute = async fn call(cx, order: Order) -> Json)]
#[did(101, execute = async fn slow(cx, key: u32, value: Json) -> Json)]
#[did(102, execute = fn release(key: u32))]
#[did(104, execute = fn fence())]
#[did(105, read = fn channel(cx) -> Option<String>)]
#[did(106, execute = async fn receive(cx, service_id: u32, data_id: u32, wait: bool) -> Json)]
#[did(107, execute = fn register(service_id: Option<u32>, data_id: Option<u32>, tag: u32) -> bool)]
#[did(108, execute = fn unregister(service_id: Option<u32>, data_id: Option<u32>) -> bool)]
#[did(109, execute = async fn send(cx, service_id: u32, data_id: u32, data: Json, status: u32) -> bool)]
struct Application {
    #[did(20, read, write)]
    number: i64,
    #[did(21, read, write, public)]
    note: i64,
    peer: Peer,
    /// Where there is one, what nobody takes is kept for it.
    protocol: Option<Protocol>,
    gates: Vec<(u32, oneshot::Sender<()>)>,
}

impl Application {
    fn new(peer: Peer, receives: bool) -> Self {
        let protocol = receives.then(|| peer.protocol());
        for (service_id, data_id) in CHANGING {
            if let Some(protocol) = &protocol {
                protocol.unregister_callback(service_id.map(Into::into), data_id.map(Into::into));
            }
        }
        Self { number: 0, note: 0, peer, protocol, gates: Vec::new() }
    }

    fn motto(&mut self) -> &'static str {
        "nil desperandum"
    }

    fn probe(&mut self) -> bool {
        true
    }

    fn fence(&mut self) {}

    fn channel(&mut self, cx: Call<Self>) -> Option<String> {
        cx.peer().channel_name().map(|name| name.to_string())
    }

    /// Asks the peer and answers with what came of it.
    async fn call(cx: Call<Self>, order: Order) -> Json {
        let (service_id, data_id, data) = order.call;
        let own = cx.actor(|this| this.peer.clone()).await;
        let peer = if order.nested { cx.peer() } else { &own };
        let call = peer.call::<_, Json>(service_id, data_id, &data);
        let gate = cx.actor(|this| this.gate(order.key)).await;
        let outcome = tokio::select! {
            biased;
            outcome = call => outcome,
            _ = gate => return Json::encode("abandoned").unwrap_or_default(),
        };
        let shown = match outcome {
            Ok(answer) => return text(format!(r#"{{"okay":{answer}}}"#)).unwrap_or_default(),
            Err(Error::Fault { fault, .. }) => json!({"fault": [fault.status().value(), fault.message()]}),
            Err(Error::UnknownService { .. }) => json!({"error": "unknown service"}),
            Err(Error::NotSendable { .. }) => json!({"error": "not sendable"}),
            Err(other) => json!({"error": other.to_string()}),
        };
        Json::encode(&shown).unwrap_or_default()
    }

    /// Answers with the value, behind the key's release; at once where the key is 0.
    async fn slow(cx: Call<Self>, key: u32, value: Json) -> Json {
        if key != 0 {
            let gate = cx.actor(|this| this.gate(key)).await;
            let _ = gate.await;
        }
        value
    }

    fn release(&mut self, key: u32) {
        for (_, gate) in self.gates.extract_if(.., |gate| gate.0 == key && key != 0) {
            let _ = gate.send(());
        }
    }

    fn protocol(&mut self) -> Result<Protocol, Fault> {
        self.protocol.clone().ok_or_else(|| Fault::not_permitted("no handle"))
    }

    /// A message that nobody took: one that is there, or the next.
    async fn receive(cx: Call<Self>, service_id: u32, data_id: u32, wait: bool) -> Result<Json, Fault> {
        let protocol = cx.actor(Self::protocol).await?;
        let time = if wait { PATIENCE } else { Duration::ZERO };
        match protocol.receive(service_id, data_id, time).await {
            Some(message) => {
                text(format!(r#"{{"received":[{},{}]}}"#, message.status().value(), message.json()))
            }
            None => Ok(Json::NULL),
        }
    }

    fn register(&mut self, service_id: Option<u32>, data_id: Option<u32>, tag: u32) -> Result<bool, Fault> {
        let callback = move |message: &Message| {
            let (service_id, data_id) = (message.service_id().value(), message.data_id().value());
            text(format!(
                r#"{{"tag":{tag},"message":[{service_id},{data_id},{}]}}"#,
                message.status().value()
            ))
        };
        let (service_id, data_id) = (service_id.map(Into::into), data_id.map(Into::into));
        Ok(self.protocol()?.register_callback(service_id, data_id, callback).is_ok())
    }

    fn unregister(&mut self, service_id: Option<u32>, data_id: Option<u32>) -> Result<bool, Fault> {
        Ok(self.protocol()?.unregister_callback(service_id.map(Into::into), data_id.map(Into::into)))
    }

    /// A message to the peer, of whatever kind.
    async fn send(
        cx: Call<Self>,
        service_id: u32,
        data_id: u32,
        data: Json,
        status: u32,
    ) -> Result<bool, Fault> {
        let protocol = cx.actor(Self::protocol).await?;
        let status = Status::new(status).ok_or("no status")?;
        Ok(protocol.send(service_id, data_id, &data, status, PATIENCE).await)
    }

    fn gate(&mut self, key: u32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.gates.push((key, sender));
        receiver
    }
}
