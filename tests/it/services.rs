//! Declared services from end to end: what a typed client asks, what a handler sees, what comes back. Everything here
//! runs over TCP and in memory alike.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use socketproto::prelude::*;
use socketproto::{Cause, Error, ServerBuilder};
use tokio::sync::Notify;

use crate::support::{disconnected, json, within};

const LEVEL: DataId = DataId::new(2);

/// How a step is taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Plan {
    steps: Vec<u32>,
    label: Option<String>,
}

/// A workshop: a method of each kind.
#[derive(Service, Client)]
#[service(name = "workshop")]
#[did(3, read = fn count() -> u64)]
#[did(3, write = fn set_count(value: u64))]
#[did(4, execute = fn join(left: String, right: String, times: u32) -> String)]
#[did(5, execute = fn divide(dividend: i64, divisor: i64) -> i64)]
#[did(6, execute = fn clear())]
#[did(7, execute = fn plan(plan: Plan) -> Plan)]
#[did(8, execute = async fn wait(cx) -> u64)]
#[did(9, execute = async fn halve(value: i64) -> i64)]
#[did(10, execute = fn who(cx, note: String) -> (u32, u32, String, String, u32))]
#[did(11, execute = fn fails_with_text() -> u8)]
#[did(12, read = fn nothing() -> Option<u8>)]
#[did(13, execute = fn maybe(value: Option<u8>) -> bool)]
#[did(14, execute = async fn show(cx, text: String) -> String)]
#[did(15, read = fn channel(cx) -> Option<String>)]
struct Workshop {
    /// What the workshop is called.
    #[did(1, read)]
    title: String,
    /// How full the tank is, in percent.
    #[did(LEVEL, read, write = set_level)]
    level: f64,
    #[did(20, read, write)]
    tags: Vec<String>,
    count: u64,
    gate: Arc<Notify>,
    begun: Arc<Notify>,
}

impl Workshop {
    fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            level: 50.0,
            tags: Vec::new(),
            count: 0,
            gate: Arc::default(),
            begun: Arc::default(),
        }
    }

    fn set_level(&mut self, level: f64) -> Result<(), Fault> {
        if !(0.0..=100.0).contains(&level) {
            return Err(Fault::not_permitted(format!("{level} % is outside 0 to 100 %")));
        }
        self.level = level;
        Ok(())
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn set_count(&mut self, value: u64) {
        self.count = value;
    }

    fn join(&mut self, left: String, right: String, times: u32) -> String {
        (0..times).map(|_| format!("{left}{right}")).collect()
    }

    fn divide(&mut self, dividend: i64, divisor: i64) -> Result<i64, Fault> {
        dividend.checked_div(divisor).ok_or_else(|| Fault::custom(4711, "the divisor is zero"))
    }

    fn clear(&mut self) {
        self.count = 0;
        self.tags.clear();
    }

    fn plan(&mut self, mut plan: Plan) -> Plan {
        plan.steps.reverse();
        plan
    }

    async fn wait(cx: Call<Self>) -> u64 {
        let gate = cx
            .actor(|this| {
                this.begun.notify_one();
                Arc::clone(&this.gate)
            })
            .await;
        gate.notified().await;
        cx.actor(|this| this.count).await
    }

    async fn halve(value: i64) -> Result<i64, String> {
        if value % 2 == 0 { Ok(value / 2) } else { Err(format!("{value} is odd")) }
    }

    fn who(&mut self, cx: Call<Self>, note: String) -> (u32, u32, String, String, u32) {
        let name = format!("{}/{note}", cx.name());
        let peer = cx.peer().address().to_owned();
        (cx.service_id().value(), cx.data_id().value(), name, peer, cx.status().value())
    }

    fn fails_with_text(&mut self) -> Result<u8, &'static str> {
        Err("no oil")
    }

    fn nothing(&mut self) -> Option<u8> {
        None
    }

    fn maybe(&mut self, value: Option<u8>) -> bool {
        value.is_some()
    }

    fn channel(&mut self, cx: Call<Self>) -> Option<String> {
        cx.peer().channel_name().map(|name| name.to_string())
    }

    /// Writes to the peer that asks, and reads what became of it.
    async fn show(cx: Call<Self>, text: String) -> Result<String, Error> {
        let display = DisplayClient::new(cx.peer());
        display.set_text(text).await?;
        display.text().await
    }
}

