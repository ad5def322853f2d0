//! The seed library's functions between two programs: what it was typically used for, and what changes while they run.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use socketproto::prelude::*;
use socketproto::{
    AuthState, Backoff, ClientBuilder, ConnectionEvent, Error, Level, Limits, Message, Protocol, Status,
};
use tokio::sync::mpsc;

use crate::process::is_alone;
use crate::support::{block_on, json, within};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Longer than anything here takes, so that a message which never comes fails its test.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing is expected: it is over as soon as what was sent before has been looked at.
const NOW: Duration = Duration::ZERO;

fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("it is not empty")
}

fn stuck() -> Status {
    Status::new(7).expect("a status")
}

/// Two programs, connected over TCP: the server's handle, and both ends.
async fn pair() -> (Server, Client, Protocol, Protocol) {
    let server = Server::bind("tcp://127.0.0.1:0").start().await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let (near, far) = (client.protocol(), within(server.protocol()).await.unwrap());
    (server, client, near, far)
}

async fn send<T: serde::Serialize>(protocol: &Protocol, service_id: u32, data_id: u32, data: &T) {
    assert!(within(protocol.send(service_id, data_id, data, Status::OKAY, PATIENCE)).await);
}

async fn receive(protocol: &Protocol, service_id: u32, data_id: u32) -> Message {
    let received = within(protocol.receive(service_id, data_id, PATIENCE)).await;
    received.unwrap_or_else(|| panic!("no message {service_id}/{data_id}"))
}

/// Sends a request and takes its answer, as programs of the Python library do.
async fn ask(protocol: &Protocol, request: u32, data_id: u32, data: u32) -> (u32, Json) {
    send(protocol, request, data_id, &data).await;
    let answer = receive(protocol, request + 1, data_id).await;
    (answer.status().value(), answer.json().clone())
}

#[tokio::test]
async fn a_server_with_callbacks_is_polled_by_its_client() {
    let (server, _client, near, _far) = pair().await;
    let says = |text: &'static str| move |_: &Message| Ok(Json::encode(text)?);
    server.register_callback(None, None, says("any, any")).unwrap();
    server.register_callback(None, Some(7.into()), says("any, 7")).unwrap();
    server.register_callback(Some(10.into()), None, says("10, any")).unwrap();
    server.register_callback(Some(10.into()), Some(7.into()), says("10, 7")).unwrap();
    server
        .register_callback(Some(20.into()), Some(2.into()), |message| {
            let value: f64 = message.data()?;
            if value > 30.0 { Err(Fault::custom(7, "too hot")) } else { Ok(Json::encode(&(value + 1.0))?) }
        })
        .unwrap();
    for (service_id, data_id, expected) in
        [(10, 7, "10, 7"), (10, 8, "10, any"), (30, 7, "any, 7"), (30, 8, "any, any")]
    {
        assert_eq!(ask(&near, service_id, data_id, 0).await, (0, json(expected)));
    }
    assert_eq!(ask(&near, 20, 2, 22).await, (0, json(&23.0)));
    assert_eq!(ask(&near, 20, 2, 99).await.0, 7);
    send(&near, 20, 2, &"no number").await;
    assert_eq!(receive(&near, 21, 2).await.status(), Status::CALLBACK_ERROR);
    assert!(within(near.receive(21, 2, NOW)).await.is_none(), "each is received once");
}

#[tokio::test]
async fn a_server_uses_its_client_the_same_way() {
    let (_server, client, near, far) = pair().await;
    client.register_callback(Some(30.into()), None, |message| Ok(message.json().clone())).unwrap();
    assert_eq!(ask(&far, 30, 5, 9).await, (0, json(&9)));
    let (sender, mut told) = mpsc::unbounded_channel();
    near.register_callback(Some(11.into()), Some(4.into()), move |message| {
        sender.send(message.clone()).unwrap();
        Ok(Json::NULL)
    })
    .unwrap();
    // A message without a request, as updates are sent: to a callback, which answers nothing.
    assert!(within(far.send(11, 4, &19.5, stuck(), PATIENCE)).await);
    let update = within(told.recv()).await.unwrap();
    assert_eq!((update.status(), update.data::<f64>().unwrap()), (stuck(), 19.5));
    assert_eq!((update.service_id(), update.data_id()), (11.into(), 4.into()));
    assert_eq!(ask(&far, 30, 5, 8).await, (0, json(&8)), "nothing else came in between");
}

