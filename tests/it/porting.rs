//! docs/porting.md: every entry of the Python library has a row, every row's Rust is compiled, and does what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketproto::prelude::*;
use socketproto::{
    AuthState, ConnectionEvent, DEFAULT_AUTHENTICATE_TIMEOUT, DEFAULT_RECEIVE_TIMEOUT, DEFAULT_SEND_TIMEOUT,
    Error, Level, Message, Protocol, Status,
};
use tokio::sync::mpsc;

use crate::support::{json, repository, within};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The entries of the library's documentation: constants, exceptions, classes, methods, parameters, rules and notes.
const ENTRIES: [&str; 94] = [
    "AUTH_STATE_UNTRUSTED_CONNECTION",
    "AUTH_STATE_SEED_REQUESTED",
    "AUTH_STATE_SEED_TRANSFERRED",
    "AUTH_STATE_KEY_TRANSFERRED",
    "AUTH_STATE_TRUSTED_CONNECTION",
    "AUTH_STATE__NAMES",
    "DID_AUTH_SEED",
    "DID_AUTH_KEY",
    "DID_CHANNEL_NAME",
    "SID_AUTH_REQUEST",
    "SID_AUTH_RESPONSE",
    "SID_CHANNEL_NAME_REQUEST",
    "SID_CHANNEL_NAME_RESPONSE",
    "SID_READ_REQUEST",
    "SID_READ_RESPONSE",
    "SID_WRITE_REQUEST",
    "SID_WRITE_RESPONSE",
    "SID_EXECUTE_REQUEST",
    "SID_EXECUTE_RESPONSE",
    "STATUS_OKAY",
    "STATUS_BUFFERING_UNHANDLED_REQUEST",
    "STATUS_CALLBACK_ERROR",
    "STATUS_AUTH_REQUIRED",
    "STATUS_SERVICE_OR_DATA_UNKNOWN",
    "STATUS_CHECKSUM_ERROR",
    "STATUS_OPERATION_NOT_PERMITTED",
    "RequestSidExistsError",
    "ResponseSidExistsError",
    "data_storage",
    "data_storage.status",
    "data_storage.service_id",
    "data_storage.data_id",
    "data_storage.data",
    "data_storage.get_data",
    "data_storage.get_data_id",
    "data_storage.get_service_id",
    "data_storage.get_status",
    "pure_json_protocol",
    "pure_json_protocol.comm_instance",
    "pure_json_protocol.secret",
    "pure_json_protocol.auto_auth",
    "pure_json_protocol.channel_name",
    "hint.service_id",
    "hint.data_id",
    "comm_instance.init_channel_name",
    "comm_instance.IS_CLIENT",
    "comm_instance.is_connected",
    "comm_instance.reconnect",
    "comm_instance.register_callback",
    "comm_instance.register_connect_callback",
    "comm_instance.register_disconnect_callback",
    "comm_instance.send",
    "note.auto_auth",
    "note.channel_name.exchange",
    "note.channel_name.difference",
    "add_data",
    "add_data.service_id",
    "add_data.data_id",
    "add_data.name",
    "add_msg_to_auth_whitelist_",
    "add_service",
    "add_service.names",
    "add_status",
    "authentificate",
    "authentificate.timeout",
    "authentificate.returns",
    "authentificate.note.secret",
    "authentificate.note.same",
    "check_authentification_state",
    "connection_established",
    "is_connected",
    "receive",
    "receive.timeout",
    "receive.returns",
    "reconnect",
    "register_callback",
    "register_callback.none",
    "register_callback.priority.1",
    "register_callback.priority.2",
    "register_callback.priority.3",
    "register_callback.priority.4",
    "register_callback.message",
    "register_callback.args",
    "register_callback.kwargs",
    "register_callback.return.status",
    "register_callback.return.data",
    "register_callback.note",
    "send",
    "send.status",
    "send.data",
    "send.timeout",
    "send.returns",
    "struct_json_protocol",
    "struct_json_protocol.note",
];

#[derive(Debug)]
struct Row {
    python: String,
    rust: String,
    /// The Rust code below the table.
    block: String,
}