/// What a client serves to its server.
#[derive(Service, Client)]
struct Display {
    #[did(1, read, write = set_text)]
    text: String,
}

impl Display {
    fn set_text(&mut self, text: String) -> Result<(), Fault> {
        if text.is_empty() {
            return Err(Fault::custom(99, "nothing to show"));
        }
        self.text = format!("* {text} *");
        Ok(())
    }
}

/// A server of one workshop, and a client of it.
async fn workshop(address: &str) -> (Server, Client, WorkshopClient) {
    start(Server::bind(address).service(Workshop::new("first"))).await
}

async fn start(builder: ServerBuilder) -> (Server, Client, WorkshopClient) {
    let server = builder.start().await.expect("a free address");
    let client = Client::connect(server.address()).await.expect("the server listens");
    let workshop = WorkshopClient::new(&client);
    (server, client, workshop)
}

#[track_caller]
fn fault(error: &Error) -> &Fault {
    error.fault().unwrap_or_else(|| panic!("no fault: {error}"))
}

async fn what_is_written_is_read_back(address: &str) {
    let (_server, _client, workshop) = workshop(address).await;
    assert_eq!(workshop.title().await.unwrap(), "first");
    workshop.set_level(12.5).await.unwrap();
    assert_eq!(workshop.level().await.unwrap(), 12.5);
    let tags = vec!["a:<b:>".to_owned(), "é – 温度 😀".to_owned(), String::new()];
    workshop.set_tags(tags.clone()).await.unwrap();
    assert_eq!(workshop.tags().await.unwrap(), tags);
    workshop.set_count(u64::MAX).await.unwrap();
    assert_eq!(workshop.count().await.unwrap(), u64::MAX);
}

async fn a_refusal_arrives_as_the_fault_the_handler_returned(address: &str) {
    let (server, _client, workshop) = workshop(address).await;
    let error = workshop.set_level(100.5).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::not_permitted("100.5 % is outside 0 to 100 %"));
    assert_eq!(error.cause(), Cause::Peer);
    assert_eq!(
        error.to_string(),
        format!(
            "write data request (20) of level (data 2) at {}: operation not permitted (6): \
             100.5 % is outside 0 to 100 %",
            server.address()
        )
    );
    assert_eq!(workshop.level().await.unwrap(), 50.0, "a refused write changes nothing");
}

async fn methods_return_a_value_or_a_result(address: &str) {
    let (_server, _client, workshop) = workshop(address).await;
    assert_eq!(workshop.divide(42, 5).await.unwrap(), 8);
    let error = workshop.divide(42, 0).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::custom(4711, "the divisor is zero"));
    let error = workshop.fails_with_text().await.unwrap_err();
    assert_eq!(fault(&error), &Fault::callback_error("no oil"));
    assert_eq!(workshop.halve(42).await.unwrap(), 21);
    let error = workshop.halve(7).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::callback_error("7 is odd"));
    let plan = Plan { steps: vec![1, 2, 3], label: None };
    assert_eq!(workshop.plan(plan).await.unwrap(), Plan { steps: vec![3, 2, 1], label: None });
}

async fn arguments_travel_as_null_as_themselves_and_as_a_list(address: &str) {
    let (_server, client, workshop) = workshop(address).await;
    assert_eq!(workshop.join("a".into(), "b".into(), 3).await.unwrap(), "ababab");
    assert_eq!(client.execute::<_, String>(4, &("x", "y", 2)).await.unwrap(), "xyxy");
    workshop.set_count(5).await.unwrap();
    workshop.clear().await.unwrap();
    assert_eq!(workshop.count().await.unwrap(), 0);
    client.execute::<_, ()>(6, &()).await.unwrap();
    assert_eq!(workshop.nothing().await.unwrap(), None);
    assert!(!workshop.maybe(None).await.unwrap());
    assert!(workshop.maybe(Some(0)).await.unwrap());

    let error = client.execute::<_, String>(4, &("x", "y")).await.unwrap_err();
    assert_eq!(fault(&error).status(), Status::CALLBACK_ERROR);
    assert!(fault(&error).message().contains("length 2"), "{error}");
    let error = client.write(LEVEL, "much").await.unwrap_err();
    assert!(fault(&error).message().contains("expected f64"), "{error}");
}

