//! Both sides serve and both sides call: servers call their clients, handlers call back, calls are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Limits, Message, Peer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::support::{Raw, Teller, Told, answer, json, limits, teller, within};

/// A wait that only a failure ends.
const FOR_EVER: Duration = Duration::from_secs(100_000);
const ADDRESSES: [&str; 2] = ["tcp://127.0.0.1:0", "mem://"];

/// What both sides serve.
#[derive(Service, Client)]
#[did(2, execute = async fn descend(cx, depth: u32) -> u32)]
#[did(3, execute = async fn stay(cx, number: u32) -> u32)]
#[did(4, execute = fn count() -> usize)]
#[did(5, execute = async fn ask_name(cx) -> String)]
struct Node {
    #[did(1, read)]
    name: String,
    counted: Arc<AtomicUsize>,
    teller: Teller,
    gate: Arc<Semaphore>,
}

impl Node {
    /// Calls back, and is called back, until the bottom is reached; gives how many calls there were.
    async fn descend(cx: Call<Self>, depth: u32) -> Result<u32, Error> {
        match depth {
            0 => Ok(0),
            depth => Ok(NodeClient::new(cx.peer()).descend(depth - 1).await? + 1),
        }
    }

    /// Tells when it begins, when it is let through, and when it is dropped.
    async fn stay(cx: Call<Self>, number: u32) -> u32 {
        let (teller, gate) = cx.actor(|this| (this.teller.clone(), Arc::clone(&this.gate))).await;
        teller.tell("begun");
        let _gone = teller.on_drop("gone");
        gate.acquire().await.expect("nobody closes the gate").forget();
        teller.tell("passed");
        number
    }

    fn count(&mut self) -> usize {
        self.teller.tell("counted");
        self.counted.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn ask_name(cx: Call<Self>) -> Result<String, Error> {
        NodeClient::new(cx.peer()).name().await
    }
}

/// A node, and the test's hands on it.
struct Hands {
    told: Told,
    gate: Arc<Semaphore>,
    counted: Arc<AtomicUsize>,
}

fn node(name: &str) -> (Node, Hands) {
    let (teller, told) = teller();
    let (gate, counted) = (Arc::new(Semaphore::new(0)), Arc::default());
    let hands = Hands { told, gate: Arc::clone(&gate), counted: Arc::clone(&counted) };
    (Node { name: name.to_owned(), counted, teller, gate }, hands)
}

/// A node at each end of a line.
struct Pair {
    _server: Server,
    _client: Client,
    /// Calls of the client to its server.
    up: NodeClient,
    /// Calls of the server to its client.
    down: NodeClient,
    server: Hands,
    client: Hands,
}

impl Pair {
    async fn new(address: &str) -> Self {
        // No handler ends because its time is over.
        Self::with(address, "", limits(|limits| limits.handler_timeout = Duration::MAX)).await
    }