/// The rows of the page by their entries.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for section in page.split("\n## ").skip(1) {
        let block = section.split("```rust").nth(1).and_then(|rest| rest.split("```").next());
        let block = block.unwrap_or_else(|| panic!("no code below the table of {section}"));
        for line in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
            let line = line.replace(r"\|", "\u{1}");
            let cells: Vec<_> =
                line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
            let [entry, python, rust, _note] = &cells[..] else { panic!("four cells: {cells:?}") };
            if entry == "entry" {
                continue;
            }
            let row = Row {
                python: python.trim_matches('`').to_owned(),
                rust: rust.trim_matches('`').to_owned(),
                block: block.to_owned(),
            };
            assert!(rows.insert(entry.clone(), row).is_none(), "twice: {entry}");
        }
    }
    rows
}

#[tokio::test]
async fn every_entry_has_a_row_whose_rust_is_compiled_and_does_what_it_says() {
    let page = std::fs::read_to_string(repository().join("docs/porting.md")).expect("the page");
    let rows = rows(&page);
    let named: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    assert_eq!(named, BTreeSet::from(ENTRIES), "the rows are the entries of the library");
    for (entry, row) in &rows {
        assert!(!row.python.is_empty() && !row.rust.is_empty(), "an empty cell: {entry}");
        assert!(row.block.contains(&row.rust), "{entry}: `{}` is not in the code below its table", row.rust);
        within(check(entry, row)).await;
    }
}

#[tokio::test]
#[should_panic(expected = "without a check")]
async fn a_row_without_a_check_fails() {
    let row = Row { python: String::new(), rust: String::new(), block: String::new() };
    check("something_new", &row).await;
}

/// Runs what a row says.
fn check<'a>(entry: &'a str, row: &'a Row) -> BoxFuture<'a, ()> {
    match entry {
        _ if entry.starts_with("AUTH_STATE") || entry.starts_with("DID_") => constant(entry, row).boxed(),
        _ if entry.starts_with("SID_") || entry.starts_with("STATUS_") => constant(entry, row).boxed(),
        "RequestSidExistsError" | "ResponseSidExistsError" => exceptions().boxed(),
        _ if entry.starts_with("data_storage") => data_storage(entry).boxed(),
        "pure_json_protocol" | "hint.service_id" | "hint.data_id" => dialogue().boxed(),
        "pure_json_protocol.comm_instance" | "comm_instance.is_connected" | "comm_instance.IS_CLIENT" => {
            connected().boxed()
        }
        "pure_json_protocol.secret"
        | "pure_json_protocol.auto_auth"
        | "note.auto_auth"
        | "authentificate"
        | "authentificate.timeout"
        | "authentificate.returns"
        | "authentificate.note.secret"
        | "authentificate.note.same"
        | "check_authentification_state"
        | "connection_established" => authentication().boxed(),
        "pure_json_protocol.channel_name"
        | "comm_instance.init_channel_name"
        | "note.channel_name.exchange"
        | "note.channel_name.difference" => channel_names().boxed(),
        "comm_instance.register_connect_callback"
        | "comm_instance.register_disconnect_callback"
        | "comm_instance.reconnect"
        | "reconnect" => another_line().boxed(),
        "is_connected" => connected().boxed(),
        "comm_instance.send" | "send" | "send.status" | "send.data" | "send.timeout" | "send.returns" => {
            sending().boxed()
        }
        "receive" | "receive.timeout" | "receive.returns" => receiving().boxed(),
        "add_data" | "add_data.service_id" | "add_data.data_id" | "add_data.name" | "add_service.names" => {
            names(entry).boxed()
        }
        "add_status" => statuses().boxed(),
        "add_msg_to_auth_whitelist_" => whitelist().boxed(),
        "add_service" => own_service().boxed(),
        "comm_instance.register_callback" | "register_callback" | "register_callback.none" => {
            callbacks().boxed()
        }
        "register_callback.priority.1"
        | "register_callback.priority.2"
        | "register_callback.priority.3"
        | "register_callback.priority.4" => priorities().boxed(),
        "register_callback.message" | "register_callback.args" | "register_callback.kwargs" => {
            arguments().boxed()
        }
        "register_callback.return.status" | "register_callback.return.data" => returned().boxed(),
        "register_callback.note" => responds_alone().boxed(),
        "struct_json_protocol" => frames("?peer=old&format=struct", b'\0').boxed(),
        "struct_json_protocol.note" => frames("?peer=old&format=json", b'{').boxed(),
        other => panic!("`{other}` is a row without a check"),
    }
}

// The checks