async fn an_answer_of_another_type_is_an_error_of_decoding(address: &str) {
    let (server, client, workshop) = workshop(address).await;
    let error = client.read::<u8>(1).await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Peer);
    let expected = format!(
        "read data request (10) of data 1 at {}: the answer does not fit the expected type: ",
        server.address()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(workshop.title().await.unwrap(), "first", "the connection lives");
}

async fn what_is_not_declared_is_refused_by_its_kind(address: &str) {
    let (_server, client, _workshop) = workshop(address).await;
    let error = client.write(1, "new title").await.unwrap_err();
    assert_eq!(fault(&error), &Fault::not_permitted(""), "a write to a read-only datum");
    let error = client.read::<u8>(4).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::not_permitted(""), "a read of a command");
    let error = client.read::<u8>(999).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::unknown(""), "an unknown datum");
    let error = client.call::<_, ()>(50, 1, &()).await.unwrap_err();
    assert!(matches!(error, Error::UnknownService { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Local);
    assert!(error.to_string().contains(".add_service(50, ..)"), "{error}");
}

async fn a_type_is_served_twice_with_shifted_ids(address: &str) {
    let server = Server::bind(address)
        .service(Workshop::new("first"))
        .service_at(100, Workshop::new("second"))
        .start()
        .await
        .unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    let (first, second) = (WorkshopClient::new(&client), WorkshopClient::at(&client, 100));
    assert_eq!(first.title().await.unwrap(), "first");
    assert_eq!(second.title().await.unwrap(), "second");
    second.set_level(99.0).await.unwrap();
    assert_eq!((first.level().await.unwrap(), second.level().await.unwrap()), (50.0, 99.0));
    assert_eq!(client.read::<f64>(102).await.unwrap(), 99.0);
    let error = second.set_level(-1.0).await.unwrap_err();
    assert!(error.to_string().contains("of level (data 102)"), "{error}");
    assert_eq!(second.who("x".into()).await.unwrap().1, 110, "a handler sees the id as the peer sent it");
}

async fn two_services_share_a_server(address: &str) {
    #[derive(Service, Client)]
    struct Lamp {
        #[did(50, read, write)]
        on: bool,
    }
    let builder = Server::bind(address).service(Workshop::new("first")).service(Lamp { on: false });
    let (_server, client, workshop) = start(builder).await;
    let lamp = LampClient::new(&client);
    let (title, on) = tokio::join!(async { workshop.title().await }, async { lamp.on().await });
    assert_eq!((title.unwrap().as_str(), on.unwrap()), ("first", false));
    lamp.set_on(true).await.unwrap();
    assert!(lamp.on().await.unwrap());
}

async fn two_handlers_for_one_datum_are_an_error_that_names_both(address: &str) {
    let started = Server::bind(address)
        .service(Workshop::new("first"))
        .service(Display { text: String::new() })
        .start()
        .await;
    let error = started.unwrap_err();
    assert!(matches!(error, Error::DuplicateHandler { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "read data request (10) of data 1 is served twice: by workshop and by Display; \
         move one with `.service_at(SHIFT, ..)`"
    );
    let started = Server::bind(address)
        .register_callback(Some(10.into()), Some(1.into()), |_| Ok(Json::NULL))
        .service(Display { text: String::new() })
        .start()
        .await;
    let error = started.unwrap_err().to_string();
    assert!(error.contains("served twice: by Display and by a callback"), "{error}");
}

async fn callbacks_are_found_from_the_exact_to_the_general(address: &str) {
    let says = |text: &'static str| move |_: &socketproto::Message| Ok(json(text));
    let server = Server::bind(address)
        .register_callback(None, None, says("any, any"))
        .register_callback(None, Some(7.into()), says("any, 7"))
        .register_callback(Some(10.into()), None, says("10, any"))
        .register_callback(Some(10.into()), Some(7.into()), says("10, 7"))
        .register_callback(Some(30.into()), None, says("30, any"))
        .start()
        .await
        .unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    for (service_id, data_id, expected) in [
        (10, 7, "10, 7"),
        (10, 8, "10, any"),
        (30, 7, "30, any"), // the service goes before the datum
        (20, 7, "any, 7"),
        (20, 8, "any, any"),
    ] {
        let found: String = client.call(service_id, data_id, &()).await.unwrap();
        assert_eq!(found, expected, "({service_id}, {data_id})");
    }
}

async fn a_callback_sees_the_message_and_may_refuse_it(address: &str) {
    let mut calls = 0;
    let server = Server::bind(address)
        .register_callback(Some(ServiceId::EXECUTE_REQUEST), None, move |message| {
            calls += 1;
            let words: Vec<String> = message.data().map_err(|error| error.to_string())?;
            if words.is_empty() {
                return Err(Fault::custom(7, format!("call {calls} of {}", message.data_id())));
            }
            Ok(json(&(message.service_id().value(), message.data_id().value(), words)))
        })
        .start()
        .await
        .unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    let answer: (u32, u32, Vec<String>) = client.execute(6, &["a", "b"]).await.unwrap();
    assert_eq!(answer, (30, 6, vec!["a".to_owned(), "b".to_owned()]));
    let error = client.execute::<_, ()>(6, &[""; 0]).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::custom(7, "call 2 of data 6"));
}

async fn a_service_of_the_application_is_declared_on_both_sides(address: &str) {
    let server = Server::bind(address)
        .add_service(40, 41)
        .register_callback(Some(40.into()), Some(1.into()), |message| Ok(message.json().clone()))
        .start()
        .await
        .unwrap();
    let client = Client::connect(server.address()).add_service(40, 41).await.unwrap();
    assert_eq!(client.call::<_, Vec<u8>>(40, 1, &[1, 2]).await.unwrap(), [1, 2]);
    let error = client.call::<_, ()>(40, 2, &()).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::unknown(""));

    let started = Server::bind(address).add_service(41, 40).add_service(40, 42).start().await;
    assert!(matches!(started.unwrap_err(), Error::RequestSidExists { .. }));
    let started = Server::bind(address).add_service(40, 11).start().await;
    assert!(matches!(started.unwrap_err(), Error::ResponseSidExists { .. }));
    let started = Server::bind(address).add_service(0xFFFF_0005, 41).start().await;
    assert!(matches!(started.unwrap_err(), Error::ReservedSid { .. }));
}

async fn untyped_calls_carry_any_json(address: &str) {
    let mut server = Server::bind(address);
    for service_id in [ServiceId::READ_REQUEST, ServiceId::WRITE_REQUEST, ServiceId::EXECUTE_REQUEST] {
        server = server.register_callback(Some(service_id), None, |message| Ok(message.json().clone()));
    }
    let server = server.start().await.unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    client.read::<()>(u32::MAX).await.unwrap();
    client.write(0, &()).await.unwrap();
    let error = client.write(0, &1).await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "a write is answered with null: {error}");
    for text in [
        "123456789012345678901234567890.10",
        r#""\u0041\ud800""#,
        r#"{ "a" : 1, "a" : 2 }"#,
        &("[".repeat(126) + &"]".repeat(126)),
        &format!("\"{}\"", "x".repeat(1 << 20)),
    ] {
        let sent = Json::from_text(text).unwrap();
        let came: Json = client.call(30, 5, &sent).await.unwrap();
        assert_eq!(came.as_str(), text);
    }
}