#[tokio::test]
async fn a_request_of_an_own_service_is_buffered_and_received_later() {
    let (server, _client, near, far) = pair().await;
    near.add_service(40, 41).unwrap();
    assert!(matches!(near.add_service(40, 43), Err(Error::RequestSidExists { .. })));
    assert!(matches!(near.add_service(42, 41), Err(Error::ResponseSidExists { .. })));
    assert!(matches!(near.add_service(8, 43), Err(Error::ReservedSid { .. })));
    server.add_service(40, 41).unwrap();
    for number in 0..3 {
        let (status, data) = ask(&near, 40, 1, number).await;
        assert_eq!((status, data), (1, Json::NULL));
    }
    for number in 0..3 {
        assert_eq!(receive(&far, 40, 1).await.data::<u32>().unwrap(), number);
    }
    server.register_callback(Some(40.into()), Some(2.into()), |_| Ok(Json::NULL)).unwrap();
    assert_eq!(ask(&near, 40, 1, 9).await.0, 4, "the service has a callback, for another datum");
    assert_eq!(ask(&near, 30, 2, 9).await.0, 6, "the datum has a callback, of another service");
    assert!(within(far.receive(40, 1, NOW)).await.is_none());
    let error = within(near.peer().call::<_, u8>(40, 1, &5)).await.unwrap_err();
    assert_eq!(error.fault().unwrap().status(), Status::SERVICE_OR_DATA_UNKNOWN);
}

#[tokio::test]
async fn a_message_is_received_by_one_and_lost_by_none() {
    let (_server, _client, near, far) = pair().await;
    let mut first = Box::pin(far.receive(50, 1, PATIENCE));
    assert!(first.as_mut().now_or_never().is_none());
    // It has asked; a message that was sent for it and finds it gone is there for the next.
    send(&near, 50, 1, &1).await;
    send(&near, 50, 2, &2).await;
    receive(&far, 50, 2).await;
    drop(first);
    assert_eq!(receive(&far, 50, 1).await.data::<u32>().unwrap(), 1);
    let (one, other) = (far.receive(50, 1, PATIENCE), far.receive(50, 1, PATIENCE));
    let both = async { tokio::join!(one, other) };
    let sent = async {
        send(&near, 50, 1, &3).await;
        send(&near, 50, 1, &4).await;
    };
    let ((one, other), ()) = within(async { tokio::join!(both, sent) }).await;
    let number = |message: Option<Message>| message.unwrap().data::<u32>().unwrap();
    assert_eq!((number(one), number(other)), (3, 4));
}