async fn constant(entry: &str, row: &Row) {
    const AUTH: [(&str, AuthState); 5] = [
        ("AUTH_STATE_UNTRUSTED_CONNECTION", AuthState::Untrusted),
        ("AUTH_STATE_SEED_REQUESTED", AuthState::SeedRequested),
        ("AUTH_STATE_SEED_TRANSFERRED", AuthState::SeedTransferred),
        ("AUTH_STATE_KEY_TRANSFERRED", AuthState::KeyTransferred),
        ("AUTH_STATE_TRUSTED_CONNECTION", AuthState::Trusted),
    ];
    if entry == "AUTH_STATE__NAMES" {
        let names = [
            "Untrusted Connection",
            "Seed was requested",
            "Seed has been sent",
            "Key has been sent",
            "Trusted Connection",
        ];
        assert_eq!(AUTH.map(|(_, state)| state.name()), names);
        return;
    }
    let value = match entry {
        "DID_AUTH_SEED" => DataId::AUTH_SEED.value(),
        "DID_AUTH_KEY" => DataId::AUTH_KEY.value(),
        "DID_CHANNEL_NAME" => DataId::CHANNEL_NAME.value(),
        "SID_AUTH_REQUEST" => ServiceId::AUTH_REQUEST.value(),
        "SID_AUTH_RESPONSE" => ServiceId::AUTH_RESPONSE.value(),
        "SID_CHANNEL_NAME_REQUEST" => ServiceId::CHANNEL_NAME_REQUEST.value(),
        "SID_CHANNEL_NAME_RESPONSE" => ServiceId::CHANNEL_NAME_RESPONSE.value(),
        "SID_READ_REQUEST" => ServiceId::READ_REQUEST.value(),
        "SID_READ_RESPONSE" => ServiceId::READ_RESPONSE.value(),
        "SID_WRITE_REQUEST" => ServiceId::WRITE_REQUEST.value(),
        "SID_WRITE_RESPONSE" => ServiceId::WRITE_RESPONSE.value(),
        "SID_EXECUTE_REQUEST" => ServiceId::EXECUTE_REQUEST.value(),
        "SID_EXECUTE_RESPONSE" => ServiceId::EXECUTE_RESPONSE.value(),
        "STATUS_OKAY" => Status::OKAY.value(),
        "STATUS_BUFFERING_UNHANDLED_REQUEST" => Status::BUFFERING_UNHANDLED_REQUEST.value(),
        "STATUS_CALLBACK_ERROR" => Status::CALLBACK_ERROR.value(),
        "STATUS_AUTH_REQUIRED" => Status::AUTHENTICATION_REQUIRED.value(),
        "STATUS_SERVICE_OR_DATA_UNKNOWN" => Status::SERVICE_OR_DATA_UNKNOWN.value(),
        "STATUS_CHECKSUM_ERROR" => Status::CHECKSUM_ERROR.value(),
        "STATUS_OPERATION_NOT_PERMITTED" => Status::OPERATION_NOT_PERMITTED.value(),
        state => match AUTH.iter().find(|(name, _)| *name == state) {
            Some((_, state)) => state.value(),
            None => panic!("`{state}` is a row without a check"),
        },
    };
    assert_eq!(row.python, format!("{entry} = {value}"));
}

/// Two programs, connected over TCP: the server, the client, and both ends.
async fn pair() -> (Server, Client, Protocol, Protocol) {
    let server = Server::bind("tcp://127.0.0.1:0").start().await.unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    let (near, far) = (client.protocol(), server.protocol().await.unwrap());
    (server, client, near, far)
}

/// Sends a request and takes its answer.
async fn ask(protocol: &Protocol, request: u32, data_id: u32) -> Message {
    assert!(protocol.send(request, data_id, &(), Status::OKAY, PATIENCE).await);
    protocol.receive(request + 1, data_id, PATIENCE).await.expect("an answer")
}

async fn exceptions() {
    let (_server, _client, near, _far) = pair().await;
    near.add_service(40, 41).unwrap();
    assert!(matches!(near.add_service(40, 43), Err(Error::RequestSidExists { .. })));
    assert!(matches!(near.add_service(42, 41), Err(Error::ResponseSidExists { .. })));
}

async fn data_storage(entry: &str) {
    let message = Message::new(20, 2, json(&22.5));
    let empty = Message::new(20, 2, Json::NULL);
    match entry {
        "data_storage" | "data_storage.data" => assert_eq!(message.data::<f64>().unwrap(), 22.5),
        "data_storage.status" | "data_storage.get_status" => assert_eq!(message.status().value(), 0),
        "data_storage.service_id" | "data_storage.get_service_id" => {
            assert_eq!(message.service_id().value(), 20);
        }
        "data_storage.data_id" | "data_storage.get_data_id" => assert_eq!(message.data_id().value(), 2),
        "data_storage.get_data" => {
            assert_eq!((message.data_or(0.0).unwrap(), empty.data_or(0.0).unwrap()), (22.5, 0.0));
            assert!(message.data_or(String::new()).is_err(), "data that do not fit are no missing data");
        }
        other => panic!("`{other}` is a row without a check"),
    }
}

