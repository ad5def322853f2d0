//! Heartbeats over real lines: peers that say nothing any more and do not close either (protocol.md 7.3).

use std::time::Duration;

use serde_json::json;
use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Json, Limits, Message, Peer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::process::is_alone;
use crate::protocol_api::Log;
use crate::support::{Raw, json as encoded, limits, within};

const SESSION: &str = "00112233445566aa";

/// Short, so that nobody has to wait.
fn short() -> Limits {
    limits(|limits| {
        limits.heartbeat_interval = Duration::from_millis(40);
        limits.heartbeat_timeout = Duration::from_millis(120);
    })
}

/// Longer than a machine with much to do is late; a peer that answers lives that long.
fn lasting() -> Limits {
    limits(|limits| {
        limits.heartbeat_interval = Duration::from_millis(40);
        limits.heartbeat_timeout = Duration::from_secs(60);
    })
}

fn hello(service_id: ServiceId) -> Message {
    let data = json!({
        "session": SESSION, "features": ["message_id", "heartbeat"],
        "max_frame": 1 << 20, "max_in_flight": 256,
    });
    Message::new(service_id, 0, encoded(&data))
}

fn session() -> Json {
    encoded(&json!({ "session": SESSION }))
}

/// What an endpoint was told, as it happens.
fn events() -> (impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        let event = match event {
            ConnectionEvent::Disconnected { reason } => reason.to_string(),
            other => format!("{other:?}"),
        };
        let _ = sender.send(event);
    };
    (follow, receiver)
}

#[tokio::test]
async fn a_client_that_falls_silent_without_closing_is_asked_and_disconnected() {
    let (follow, mut events) = events();
    let server = Server::bind("tcp://127.0.0.1:0").limits(short()).on_event(follow);
    let server = within(server.start()).await.unwrap();
    let mut raw = Raw::connect(server.address()).await;
    raw.ask(&hello(ServiceId::HELLO_REQUEST)).await.expect("an answer");
    let mut asked = 0;
    while let Some(message) = raw.receive().await {
        assert_eq!(message.service_id(), ServiceId::HEARTBEAT_REQUEST);
        asked += 1;
    }
    assert!(asked > 0);
    for expected in ["Connected", "Ready"] {
        assert_eq!(within(events.recv()).await.unwrap(), expected);
    }
    let reason = within(events.recv()).await.unwrap();
    assert!(reason.contains("heartbeat_timeout"), "{reason}");
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_answers_is_asked_again_and_again() {
    let server = within(Server::bind("tcp://127.0.0.1:0").limits(lasting()).start()).await.unwrap();
    let mut raw = Raw::connect(server.address()).await;
    raw.ask(&hello(ServiceId::HELLO_REQUEST)).await.expect("an answer");
    for _ in 0..10 {
        let asked = raw.receive().await.expect("the line lives");
        assert_eq!(asked.service_id(), ServiceId::HEARTBEAT_REQUEST);
        assert!(asked.json().as_str().contains("session"));
        raw.send(&Message::new(ServiceId::HEARTBEAT_RESPONSE, 0, session())).await;
    }
    let answer = raw.ask(&Message::new(ServiceId::HEARTBEAT_REQUEST, 0, session())).await;
    assert_eq!(answer.expect("the line lives").service_id(), ServiceId::HEARTBEAT_RESPONSE);
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_client_leaves_a_server_that_falls_silent_and_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (follow, mut events) = events();
    let connect = tokio::spawn(Client::connect(url).limits(short()).on_event(follow).into_future());
    let (mut silent, _) = Raw::accept_in_silence(&listener).await;
    silent.send(&hello(ServiceId::HELLO_RESPONSE)).await;
    let client = within(connect).await.unwrap().unwrap();
    let (mut next, _) = Raw::accept_in_silence(&listener).await;
    next.send(&hello(ServiceId::HELLO_RESPONSE)).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "Reconnected") {
        told.push(within(events.recv()).await.unwrap());
    }
    assert!(told[2].contains("heartbeat_timeout"), "{told:?}");
    within(client.close()).await;
    silent.closed().await;
    next.closed().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    for (limits, reason) in [
        (
            limits(|limits| limits.heartbeat_interval = Duration::ZERO),
            "limits.heartbeat_interval: 0 would ping",
        ),
        (
            limits(|limits| limits.heartbeat_timeout = Duration::from_millis(29_999)),
            "limits.heartbeat_timeout: 29.999s is less than twice heartbeat_interval of 15s",
        ),
        (
            limits(|limits| limits.heartbeat_interval = Duration::MAX),
            "limits.heartbeat_timeout: 45s is less than twice heartbeat_interval",
        ),
    ] {
        let refused = within(Server::bind("mem://").limits(limits).start()).await.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    for limits in [
        limits(|limits| limits.heartbeat_timeout = Duration::from_secs(30)),
        limits(|limits| {
            (limits.heartbeat_interval, limits.heartbeat_timeout) = (Duration::MAX, Duration::MAX);
        }),
    ] {
        let server = within(Server::bind("mem://").limits(limits.clone()).start()).await.unwrap();
        let client = within(Client::connect(server.address()).limits(limits)).await.unwrap();
        within(client.close()).await;
        within(server.shutdown()).await.unwrap();
    }
}

// Handlers that hold up their thread

/// Computes for more than a second, at once or behind a pause.
#[derive(Service, Client)]
#[did(1, execute = fn compute())]
#[did(2, execute = async fn pause_and_compute(cx))]
#[did(3, execute = fn quick())]
struct Abacus;

impl Abacus {
    fn compute(&mut self) {
        busy();
    }

    async fn pause_and_compute(_: Call<Self>) {
        tokio::task::yield_now().await;
        busy();
    }

    fn quick(&mut self) {}
}

fn busy() {
    std::thread::sleep(Duration::from_millis(1_010));
}

#[test]
fn a_handler_that_holds_up_its_thread_is_named_in_the_log() {
    if !is_alone("heartbeat::a_handler_that_holds_up_its_thread_is_named_in_the_log") {
        return;
    }
    let text = Log::of(|| async {
        let server = Server::bind("mem://").service(Abacus).start().await.unwrap();
        let client = Client::connect(server.address()).await.unwrap();
        let abacus = AbacusClient::new(&client);
        within(abacus.quick()).await.unwrap();
        within(abacus.compute()).await.unwrap();
        within(abacus.pause_and_compute()).await.unwrap();
        within(abacus.quick()).await.unwrap();
        within(client.close()).await;
        server.shutdown().await.unwrap();
    });
    let told: Vec<&str> = text.lines().filter(|line| line.contains("held up the thread")).collect();
    assert_eq!(told.len(), 2, "{text}");
    for (line, name) in told.iter().zip(["compute (data 1)", "pause_and_compute (data 2)"]) {
        assert!(line.contains("WARN") && line.contains(&format!(" of {name}")), "{line}");
    }
}