#[tokio::test]
async fn what_came_before_the_end_can_be_received_behind_it() {
    let (_server, client, near, far) = pair().await;
    send(&near, 50, 1, &1).await;
    send(&near, 50, 1, &2).await;
    send(&near, 50, 2, &3).await;
    receive(&far, 50, 2).await;
    within(client.close()).await;
    within(async {
        while far.is_connected() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(receive(&far, 50, 1).await.data::<u32>().unwrap(), 1);
    assert_eq!(receive(&far, 50, 1).await.data::<u32>().unwrap(), 2);
    assert!(within(far.receive(50, 1, PATIENCE)).await.is_none(), "nothing more will come");
    assert!(!within(far.send(50, 1, &1, Status::OKAY, PATIENCE)).await);
}

#[tokio::test]
async fn what_cannot_be_sent_is_false_and_the_error_says_why() {
    let (server, _client, near, _far) = pair().await;
    for reserved in [0, 1, 8, 9, 0xFFFF_0000] {
        assert!(!within(near.send(reserved, 0, &(), Status::OKAY, PATIENCE)).await);
        assert!(within(near.receive(reserved, 0, PATIENCE)).await.is_none());
    }
    let keys_are_no_text = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(!within(near.send(50, 1, &keys_are_no_text, Status::OKAY, PATIENCE)).await);
    let error = within(near.send_message(&Message::new(8, 0, Json::NULL), PATIENCE)).await.unwrap_err();
    assert!(matches!(error, Error::ReservedSid { .. }), "{error}");
    let large = Message::new(50, 1, json(&"x".repeat(9 << 20)));
    let error = within(near.send_message(&large, PATIENCE)).await.unwrap_err();
    assert!(matches!(error, Error::NotSendable { .. }), "{error}");
    near.add_data(50, 1, "report");
    let lazy = Client::connect("mem://nobody-is-here").lazy().await.unwrap();
    lazy.protocol().add_data([50], 1, "report");
    let error =
        within(lazy.protocol().send_message(&Message::new(50, 1, Json::NULL), NOW)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "service 50 of report (data 1) at mem://nobody-is-here: not sent within 0ns: the connection was not ready, or \
         took too little"
    );
    within(server.shutdown()).await.unwrap();
    assert!(matches!(within(server.protocol()).await, Err(Error::ShutDown)));
}

/// A client that authenticates by hand: in Legacy, for in secure mode the line itself is the proof.
fn by_hand(address: &str, text: &str) -> ClientBuilder {
    Client::connect(address).secret(secret(text)).level(Level::Legacy).ignore_sentinel(true).auto_auth(false)
}

async fn safe() -> Server {
    let server =
        Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).accept_legacy(true).manual_auth(true);
    let gold = |_: &Message| Ok(Json::encode(&5)?);
    server.register_callback(Some(10.into()), Some(1.into()), gold).start().await.unwrap()
}

#[tokio::test]
async fn a_client_authenticates_by_hand() {
    let server = safe().await;
    let client = within(by_hand(server.address(), SECRET)).await.unwrap();
    let protocol = client.protocol();
    assert!(protocol.is_connected() && !protocol.connection_established());
    assert!(!protocol.check_authentication_state());
    let refused = within(client.read::<u8>(1)).await.unwrap_err();
    assert_eq!(refused.fault().unwrap().status(), Status::AUTHENTICATION_REQUIRED);
    let far = within(server.protocol()).await.unwrap();
    assert!(!within(far.authenticate(PATIENCE)).await, "a server proves nothing");
    assert!(within(protocol.authenticate(PATIENCE)).await);
    assert!(protocol.connection_established() && protocol.check_authentication_state());
    assert_eq!(ask(&protocol, 10, 1, 0).await, (0, json(&5)));
    assert!(within(protocol.authenticate(PATIENCE)).await, "it stays so");
    assert!(within(far.authenticate(PATIENCE)).await);
}

#[tokio::test]
async fn an_answer_of_the_whitelist_is_received_where_both_sides_have_it() {
    let server = safe().await;
    server.add_msg_to_auth_whitelist(10, 1);
    let client = by_hand(server.address(), SECRET);
    let client = within(client.add_msg_to_auth_whitelist(10, 1)).await.unwrap();
    assert_eq!(ask(&client.protocol(), 10, 1, 0).await, (0, json(&5)));
}

#[tokio::test]
async fn a_wrong_secret_is_false_and_leaves_the_connection() {
    let server = safe().await;
    let client = within(by_hand(server.address(), "fedcba9876543210fedcba9876543210")).await.unwrap();
    let protocol = client.protocol();
    assert!(!within(protocol.authenticate(PATIENCE)).await);
    assert!(!within(protocol.authenticate(PATIENCE)).await);
    assert!(protocol.is_connected() && !protocol.connection_established());
    assert_eq!(client.auth_state(), AuthState::Untrusted);
    server.add_msg_to_auth_whitelist(10, 1);
    assert_eq!(within(client.read::<u32>(1)).await.unwrap(), 5, "an answer that is waited for passes");
    let (told, mut answers) = mpsc::unbounded_channel();
    protocol
        .register_callback(None, None, move |message| {
            told.send(message.data::<u32>()?).unwrap();
            Ok(Json::NULL)
        })
        .unwrap();
    // Of a server that it does not trust a client takes nothing unasked, unless it is on its own whitelist.
    send(&protocol, 10, 1, &()).await;
    within(client.read::<u32>(1)).await.unwrap();
    assert!(answers.try_recv().is_err());
    protocol.add_msg_to_auth_whitelist(10, 1);
    send(&protocol, 10, 1, &()).await;
    assert_eq!(within(answers.recv()).await, Some(5));
}

#[tokio::test]
async fn without_a_secret_there_is_nothing_to_prove() {
    let (_server, _client, near, far) = pair().await;
    assert!(!within(near.authenticate(PATIENCE)).await);
    assert!(!within(far.authenticate(PATIENCE)).await);
    assert!(near.connection_established() && far.connection_established());
    assert!(!near.check_authentication_state());
}

#[tokio::test]
async fn both_sides_can_ask_for_another_line_and_what_was_registered_stays() {
    let (events, mut told) = mpsc::unbounded_channel();
    let server = Server::bind("tcp://127.0.0.1:0").start().await.unwrap();
    let never = Duration::from_secs(3600);
    // It would wait for an hour, were it not told to connect at once.
    let backoff = Backoff::new(never, never);
    let follow = move |_: &Peer, event: &ConnectionEvent| drop(events.send(event.clone()));
    let client = Client::connect(server.address()).backoff(backoff).on_event(follow);
    let client = within(client).await.unwrap();
    let near = client.protocol();
    near.register_callback(Some(30.into()), None, |_| Ok(Json::encode(&1)?)).unwrap();
    let far = within(server.protocol()).await.unwrap();
    send(&far, 50, 1, &"of the first line").await;
    assert_eq!(ask(&far, 30, 1, 0).await, (0, json(&1)));
    near.reconnect();
    within(async { while told.recv().await.unwrap() != ConnectionEvent::Reconnected {} }).await;
    assert!(within(near.receive(50, 1, NOW)).await.is_none(), "a message of an earlier line is gone");
    let far = within(server.protocol()).await.unwrap();
    assert_eq!(ask(&far, 30, 1, 0).await, (0, json(&1)), "the callback is still there");
    far.reconnect();
    within(async { while !matches!(told.recv().await.unwrap(), ConnectionEvent::Disconnected { .. }) {} })
        .await;
    // The server has closed it, and the client waits for an hour; until it is told not to.
    near.reconnect();
    within(async { while told.recv().await.unwrap() != ConnectionEvent::Reconnected {} }).await;
    send(&near, 50, 2, &5).await;
}

#[tokio::test]
async fn what_is_sent_behind_a_reconnect_goes_over_the_next_line() {
    let (server, client, near, _far) = pair().await;
    server.register_callback(Some(10.into()), None, |message| Ok(message.json().clone())).unwrap();
    for number in 0..50 {
        near.reconnect();
        // Nothing is awaited between the two, so one step of the connection takes both.
        let sent = near.send(10, 1, &number, Status::OKAY, PATIENCE);
        let call = client.read::<Option<u8>>(2);
        assert!(within(sent).await, "message {number} is for the line that was asked for");
        assert_eq!(receive(&near, 11, 1).await.data::<u32>().unwrap(), number);
        assert_eq!(within(call).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_channel_has_the_clients_name() {
    let server = Server::bind("tcp://127.0.0.1:0").channel_name("cellar").start().await.unwrap();
    let taken_over = within(Client::connect(server.address())).await.unwrap();
    send(&taken_over.protocol(), 50, 1, &1).await;
    within(taken_over.protocol().peer().read::<u8>(1)).await.unwrap_err();
    assert_eq!(taken_over.protocol().channel_name().as_deref(), Some("cellar"));
    within(taken_over.close()).await;
    let own = within(Client::connect(server.address()).channel_name("attic")).await.unwrap();
    within(own.read::<u8>(1)).await.unwrap_err();
    assert_eq!(own.protocol().channel_name().as_deref(), Some("attic"));
    within(async {
        while within(server.protocol()).await.unwrap().channel_name().as_deref() != Some("attic") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn callbacks_are_replaced_and_removed_from_inside_callbacks() {
    let (server, _client, near, _far) = pair().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let inside = near.clone();
    drop(inside);
    let (handle, count) = (server.clone(), Arc::clone(&runs));
    server
        .register_callback(Some(10.into()), Some(1.into()), move |_| {
            let count = Arc::clone(&count);
            handle.register_callback(Some(10.into()), Some(1.into()), move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Json::encode("second")?)
            })?;
            Ok(Json::encode("first")?)
        })
        .unwrap();
    let remover = server.clone();
    server
        .register_callback(Some(10.into()), Some(2.into()), move |_| {
            Ok(Json::encode(&remover.unregister_callback(Some(10.into()), Some(2.into())))?)
        })
        .unwrap();
    assert_eq!(ask(&near, 10, 1, 0).await, (0, json("first")));
    for _ in 0..3 {
        assert_eq!(ask(&near, 10, 1, 0).await, (0, json("second")));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    assert_eq!(ask(&near, 10, 2, 0).await, (0, json(&true)));
    assert_eq!(ask(&near, 10, 2, 0).await.0, 4, "it removed itself");
    within(server.shutdown()).await.unwrap();
    let late = server.register_callback(None, None, |_| Ok(Json::NULL));
    assert!(matches!(late, Err(Error::ShutDown)));
}

#[tokio::test]
async fn a_derived_service_keeps_its_data_and_callbacks_get_the_rest() {
    #[derive(Service)]
    struct Lamp {
        #[did(1, read)]
        on: bool,
    }
    let server = Server::bind("tcp://127.0.0.1:0").service(Lamp { on: true }).start().await.unwrap();
    let refused = server.register_callback(Some(10.into()), Some(1.into()), |_| Ok(Json::NULL)).unwrap_err();
    assert!(refused.to_string().contains("served twice: by Lamp and by a callback"), "{refused}");
    server.register_callback(None, None, |_| Ok(Json::encode("rest")?)).unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    assert!(within(client.read::<bool>(1)).await.unwrap());
    assert_eq!(within(client.read::<String>(2)).await.unwrap(), "rest");
    assert!(server.unregister_callback(None, None));
    let error = within(client.write(1, &false)).await.unwrap_err();
    assert_eq!(error.fault().unwrap().status(), Status::OPERATION_NOT_PERMITTED);
}

/// Numbers from a seed: the same in every run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[tokio::test]
async fn while_callbacks_come_and_go_every_request_is_answered_once_by_one_that_was_there() {
    let (server, client, _near, _far) = pair().await;
    let keys =
        [(None, None), (None, Some(1.into())), (Some(30.into()), None), (Some(30.into()), Some(1.into()))];
    // Which generation each key has, in the order of priority, the exact one last; 0 is none.
    let mut there = [0_u32; 4];
    let mut state = 1;
    let mut generation = 0;
    for round in 0..200 {
        let before = there;
        let calls: Vec<_> =
            (0..4).map(|_| tokio::spawn(client.execute::<_, u32>(1, &()).into_future())).collect();
        let mut all = vec![before];
        for _ in 0..3 {
            let key = next(&mut state) % 4;
            let (service_id, data_id) = keys[key];
            if next(&mut state).is_multiple_of(3) {
                assert_eq!(server.unregister_callback(service_id, data_id), there[key] != 0);
                there[key] = 0;
            } else {
                generation += 1;
                let own = generation;
                let closure = move |_: &Message| Ok(Json::encode(&own)?);
                server.register_callback(service_id, data_id, closure).unwrap();
                there[key] = own;
            }
            all.push(there);
        }
        let first = |there: &[u32; 4]| there.iter().rev().copied().find(|generation| *generation != 0);
        for call in calls {
            let answer = match within(call).await.unwrap() {
                Ok(generation) => Some(generation),
                Err(error) => {
                    assert_eq!(error.fault().map(Fault::status), Some(Status::BUFFERING_UNHANDLED_REQUEST));
                    None
                }
            };
            assert!(all.iter().any(|there| first(there) == answer), "round {round}: {answer:?} of {all:?}");
        }
        // Now nothing changes any more.
        let settled = within(client.execute::<_, u32>(1, &())).await.ok();
        assert_eq!(settled, first(&there), "round {round}");
    }
}

#[tokio::test]
async fn ten_thousand_callbacks_are_registered_while_messages_come() {
    let (server, _client, near, _far) = pair().await;
    for data_id in 0..10_000_u32 {
        let closure = move |_: &Message| Ok(Json::encode(&data_id)?);
        server.register_callback(Some(10.into()), Some(data_id.into()), closure).unwrap();
        if data_id % 1000 == 0 {
            assert_eq!(ask(&near, 10, data_id, 0).await, (0, json(&data_id)));
        }
    }
    assert_eq!(ask(&near, 10, 9_999, 0).await, (0, json(&9_999)));
}

#[tokio::test]
async fn the_oldest_messages_go_when_there_are_too_many() {
    let mut limits = Limits::default();
    limits.max_buffered_per_datum = 2;
    let server = Server::bind("tcp://127.0.0.1:0").limits(limits).start().await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let far = within(server.protocol()).await.unwrap();
    for number in 0..4 {
        send(&client.protocol(), 50, 1, &number).await;
    }
    send(&client.protocol(), 50, 2, &9).await;
    receive(&far, 50, 2).await;
    assert_eq!(receive(&far, 50, 1).await.data::<u32>().unwrap(), 2);
}

// Logs

/// Everything that is logged on one thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What is logged while an actix program runs this; all of it runs on one thread, so it hears itself alone.
    pub(crate) fn of<F: Future<Output = ()>>(program: impl FnOnce() -> F) -> String {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || actix::System::new().block_on(program()));
        let text = log.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }
}

#[test]
fn every_line_of_the_log_names_what_it_speaks_of_and_shows_no_payload() {
    // Which lines are of interest is decided for the whole process, and other tests want none.
    if !is_alone("protocol_api::every_line_of_the_log_names_what_it_speaks_of_and_shows_no_payload") {
        return;
    }
    let text = Log::of(|| async {
        let server = Server::bind("mem://").add_named_service(40, 41, "history request", "history response");
        let server = server.add_data([10, 20], 2, "setpoint").add_status(stuck(), "valve stuck");
        let server = server.start().await.unwrap();
        server
            .register_callback(Some(20.into()), Some(2.into()), |_| Err(Fault::custom(7, "hidden")))
            .unwrap();
        server.register_callback(Some(10.into()), Some(2.into()), |_| panic!("in a test")).unwrap();
        let client = Client::connect(server.address()).channel_name("attic").await.unwrap();
        let protocol = client.protocol();
        protocol.add_data(50, 1, "report");
        within(client.write(2, &"payload")).await.unwrap_err();
        within(client.read::<u8>(2)).await.unwrap_err();
        within(protocol.send(40, 5, &"payload", Status::OKAY, None)).await;
        within(client.read::<u8>(9)).await.unwrap_err();
        within(protocol.send(0, 1, &(), Status::OKAY, None)).await;
        within(client.close()).await;
        within(protocol.send(50, 1, &(), Status::OKAY, None)).await;
        server.shutdown().await.unwrap();

        // Its answer comes to a side that does not trust yet, and has it not on its whitelist.
        let server = Server::bind("mem://").secret(secret(SECRET)).accept_legacy(true).manual_auth(true);
        let server = server.start().await.unwrap();
        server.add_msg_to_auth_whitelist(10, 3);
        let protocol = within(by_hand(server.address(), SECRET)).await.unwrap().protocol();
        within(protocol.send(10, 3, &(), Status::OKAY, None)).await;
        // Behind its answer.
        assert!(within(protocol.authenticate(PATIENCE)).await);
        server.shutdown().await.unwrap();
    });
    let has = |parts: &[&str]| {
        let found = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} is missing in\n{text}");
    };
    has(&["received", "write data request (20) of setpoint (data 2)", "channel=\"attic\"", "bytes="]);
    has(&["sent", "write data response (21) of setpoint (data 2), valve stuck (status 7)"]);
    has(&["nobody takes this message", "history request (40) of data 5"]);
    has(&["nobody takes this message", "read data request (10) of data 9"]);
    has(&["its handler panicked", "read data request (10) of setpoint (data 2)", "attic"]);
    has(&["WARN", "message not sent", "authentication request (0) is reserved"]);
    has(&["WARN", "message not sent", "service 50 of report (data 1)"]);
    has(&["WARN", "answer dropped", "whitelist of this side too", "read data response (11) of data 3"]);
    has(&["callback registered", "write data request (20) of data 2"]);
    assert!(!text.contains("payload") && !text.contains("hidden"), "{text}");
}

#[test]
fn handles_can_be_sent_and_shared() {
    fn assert_shared<T: Send + Sync + Clone + std::fmt::Debug>() {}
    assert_shared::<Protocol>();
    let server = block_on(Server::bind("mem://").start()).unwrap();
    let client = block_on(Client::connect(server.address()).into_future()).unwrap();
    let sending = client.protocol().send(50, 1, &1, Status::OKAY, None);
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    assert!(block_on(assert_send(sending)), "without a runtime");
}