async fn dialogue() {
    let (server, _client, near, far) = pair().await;
    let value = |value: u32| move |_: &Message| Ok(Json::encode(&value)?);
    for (service_id, data_id) in
        [(ServiceId::READ_REQUEST, 1), (ServiceId::READ_REQUEST, 2), (ServiceId::EXECUTE_REQUEST, 1)]
    {
        let answer = value(service_id.value() + data_id);
        server.register_callback(Some(service_id), Some(data_id.into()), answer).unwrap();
    }
    assert_eq!(ask(&near, 10, 1).await.data::<u32>().unwrap(), 11);
    assert_eq!(ask(&near, 10, 2).await.data::<u32>().unwrap(), 12);
    assert_eq!(ask(&near, 30, 1).await.data::<u32>().unwrap(), 31);
    near.register_callback(None, None, value(7)).unwrap();
    assert_eq!(ask(&far, 10, 1).await.data::<u32>().unwrap(), 7);
}

async fn connected() {
    let (server, client, near, far) = pair().await;
    let _: Client = client.clone();
    assert!(client.is_connected() && near.is_connected() && far.is_connected());
    client.close().await;
    assert!(!near.is_connected());
    assert!(matches!(Client::connect("nowhere").await, Err(Error::Address { .. })));
    server.shutdown().await.unwrap();
    assert!(!far.is_connected());
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("it is not empty")
}

async fn authentication() {
    let server =
        Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).accept_legacy(true).manual_auth(true);
    let server = server.start().await.unwrap();
    let at = || Client::connect(server.address());
    let by_itself = at().secret(secret(SECRET)).auto_auth(true).await.unwrap();
    assert!(by_itself.protocol().check_authentication_state());

    // In secure mode the line itself is the proof.
    let legacy = || at().level(Level::Legacy).ignore_sentinel(true).auto_auth(false);
    let by_hand = legacy().secret(secret(SECRET)).await.unwrap().protocol();
    assert!(by_hand.is_connected() && !by_hand.connection_established());
    assert!(!by_hand.check_authentication_state());
    assert!(by_hand.authenticate(DEFAULT_AUTHENTICATE_TIMEOUT).await);
    assert!(by_hand.connection_established() && by_hand.check_authentication_state());
    assert_eq!(DEFAULT_AUTHENTICATE_TIMEOUT, Duration::from_secs(2));

    let other = legacy().secret(secret("fedcba9876543210fedcba9876543210")).await.unwrap().protocol();
    assert!(!other.authenticate(PATIENCE).await);
    assert!(other.is_connected() && !other.connection_established());

    let none = at().await.unwrap().protocol();
    assert!(!none.authenticate(PATIENCE).await);
    assert!(none.connection_established(), "this side has no secret, so it is as far as it gets");
}

async fn channel_names() {
    for (clients, servers, expected) in [
        (None, Some("cellar"), "cellar"),
        (Some("attic"), None, "attic"),
        (Some("attic"), Some("cellar"), "attic"),
    ] {
        let mut server = Server::bind("tcp://127.0.0.1:0");
        if let Some(name) = servers {
            server = server.channel_name(name);
        }
        let server = server.start().await.unwrap();
        let mut client = Client::connect(server.address());
        if let Some(name) = clients {
            client = client.channel_name(name);
        }
        let client = client.await.unwrap();
        // Its answer comes behind that of the exchange, which the client has begun.
        client.read::<u8>(1).await.unwrap_err();
        assert_eq!(client.channel_name().as_deref(), Some(expected));
        assert_eq!(client.protocol().channel_name().as_deref(), Some(expected));
        let far = server.protocol().await.unwrap();
        assert_eq!(far.channel_name().as_deref(), Some(expected));
    }
}

async fn another_line() {
    let server = Server::bind("tcp://127.0.0.1:0").start().await.unwrap();
    let (teller, mut told) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| match event {
        ConnectionEvent::Connected => teller.send("there").unwrap(),
        ConnectionEvent::Disconnected { .. } => teller.send("gone").unwrap(),
        _ => {}
    };
    let client = Client::connect(server.address()).on_event(follow).await.unwrap();
    client.protocol().reconnect();
    for expected in ["there", "gone", "there"] {
        assert_eq!(told.recv().await, Some(expected));
    }
    let far = loop {
        let far = server.protocol().await.unwrap();
        if far.is_connected() {
            break far;
        }
    };
    far.reconnect();
    for expected in ["gone", "there"] {
        assert_eq!(told.recv().await, Some(expected));
    }
}