async fn a_handler_sees_what_it_was_asked_and_by_whom(address: &str) {
    let (_server, _client, workshop) = workshop(address).await;
    let (service_id, data_id, name, peer, status) = workshop.who("hello".into()).await.unwrap();
    assert_eq!((service_id, data_id, name.as_str(), status), (30, 10, "who/hello", 0));
    let scheme = address.split_once("://").expect("a URL").0;
    assert!(peer.starts_with(&format!("{scheme}://")) && peer.len() > scheme.len() + 3, "{peer}");
}

async fn a_handler_may_call_the_peer_that_asks(address: &str) {
    let server = Server::bind(address).service(Workshop::new("first")).start().await.unwrap();
    let client = Client::connect(server.address()).service(Display { text: String::new() }).await.unwrap();
    let workshop = WorkshopClient::new(&client);
    assert_eq!(workshop.show("hello".into()).await.unwrap(), "* hello *");
    let error = workshop.show(String::new()).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::custom(99, "nothing to show"), "the fault of the peer is passed on");

    let shown = (0..200).map(|number| {
        let workshop = workshop.clone();
        tokio::spawn(async move { workshop.show(number.to_string()).await.map(|_| ()) })
    });
    for shown in shown.collect::<Vec<_>>() {
        shown.await.unwrap().unwrap();
    }
}