    async fn with(address: &str, options: &str, limits: Limits) -> Self {
        let ((server_node, server), (client_node, client_hands)) = (node("server"), node("client"));
        let server_endpoint = Server::bind(address).limits(limits.clone()).service(server_node).start();
        let server_endpoint = within(server_endpoint).await.unwrap();
        let client = Client::connect(format!("{}{options}", server_endpoint.address()));
        let client = within(client.limits(limits).service(client_node).into_future()).await.unwrap();
        let up = NodeClient::new(&client);
        assert_eq!(within(up.name()).await.unwrap(), "server");
        let peers = server_endpoint.peers();
        assert_eq!(peers.len(), 1);
        let down = NodeClient::new(&peers[0]);
        Self { _server: server_endpoint, _client: client, up, down, server, client: client_hands }
    }
}

// Calls of servers

#[tokio::test]
async fn a_server_calls_each_of_its_peers() {
    for address in ADDRESSES {
        let server = within(Server::bind(address).service(node("server").0).start()).await.unwrap();
        let mut clients = Vec::new();
        for number in 0..10 {
            let client = Client::connect(server.address()).service(node(&format!("client {number}")).0);
            let client = within(client.into_future()).await.unwrap();
            // Once it has been answered it is on the list.
            within(NodeClient::new(&client).name()).await.unwrap();
            clients.push(client);
        }
        let calls = server.peers().into_iter().map(|peer| NodeClient::new(&peer).name());
        let names: Vec<_> = within(join_all(calls)).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(names, Vec::from_iter((0..10).map(|number| format!("client {number}"))));

        for (gone, client) in clients.into_iter().enumerate() {
            within(client.close()).await;
            within(async {
                while server.peers().len() == 10 - gone {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(server.peers().len(), 9 - gone);
        }
    }
}

#[tokio::test]
async fn a_server_calls_the_peer_that_has_just_become_ready() {
    for address in ADDRESSES {
        let (sender, mut peers) = mpsc::unbounded_channel();
        let follow = move |peer: &Peer, event: &ConnectionEvent| {
            if *event == ConnectionEvent::Ready {
                let _ = sender.send(peer.clone());
            }
        };
        let server = within(Server::bind(address).on_event(follow).start()).await.unwrap();
        for number in 0..5 {
            let client = Client::connect(server.address()).service(node(&number.to_string()).0);
            let client = within(client.into_future()).await.unwrap();
            let peer = within(peers.recv()).await.expect("it becomes ready");
            assert_eq!(within(NodeClient::new(&peer).name()).await.unwrap(), number.to_string());
            within(client.close()).await;
            let outcome = within(NodeClient::new(&peer).name()).await;
            assert!(matches!(outcome, Err(Error::ConnectionLost { .. })), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_handler_asks_whoever_asked_it_and_no_other() {
    for address in ADDRESSES {
        let server = within(Server::bind(address).service(node("server").0).start()).await.unwrap();
        let mut clients = Vec::new();
        for number in 0..20 {
            let client = Client::connect(server.address()).service(node(&number.to_string()).0);
            clients.push(within(client.into_future()).await.unwrap());
        }
        for _ in 0..20 {
            let calls = clients.iter().map(|client| NodeClient::new(client).ask_name());
            for (number, name) in within(join_all(calls)).await.into_iter().enumerate() {
                assert_eq!(name.unwrap(), number.to_string());
            }
        }
    }
}

#[tokio::test]
async fn handlers_of_both_sides_call_back_at_once() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let (up, down) = within(async {
            tokio::join!(
                join_all((0..500).map(|_| pair.up.ask_name())),
                join_all((0..500).map(|_| pair.down.ask_name()))
            )
        })
        .await;
        assert!(up.into_iter().all(|name| name.unwrap() == "client"));
        assert!(down.into_iter().all(|name| name.unwrap() == "server"));
    }
}

#[tokio::test]
async fn calls_nest_nine_deep_from_both_sides_at_once() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        for depth in 1..10 {
            let (up, down) =
                within(async { tokio::join!(pair.up.descend(depth), pair.down.descend(depth)) }).await;
            assert_eq!((up.unwrap(), down.unwrap()), (depth, depth), "{address}");
        }
    }
}

#[tokio::test]
async fn calls_nest_deeper_than_one_side_runs_at_once() {
    for address in ADDRESSES {
        let pair = Pair::with(address, "", limits(|limits| limits.max_in_flight = 1)).await;
        let (up, down) = within(async { tokio::join!(pair.up.descend(9), pair.down.descend(9)) }).await;
        assert_eq!((up.unwrap(), down.unwrap()), (9, 9), "{address}");
    }
}

#[tokio::test]
async fn a_fault_of_the_innermost_call_reaches_the_outermost() {
    for address in ADDRESSES {
        let (served, _hands) = node("server");
        let server = within(Server::bind(address).service(served).start()).await.unwrap();
        // It takes part in no dialogue: what it is asked is unknown to it.
        let client = within(Client::connect(server.address())).await.unwrap();
        let error = within(NodeClient::new(&client).descend(3)).await.unwrap_err();
        assert_eq!(error.fault(), Some(&Fault::unknown("")), "{error}");
    }
}

// Calls that are given up

#[tokio::test]
async fn a_call_that_is_dropped_ends_the_handler_at_the_peer() {
    for address in ADDRESSES {
        let mut pair = Pair::new(address).await;
        for (caller, hands) in [(&pair.up, &mut pair.server), (&pair.down, &mut pair.client)] {
            for _ in 0..3 {
                let call = tokio::spawn(caller.stay(1).timeout(FOR_EVER));
                assert_eq!(within(hands.told.next()).await, "begun");
                call.abort();
                assert_eq!(within(hands.told.next()).await, "gone");
                assert_eq!(within(caller.count()).await.unwrap(), hands.counted.load(Ordering::SeqCst));
                assert_eq!(within(hands.told.next()).await, "counted", "the line lives");
            }
        }
    }
}

#[actix::test]
async fn a_call_that_times_out_ends_the_handler_at_the_peer() {
    tokio::time::pause();
    let mut pair = Pair::new("mem://").await;
    for (caller, hands) in [(&pair.up, &mut pair.server), (&pair.down, &mut pair.client)] {
        let outcome = caller.stay(1).timeout(Duration::from_secs(3)).await;
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
        assert_eq!(within(hands.told.next()).await, "begun");
        assert_eq!(within(hands.told.next()).await, "gone");
        hands.gate.add_permits(1);
        assert_eq!(within(caller.stay(2)).await.unwrap(), 2, "the line lives");
        for event in ["begun", "passed", "gone"] {
            assert_eq!(within(hands.told.next()).await, event);
        }
    }
}

#[actix::test]
async fn a_call_that_is_dropped_with_others_outstanding_ends_no_other() {
    tokio::time::pause();
    let mut pair = Pair::new("mem://").await;
    let kept: Vec<_> = (0..10).map(|number| actix::spawn(pair.up.stay(number))).collect();
    let dropped: Vec<_> = (10..20).map(|number| actix::spawn(pair.up.stay(number))).collect();
    for _ in 0..20 {
        assert_eq!(within(pair.server.told.next()).await, "begun");
    }
    for call in dropped {
        call.abort();
    }
    for _ in 0..10 {
        assert_eq!(within(pair.server.told.next()).await, "gone");
    }
    pair.server.gate.add_permits(10);
    for (number, call) in (0..).zip(kept) {
        assert_eq!(within(call).await.unwrap().unwrap(), number);
    }
}

/// Polls a call once, so that it is on its way, and drops it.
async fn begin_and_drop<F: Future<Output: std::fmt::Debug>>(call: F) {
    let mut call = std::pin::pin!(call);
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "no answer comes that fast: {polled:?}");
}

#[actix::test]
async fn a_call_that_is_dropped_at_once_leaves_no_handler_behind() {
    tokio::time::pause();
    let mut pair = Pair::new("mem://").await;
    for (caller, hands) in [(&pair.up, &mut pair.server), (&pair.down, &mut pair.client)] {
        // The request and its cancellation arrive with one read.
        begin_and_drop(caller.stay(1).timeout(FOR_EVER)).await;
        assert!(within(caller.count()).await.is_ok());
        let mut told = Vec::new();
        while told.last() != Some(&"counted") {
            told.push(within(hands.told.next()).await);
        }
        if told.contains(&"begun") && !told.contains(&"gone") {
            assert_eq!(within(hands.told.next()).await, "gone");
        }
    }
}

#[actix::test]
async fn a_sync_handler_whose_caller_has_gone_runs_to_its_end_and_its_answer_is_dropped() {
    tokio::time::pause();
    let mut pair = Pair::new("mem://").await;
    let call = actix::spawn(pair.up.count().timeout(FOR_EVER));
    assert_eq!(within(pair.server.told.next()).await, "counted");
    // The outcome is on its way.
    call.abort();
    assert_eq!(within(pair.up.count()).await.unwrap(), 2, "it has run, and its answer is nobody else's");
    assert_eq!(within(pair.up.name()).await.unwrap(), "server");
}

#[tokio::test]
async fn a_request_whose_caller_has_gone_before_its_turn_is_not_run() {
    // The server runs one at a time; a client that was told so would keep its calls to itself.
    let (served, mut hands) = node("server");
    let limits = limits(|limits| limits.max_in_flight = 1);
    let server = within(Server::bind("tcp://127.0.0.1:0").limits(limits).service(served).start());
    let server = server.await.unwrap();
    let mut raw = Raw::connect(server.address()).await;
    let hello = serde_json::json!({
        "session": "00112233445566aa", "features": ["message_id", "cancel"],
        "max_frame": 1 << 20, "max_in_flight": 256,
    });
    raw.ask(&Message::new(ServiceId::HELLO_REQUEST, 0, json(&hello))).await.expect("an answer");
    raw.send(&numbered(3, 1, &5)).await;
    assert_eq!(within(hands.told.next()).await, "begun");
    raw.send(&numbered(3, 2, &6)).await;
    raw.send(&numbered(4, 3, &())).await;
    raw.send(&Message::new(ServiceId::CANCEL, 0, json(&serde_json::json!({"message_id": 2})))).await;
    raw.send(&Message::new(ServiceId::CANCEL, 0, json(&serde_json::json!({"message_id": 1})))).await;
    let next = raw.receive().await.expect("the line lives");
    let found = (next.header().message_id, next.json().as_str());
    assert_eq!(found, (Some(3), "1"), "the first two are not answered");
    let mut told = [within(hands.told.next()).await, within(hands.told.next()).await];
    told.sort_unstable();
    assert_eq!(told, ["counted", "gone"], "the second has not begun");
}

fn numbered<T: serde::Serialize + ?Sized>(data_id: u32, message_id: u64, data: &T) -> Message {
    let message = Message::new(ServiceId::EXECUTE_REQUEST, data_id, json(data));
    let header = socketproto::Header { message_id: Some(message_id), ..*message.header() };
    Message::from_parts(header, message.json().clone())
}

#[tokio::test]
async fn a_cancellation_of_nothing_is_ignored() {
    let (served, _hands) = node("server");
    let server = within(Server::bind("tcp://127.0.0.1:0").service(served).start()).await.unwrap();
    let mut raw = Raw::connect(server.address()).await;
    let hello = serde_json::json!({
        "session": "00112233445566aa", "features": ["message_id", "cancel"],
        "max_frame": 1 << 20, "max_in_flight": 256,
    });
    raw.ask(&Message::new(ServiceId::HELLO_REQUEST, 0, json(&hello))).await.expect("an answer");
    for data in [
        serde_json::json!({"message_id": 7}),
        serde_json::json!({"message_id": 0}),
        serde_json::json!({"message_id": "7"}),
        serde_json::json!({}),
        serde_json::json!(null),
        serde_json::json!([7]),
    ] {
        for data_id in [0, 1] {
            raw.send(&Message::new(ServiceId::CANCEL, data_id, json(&data))).await;
        }
    }
    let next = raw.ask(&numbered(4, 1, &())).await.expect("the line lives");
    assert_eq!(next.header().message_id, Some(1), "none of them is answered");
}

#[tokio::test]
async fn an_old_peer_is_told_of_no_cancellation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    // The HELLO of this server names message ids alone.
    let (client, mut server) =
        tokio::join!(async { Client::connect(&url).await.unwrap() }, Raw::accept(&listener));
    let call = tokio::spawn(client.read::<u8>(7).timeout(FOR_EVER));
    server.receive_request().await.expect("the call is sent");
    call.abort();
    let call = tokio::spawn(client.read::<u8>(8));
    let request = server.receive().await.expect("the next call");
    assert_eq!(request.data_id(), 8.into(), "nothing came in between");
    server.send(&answer(&request, json(&5))).await;
    assert_eq!(within(call).await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn what_an_old_client_gives_up_runs_on_and_its_answer_reaches_no_other() {
    for address in ADDRESSES {
        let mut pair = Pair::with(address, "?peer=old", Limits::default()).await;
        for (caller, hands) in [(&pair.up, &mut pair.server), (&pair.down, &mut pair.client)] {
            let call = tokio::spawn(caller.stay(1).timeout(FOR_EVER));
            assert_eq!(within(hands.told.next()).await, "begun");
            call.abort();
            within(caller.count()).await.unwrap();
            assert_eq!(within(hands.told.next()).await, "counted", "it has not been dropped");
            hands.gate.add_permits(1);
            assert_eq!(within(hands.told.next()).await, "passed");
            assert_eq!(within(hands.told.next()).await, "gone");
            hands.gate.add_permits(1);
            assert_eq!(within(caller.stay(2)).await.unwrap(), 2, "the first answer is dropped");
            for event in ["begun", "passed", "gone"] {
                assert_eq!(within(hands.told.next()).await, event);
            }
        }
    }
}