async fn sending() {
    let (_server, client, near, far) = pair().await;
    let stuck = Status::new(7).unwrap();
    assert!(near.send(50, 1, &[1, 2, 3], stuck, DEFAULT_SEND_TIMEOUT).await);
    let message = far.receive(50, 1, PATIENCE).await.unwrap();
    assert_eq!((message.status(), message.data::<[u8; 3]>().unwrap()), (stuck, [1, 2, 3]));
    near.send_message(&Message::new(50, 2, json("text")), None).await.unwrap();
    assert_eq!(far.receive(50, 2, PATIENCE).await.unwrap().status(), Status::OKAY);
    client.close().await;
    assert!(!near.send(50, 1, &(), Status::OKAY, None).await);
    assert!(near.send_message(&Message::new(50, 2, Json::NULL), None).await.is_err());
    assert_eq!(DEFAULT_SEND_TIMEOUT, Duration::from_secs(2));
    let nobody = Client::connect("mem://nobody").lazy().await.unwrap().protocol();
    assert!(!nobody.send(50, 1, &(), Status::OKAY, Duration::from_millis(1)).await, "its time is over");
}

async fn receiving() {
    let (_server, _client, near, far) = pair().await;
    for number in [1, 2] {
        assert!(near.send(50, 1, &number, Status::OKAY, PATIENCE).await);
    }
    for number in [1, 2] {
        assert_eq!(far.receive(50, 1, PATIENCE).await.unwrap().data::<u32>().unwrap(), number);
    }
    assert!(far.receive(50, 1, Duration::from_millis(1)).await.is_none());
    assert_eq!(DEFAULT_RECEIVE_TIMEOUT, Duration::from_secs(1));
}

async fn names(entry: &str) {
    let (_server, _client, near, _far) = pair().await;
    near.add_data(10, 2, "setpoint");
    near.add_data([20, 30], DataId::new(3), "reset");
    near.add_named_service(42, 43, "ask", "tell").unwrap();
    let named = async |service_id: u32, data_id: u32| {
        // The server does not know service 42, and so does not answer.
        let call = near.peer().call::<_, u8>(service_id, data_id, &()).timeout(Duration::from_millis(100));
        call.await.unwrap_err().to_string()
    };
    let (call, expected) = match entry {
        "add_data" => (named(10, 2).await, "read data request (10) of setpoint (data 2)"),
        "add_data.service_id" => (named(30, 3).await, "execute request (30) of reset (data 3)"),
        "add_data.data_id" => (named(20, 3).await, "write data request (20) of reset (data 3)"),
        "add_data.name" => (named(20, 2).await, "write data request (20) of data 2"),
        _ => (named(42, 1).await, "ask (42) of data 1"),
    };
    assert!(call.starts_with(expected), "{call}");
}

async fn statuses() {
    let (_server, _client, near, far) = pair().await;
    let stuck = Status::new(7).unwrap();
    near.add_status(stuck, "valve stuck");
    assert!(near.send(50, 1, &(), stuck, PATIENCE).await);
    assert_eq!(far.receive(50, 1, PATIENCE).await.unwrap().status().to_string(), "status 7");
    assert!(Status::new(1 << 24).is_none());
}

async fn whitelist() {
    let server = Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).start().await.unwrap();
    server.register_callback(None, None, |_| Ok(Json::encode(&5)?)).unwrap();
    let stranger = Client::connect(server.address()).await.unwrap();
    let refused = stranger.read::<u8>(3).await.unwrap_err();
    assert_eq!(refused.fault().unwrap().status(), Status::AUTHENTICATION_REQUIRED);
    server.add_msg_to_auth_whitelist(10, 3);
    assert_eq!(stranger.read::<u8>(3).await.unwrap(), 5);
    assert!(stranger.read::<u8>(4).await.is_err());
}

async fn own_service() {
    let (server, _client, near, _far) = pair().await;
    near.add_service(40, 41).unwrap();
    server.add_service(40, 41).unwrap();
    server.register_callback(Some(40.into()), Some(1.into()), |_| Ok(Json::encode(&3)?)).unwrap();
    assert_eq!(ask(&near, 40, 1).await.data::<u32>().unwrap(), 3);
    assert_eq!(near.peer().call::<_, u32>(40, 1, &()).await.unwrap(), 3);
}