async fn a_client_without_the_service_refuses_a_call_back(address: &str) {
    let (_server, _client, workshop) = workshop(address).await;
    let error = workshop.show("hello".into()).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::unknown(""));
}

async fn every_framing_and_format_serves_alike(address: &str) {
    let server = Server::bind(address).service(Workshop::new("first")).start().await.unwrap();
    for options in ["", "?format=struct", "?peer=old", "?peer=old&format=struct"] {
        let display = Display { text: String::new() };
        let client = Client::connect(format!("{}{options}", server.address())).service(display);
        let workshop = WorkshopClient::new(&client.await.unwrap());
        let calls: Vec<_> = (0..50).map(|number| tokio::spawn(workshop.halve(number))).collect();
        for (number, call) in (0..).zip(calls) {
            match call.await.unwrap() {
                Ok(half) => assert_eq!(half * 2, number, "{options}"),
                Err(error) => assert_eq!(fault(&error).message(), format!("{number} is odd"), "{options}"),
            }
        }
        let text = ":<é:> \0".to_owned();
        assert_eq!(workshop.show(text.clone()).await.unwrap(), format!("* {text} *"), "{options}");
    }
}

async fn a_listener_of_one_framing_takes_no_other(address: &str) {
    for (framing, taken) in [("length", ""), ("stp", "?peer=old")] {
        let server = Server::bind(format!("{address}?framing={framing}")).service(Workshop::new("first"));
        let server = server.start().await.unwrap();
        let client = Client::connect(format!("{}{taken}", server.address())).await.unwrap();
        assert_eq!(WorkshopClient::new(&client).title().await.unwrap(), "first");
    }
    let server = Server::bind(format!("{address}?framing=length")).start().await.unwrap();
    // An old peer waits for nothing before it is ready; its `:<` is a length above the limit.
    let client = Client::connect(server.address()).old_peer().await.unwrap();
    disconnected(&client).await;
}

async fn a_client_connects_again_to_a_server_that_came_back(address: &str) {
    let (server, client, workshop) = workshop(address).await;
    assert_eq!(workshop.title().await.unwrap(), "first");
    server.shutdown().await.unwrap();
    disconnected(&client).await;
    let server = Server::bind(server.address()).service(Workshop::new("second")).start().await.unwrap();
    assert_eq!(workshop.title().await.unwrap(), "second", "a call waits until the line is there again");
    client.close().await;
    server.shutdown().await.unwrap();
}

async fn many_clients_are_served_at_once(address: &str) {
    let server = Server::bind(address).service(Workshop::new("first")).start().await.unwrap();
    let clients: Vec<_> = (0..150)
        .map(|number| {
            let address = server.address().to_owned();
            tokio::spawn(async move {
                let client = Client::connect(address).await?;
                let half = WorkshopClient::new(&client).halve(2 * number).await?;
                assert_eq!(half, number);
                Ok::<_, Error>(client)
            })
        })
        .collect();
    let mut open = Vec::new();
    for client in clients {
        open.push(client.await.unwrap().unwrap());
    }
    for client in &open {
        assert_eq!(client.read::<String>(1).await.unwrap(), "first", "each is still connected");
    }
}