async fn callbacks() {
    let (server, _client, near, _far) = pair().await;
    let says = |text: &'static str| move |_: &Message| Ok(Json::encode(text)?);
    server.register_callback(Some(10.into()), Some(1.into()), says("first")).unwrap();
    server.register_callback(Some(10.into()), Some(1.into()), says("second")).unwrap();
    server.register_callback(None, None, says("all")).unwrap();
    assert_eq!(ask(&near, 10, 1).await.json(), &json("second"));
    assert_eq!(ask(&near, 30, 9).await.json(), &json("all"));
    assert!(server.unregister_callback(None, None));
    assert_eq!(ask(&near, 30, 9).await.status(), Status::BUFFERING_UNHANDLED_REQUEST);
}

async fn priorities() {
    let (server, _client, near, _far) = pair().await;
    let keys =
        [(None, None), (None, Some(1.into())), (Some(10.into()), None), (Some(10.into()), Some(1.into()))];
    for (priority, (service_id, data_id)) in keys.into_iter().enumerate() {
        let closure = move |_: &Message| Ok(Json::encode(&priority)?);
        server.register_callback(service_id, data_id, closure).unwrap();
        assert_eq!(ask(&near, 10, 1).await.data::<usize>().unwrap(), priority);
    }
    for (service_id, data_id, priority) in [(10, 1, 3), (10, 9, 2), (30, 1, 1), (30, 9, 0)] {
        assert_eq!(ask(&near, service_id, data_id).await.data::<usize>().unwrap(), priority);
    }
}

async fn arguments() {
    let (server, _client, near, _far) = pair().await;
    let (factor, calls) = (2.0, Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&calls);
    server
        .register_callback(None, None, move |message| {
            count.fetch_add(1, Ordering::SeqCst);
            assert_eq!((message.service_id(), message.data_id()), (ServiceId::WRITE_REQUEST, 2.into()));
            Ok(Json::encode(&(message.data::<f64>()? * factor))?)
        })
        .unwrap();
    assert!(near.send(20, 2, &4.5, Status::OKAY, PATIENCE).await);
    assert_eq!(near.receive(21, 2, PATIENCE).await.unwrap().data::<f64>().unwrap(), 9.0);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

async fn returned() {
    let (server, _client, near, _far) = pair().await;
    server
        .register_callback(Some(10.into()), None, |message| match message.data_id().value() {
            1 => Ok(Json::encode(&21.5)?),
            _ => Err(Fault::custom(7, "valve stuck")),
        })
        .unwrap();
    let (right, wrong) = (ask(&near, 10, 1).await, ask(&near, 10, 2).await);
    assert_eq!((right.status(), right.data::<f64>().unwrap()), (Status::OKAY, 21.5));
    assert_eq!(wrong.status().value(), 7);
    assert_eq!(wrong.json().as_str(), r#"{"error":"valve stuck"}"#);
}

async fn responds_alone() {
    let (server, _client, near, _far) = pair().await;
    let (teller, mut told) = mpsc::unbounded_channel();
    server
        .register_callback(None, None, move |message| {
            teller.send(message.service_id().value()).unwrap();
            Ok(Json::NULL)
        })
        .unwrap();
    assert!(near.send(50, 1, &(), Status::OKAY, PATIENCE).await);
    assert_eq!(told.recv().await, Some(50));
    assert_eq!(ask(&near, 10, 77).await.data_id(), 77.into(), "with the same data id");
    assert!(near.receive(51, 1, Duration::ZERO).await.is_none(), "no registered service");
}

/// The format of what a client sends first, and that a listener takes it.
async fn frames(options: &str, first: u8) {
    let server = Server::bind("tcp://127.0.0.1:0").start().await.unwrap();
    server.register_callback(Some(10.into()), None, |_| Ok(Json::encode(&5)?)).unwrap();
    let client = Client::connect(format!("{}{options}", server.address())).await.unwrap();
    assert_eq!(ask(&client.protocol(), 10, 1).await.data::<u32>().unwrap(), 5);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}{options}", listener.local_addr().unwrap());
    let _client = Client::connect(address).await.unwrap();
    let (mut line, _) = listener.accept().await.unwrap();
    let mut begin = [0; 3];
    tokio::io::AsyncReadExt::read_exact(&mut line, &mut begin).await.unwrap();
    assert_eq!(begin, [b':', b'<', first]);
}