async fn more_calls_than_the_server_takes_at_once_wait_and_are_answered(address: &str) {
    let server = Server::bind(address).service(Workshop::new("first")).start().await.unwrap();
    for options in ["", "?peer=old"] {
        let client = Client::connect(format!("{}{options}", server.address())).await.unwrap();
        let workshop = WorkshopClient::new(&client);
        let calls: Vec<_> = (0..3000).map(|number| tokio::spawn(workshop.halve(2 * number))).collect();
        for (number, call) in (0..).zip(calls) {
            assert_eq!(call.await.unwrap().unwrap(), number, "{options}");
        }
    }
}

async fn the_name_of_the_channel_is_the_clients_or_else_the_servers(address: &str) {
    let server = Server::bind(address).channel_name("cellar").service(Workshop::new("first"));
    let server = server.start().await.unwrap();
    for (own, shared) in [(Some("attic"), "attic"), (None, "cellar")] {
        let mut client = Client::connect(server.address());
        if let Some(own) = own {
            client = client.channel_name(own);
        }
        let client = client.await.unwrap();
        assert_eq!(WorkshopClient::new(&client).channel().await.unwrap().as_deref(), Some(shared));
        assert_eq!(client.channel_name().as_deref(), Some(shared));
    }
    let started = Server::bind(address).channel_name("two\nlines").start().await;
    assert!(started.unwrap_err().to_string().starts_with("channel_name: \"two\\nlines\" is not text"));
}

async fn others_are_served_while_an_async_method_waits(address: &str) {
    let service = Workshop::new("first");
    let (gate, begun) = (Arc::clone(&service.gate), Arc::clone(&service.begun));
    let (_server, _client, workshop) = start(Server::bind(address).service(service)).await;
    let waiting = tokio::spawn({
        let workshop = workshop.clone();
        async move { workshop.wait().await }
    });
    begun.notified().await;
    workshop.set_count(77).await.unwrap();
    assert_eq!(workshop.title().await.unwrap(), "first");
    assert!(!waiting.is_finished());
    gate.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 77, "it steps back into the state as it is now");
}

/// Makes two tests of each dialogue. One that is not listed is dead code, and the compiler says so.
macro_rules! over_both {
    ($($dialogue:ident),* $(,)?) => {
        mod over_tcp {
            $(#[tokio::test]
            async fn $dialogue() {
                super::within(super::$dialogue("tcp://127.0.0.1:0")).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $dialogue() {
                super::within(super::$dialogue("mem://")).await;
            })*
        }
    };
}

over_both!(
    what_is_written_is_read_back,
    a_refusal_arrives_as_the_fault_the_handler_returned,
    methods_return_a_value_or_a_result,
    arguments_travel_as_null_as_themselves_and_as_a_list,
    an_answer_of_another_type_is_an_error_of_decoding,
    what_is_not_declared_is_refused_by_its_kind,
    a_type_is_served_twice_with_shifted_ids,
    two_services_share_a_server,
    two_handlers_for_one_datum_are_an_error_that_names_both,
    callbacks_are_found_from_the_exact_to_the_general,
    a_callback_sees_the_message_and_may_refuse_it,
    a_service_of_the_application_is_declared_on_both_sides,
    untyped_calls_carry_any_json,
    a_handler_sees_what_it_was_asked_and_by_whom,
    a_handler_may_call_the_peer_that_asks,
    a_client_without_the_service_refuses_a_call_back,
    every_framing_and_format_serves_alike,
    a_listener_of_one_framing_takes_no_other,
    a_client_connects_again_to_a_server_that_came_back,
    many_clients_are_served_at_once,
    more_calls_than_the_server_takes_at_once_wait_and_are_answered,
    the_name_of_the_channel_is_the_clients_or_else_the_servers,
    others_are_served_while_an_async_method_waits,
);

#[test]
fn the_table_of_a_service_says_what_was_declared() {
    let table = Workshop::SERVICE;
    assert_eq!((table.name(), table.description()), ("workshop", "A workshop: a method of each kind."));
    let level: Vec<_> = table.entries().iter().filter(|entry| entry.data_id() == LEVEL).collect();
    assert_eq!(level.len(), 2);
    assert!(level.iter().all(|entry| entry.name() == "level"));
    assert_eq!(level[0].description(), "How full the tank is, in percent.");
}
