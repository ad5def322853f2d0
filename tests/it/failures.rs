//! What goes wrong: in handlers, on the line, at the end. Whatever it is, its caller hears of it and the others go on.

use std::panic::{self, panic_any};
use std::sync::{Arc, Once};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use socketproto::prelude::*;
use socketproto::{Cause, Error, Limits, Message};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{
    Raw, Teller, Told, answer, disconnected, encoded, framed, json, limits, read, teller, within,
};

/// What panics in here says.
const ON_PURPOSE: &str = "on purpose";
/// A deadline that passes while the test waits, and leaves a busy machine the time for all other handlers.
const SOON: Duration = Duration::from_secs(1);
/// A wait that only a failure ends.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// A service with every trouble.
#[derive(Service, Client)]
#[did(1, read = fn alive() -> u32)]
#[did(2, execute = fn panics() -> u8)]
#[did(3, execute = async fn panics_later(yields: u32) -> u8)]
#[did(4, execute = async fn panics_in_a_step(cx) -> u8)]
#[did(5, execute = fn panics_with_a_bad_payload() -> u8)]
#[did(6, execute = async fn is_dropped_badly(forever: bool) -> u8)]
#[did(7, read = fn unwritable() -> Odd)]
#[did(8, read = fn panics_while_written() -> Odd)]
#[did(9, read = fn not_a_number() -> f64)]
#[did(10, execute = fn text(length: usize) -> String)]
#[did(11, execute = async fn never(cx) -> u8)]
#[did(12, execute = async fn gated(cx, number: u32) -> u32)]
#[did(13, execute = fn nested(depth: usize) -> Json)]
#[did(14, execute = async fn asks_back(cx) -> String)]
struct Trouble {
    asked: u32,
    teller: Teller,
    gate: Arc<Semaphore>,
}

impl Trouble {
    fn alive(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    fn panics(&mut self) -> u8 {
        panic!("{ON_PURPOSE}");
    }

    async fn panics_later(yields: u32) -> u8 {
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        panic!("{ON_PURPOSE}");
    }

    async fn panics_in_a_step(cx: Call<Self>) -> u8 {
        cx.actor(|_| panic!("{ON_PURPOSE}")).await
    }

    fn panics_with_a_bad_payload(&mut self) -> u8 {
        panic_any(PanicsOnDrop);
    }

    async fn is_dropped_badly(forever: bool) -> u8 {
        let _bad = PanicsOnDrop;
        if forever {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        0
    }

    fn unwritable(&mut self) -> Odd {
        Odd { panics: false }
    }

    fn panics_while_written(&mut self) -> Odd {
        Odd { panics: true }
    }

    fn not_a_number(&mut self) -> f64 {
        f64::NAN
    }

    fn text(&mut self, length: usize) -> String {
        "x".repeat(length)
    }

    /// Tells when it begins and when it is dropped.
    async fn never(cx: Call<Self>) -> u8 {
        let _alarm = cx
            .actor(|this| {
                this.teller.tell("begun");
                this.teller.on_drop("dropped")
            })
            .await;
        std::future::pending().await
    }

    /// Tells when it begins, and ends when the gate lets it.
    async fn gated(cx: Call<Self>, number: u32) -> u32 {
        Self::pass(&cx).await;
        number
    }

    async fn asks_back(cx: Call<Self>) -> Result<String, Error> {
        Self::pass(&cx).await;
        cx.peer().read(99).await
    }

    async fn pass(cx: &Call<Self>) {
        let gate = cx
            .actor(|this| {
                this.teller.tell("begun");
                Arc::clone(&this.gate)
            })
            .await;
        gate.acquire().await.expect("nobody closes the gate").forget();
    }

    fn nested(&mut self, depth: usize) -> Json {
        nested(depth)
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{ON_PURPOSE}");
        }
    }
}

/// Writes half of itself, and then fails.
#[derive(Debug, Deserialize)]
struct Odd {
    panics: bool,
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeSeq};

        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element("half")?;
        if self.panics {
            panic!("{ON_PURPOSE}");
        }
        Err(S::Error::custom("it has no form"))
    }
}

fn nested(depth: usize) -> Json {
    Json::from_text("[".repeat(depth) + &"]".repeat(depth)).expect("balanced brackets")
}

/// Panics on purpose are not printed, all others are.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let on_purpose = payload.is::<PanicsOnDrop>()
                || payload.downcast_ref::<String>().is_some_and(|text| text == ON_PURPOSE)
                || payload.downcast_ref::<&str>().is_some_and(|text| *text == ON_PURPOSE);
            if !on_purpose {
                print(info);
            }
        }));
    });
}

/// A server of trouble, a client of it, and what it tells.
struct Setup {
    server: Server,
    client: Client,
    trouble: TroubleClient,
    told: Told,
    gate: Arc<Semaphore>,
}

async fn setup(limits: Limits) -> Setup {
    quiet();
    let (teller, told) = teller();
    let gate = Arc::new(Semaphore::new(0));
    let service = Trouble { asked: 0, teller, gate: Arc::clone(&gate) };
    let server = Server::bind("tcp://127.0.0.1:0").limits(limits).service(service).start().await.unwrap();
    let client = Client::connect(server.address()).await.unwrap();
    let trouble = TroubleClient::new(&client);
    Setup { server, client, trouble, told, gate }
}

#[track_caller]
fn assert_fault<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: &str) {
    let error = outcome.unwrap_err();
    let fault = error.fault().unwrap_or_else(|| panic!("no fault: {error}"));
    assert_eq!((fault.status(), fault.message()), (Status::CALLBACK_ERROR, expected));
}

// Handlers

#[tokio::test]
async fn a_thousand_panics_leave_the_connection_and_the_handler_as_they_were() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    within(async {
        for _ in 0..1000 {
            assert_fault(trouble.panics().await, "handler panicked");
        }
        assert_eq!(trouble.alive().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_thousand_panics_of_async_methods_leave_the_connection_and_the_handler_as_they_were() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    within(async {
        for number in 0..1000 {
            assert_fault(trouble.panics_later(number % 3).await, "handler panicked");
        }
        assert_eq!(trouble.alive().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_panic_while_the_state_is_borrowed_leaves_it_usable() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    assert_fault(within(trouble.panics()).await, "handler panicked");
    assert_fault(within(trouble.panics_in_a_step()).await, "handler panicked");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn panics_of_calls_that_overlap_hit_no_other_call() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    let calls = (0..300).map(|number| {
        let trouble = trouble.clone();
        tokio::spawn(async move {
            match number % 3 {
                0 => assert_fault(trouble.panics().await, "handler panicked"),
                1 => assert_fault(trouble.panics_later(2).await, "handler panicked"),
                _ => assert_eq!(trouble.text(number).await.unwrap().len(), number),
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        within(call).await.unwrap();
    }
}

#[tokio::test]
async fn a_panic_payload_that_panics_when_dropped_is_contained() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    assert_fault(within(trouble.panics_with_a_bad_payload()).await, "handler panicked");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_future_that_panics_when_it_ends_is_contained() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    assert_fault(within(trouble.is_dropped_badly(false)).await, "handler panicked");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_future_that_panics_when_it_is_cancelled_is_contained() {
    let limits = limits(|limits| limits.handler_timeout = SOON);
    let Setup { server: _server, trouble, .. } = setup(limits).await;
    assert_fault(within(trouble.is_dropped_badly(true)).await, "handler timed out");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_service_that_panics_when_it_is_dropped_hurts_no_other() {
    #[derive(Service)]
    struct Bomb {
        #[did(1, read)]
        value: u8,
        _bomb: PanicsOnDrop,
    }

    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    let server = Server::bind("tcp://127.0.0.1:0").service(Bomb { value: 5, _bomb: PanicsOnDrop });
    let server = server.start().await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    assert_eq!(within(client.read::<u8>(1)).await.unwrap(), 5);
    within(server.shutdown()).await.unwrap();
    disconnected(&client).await;
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_reply_that_cannot_be_written_is_status_2_with_the_reason() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    let expected = "the reply cannot be written as JSON: it has no form";
    assert_fault(within(trouble.unwritable()).await, expected);
    assert_fault(within(trouble.panics_while_written()).await, "handler panicked");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1, "nothing is left of the half that was written");
}

#[tokio::test]
async fn failures_in_one_batch_leave_nothing_in_the_replies_of_their_neighbours() {
    let Setup { server, .. } = &setup(Limits::default()).await;
    let mut raw = Raw::connect(server.address()).await;
    let requests = [1, 7, 1, 8, 9, 1].map(|data_id| framed(&encoded(&read(data_id))));
    raw.send_bytes(&requests.concat()).await;
    let mut found = Vec::new();
    for _ in requests {
        let answer = raw.receive().await.expect("every request is answered");
        found.push((answer.data_id().value(), answer.status().value(), answer.json().to_string()));
    }
    let expected = [
        (1, 0, "1"),
        (7, 2, r#"{"error":"the reply cannot be written as JSON: it has no form"}"#),
        (1, 0, "2"),
        (8, 2, r#"{"error":"handler panicked"}"#),
        (9, 0, "null"),
        (1, 0, "3"),
    ];
    assert_eq!(found, expected.map(|(data_id, status, data)| (data_id, status, data.to_owned())));
}

#[tokio::test]
async fn a_float_that_is_no_number_is_an_error_of_decoding_at_its_caller() {
    let Setup { server: _server, trouble, client, .. } = setup(Limits::default()).await;
    let error = within(trouble.not_a_number()).await.unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");
    assert_eq!(within(client.read::<Option<f64>>(9)).await.unwrap(), None);
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

// Sizes

#[tokio::test]
async fn a_response_above_max_frame_is_status_2_with_both_sizes() {
    let Setup { server: _server, trouble, .. } = setup(limits(|limits| limits.max_frame = 1000)).await;
    // 70 bytes stand around the text, the checksum included.
    assert_fault(within(trouble.text(2000)).await, "response of 2070 bytes exceeds max_frame of 1000");
    assert_fault(within(trouble.text(931)).await, "response of 1001 bytes exceeds max_frame of 1000");
    assert_eq!(within(trouble.text(930)).await.unwrap().len(), 930);
}

#[tokio::test]
async fn a_response_above_what_the_client_takes_is_status_2_as_well() {
    let Setup { server, .. } = setup(Limits::default()).await;
    let builder = Client::connect(server.address()).limits(limits(|limits| limits.max_frame = 1000));
    let client = within(builder).await.unwrap();
    let trouble = TroubleClient::new(&client);
    assert_fault(within(trouble.text(2000)).await, "response of 2070 bytes exceeds max_frame of 1000");
    assert_eq!(within(trouble.text(900)).await.unwrap().len(), 900);
}

#[tokio::test]
async fn a_request_above_what_the_server_takes_is_not_sent() {
    let Setup { client, trouble, server, .. } = setup(limits(|limits| limits.max_frame = 1000)).await;
    let error = within(client.write(1, &"x".repeat(2000))).await.unwrap_err();
    assert!(matches!(error, Error::NotSendable { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Local);
    let expected = format!(
        "write data request (20) of data 1 at {}: not sent: request of 2069 bytes exceeds max_frame of 1000",
        server.address()
    );
    assert_eq!(error.to_string(), expected);
    let error = within(client.write(1, &"x".repeat(932))).await.unwrap_err();
    assert!(
        error.to_string().ends_with("not sent: request of 1001 bytes exceeds max_frame of 1000"),
        "{error}"
    );
    let error = within(client.write(1, &"x".repeat(931))).await.unwrap_err();
    assert_eq!(error.fault(), Some(&Fault::not_permitted("")), "it was sent, and is read-only: {error}");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn what_nests_too_deep_is_not_sent() {
    let Setup { server: _server, client, trouble, .. } = setup(Limits::default()).await;
    let error = within(client.call::<_, Json>(30, 13, &nested(127))).await.unwrap_err();
    assert!(matches!(error, Error::NotSendable { .. }), "{error}");
    assert!(
        error.to_string().ends_with("not sent: request cannot be sent: the data nest deeper than 126"),
        "{error}"
    );
    assert_eq!(within(trouble.nested(126)).await.unwrap(), nested(126));
    assert_fault(within(trouble.nested(127)).await, "response cannot be sent: the data nest deeper than 126");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn an_argument_that_cannot_be_written_is_an_error_of_encoding() {
    let Setup { server: _server, client, trouble, .. } = setup(Limits::default()).await;
    let error = within(client.write(1, &Odd { panics: false })).await.unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Local);
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

// Times

#[tokio::test]
async fn a_handler_that_takes_too_long_is_told_of_and_cancelled() {
    let limits = limits(|limits| limits.handler_timeout = SOON);
    let Setup { server: _server, trouble, mut told, .. } = setup(limits).await;
    assert_fault(within(trouble.never()).await, "handler timed out");
    assert_eq!(within(told.next()).await, "begun");
    assert_eq!(within(told.next()).await, "dropped");
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_its_answer_reaches_no_other() {
    let Setup { server: _server, trouble, mut told, gate, .. } = setup(Limits::default()).await;
    let timeout = Duration::from_millis(20);
    let error = within(trouble.gated(1).timeout(timeout)).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { timeout: of, .. } if of == timeout), "{error}");
    assert_eq!(error.cause(), Cause::Transport);
    assert!(error.to_string().contains("no answer within 20ms, outcome unknown"), "{error}");
    assert_eq!(within(told.next()).await, "begun");

    let second = tokio::spawn(trouble.gated(2));
    assert_eq!(within(told.next()).await, "begun");
    gate.add_permits(1); // the first, whose caller waits no more
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
    gate.add_permits(1);
    assert_eq!(within(second).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_time_without_end_can_be_waited() {
    let Setup { server: _server, trouble, .. } = setup(Limits::default()).await;
    assert_eq!(within(trouble.alive().timeout(Duration::MAX)).await.unwrap(), 1);
    let error = within(trouble.gated(1).timeout(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(within(trouble.alive()).await.unwrap(), 2);
}

#[tokio::test]
async fn limits_may_be_times_without_end() {
    let limits = limits(|limits| {
        limits.first_byte_timeout = Duration::MAX;
        limits.trust_timeout = Duration::MAX;
        limits.public_idle_timeout = Duration::MAX;
        limits.write_timeout = Duration::MAX;
        limits.handler_timeout = Duration::MAX;
    });
    let Setup { server, trouble, .. } = setup(limits.clone()).await;
    assert_eq!(within(trouble.alive()).await.unwrap(), 1);
    let client = within(Client::connect(server.address()).limits(limits)).await.unwrap();
    assert_eq!(within(TroubleClient::new(&client).alive()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_connection_to_the_others() {
    let Setup { server: _server, trouble, mut told, gate, .. } = setup(Limits::default()).await;
    let call = tokio::spawn(trouble.gated(1));
    assert_eq!(within(told.next()).await, "begun");
    call.abort();
    assert!(within(call).await.unwrap_err().is_cancelled());
    let second = tokio::spawn(trouble.gated(2));
    assert_eq!(within(told.next()).await, "begun");
    gate.add_permits(2);
    assert_eq!(within(second).await.unwrap().unwrap(), 2);
    drop(trouble.alive());
    assert_eq!(within(trouble.alive()).await.unwrap(), 1, "a call that was never polled was never sent");
}

#[tokio::test]
async fn a_call_that_is_over_before_its_turn_is_not_sent() {
    let limits = limits(|limits| limits.max_in_flight = 1);
    let Setup { server: _server, trouble, mut told, gate, .. } = setup(limits).await;
    let first = tokio::spawn(trouble.gated(1));
    assert_eq!(within(told.next()).await, "begun");
    let late = within(trouble.gated(2).timeout(Duration::ZERO)).await;
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    let mut dropped = Box::pin(trouble.gated(3));
    tokio::select! {
        biased;
        _ = &mut dropped => panic!("the first poll only leaves the call"),
        () = std::future::ready(()) => drop(dropped),
    }
    let last = tokio::spawn(trouble.gated(4));
    gate.add_permits(4);
    assert_eq!(within(first).await.unwrap().unwrap(), 1);
    assert_eq!(within(last).await.unwrap().unwrap(), 4);
    assert_eq!(gate.available_permits(), 2, "two calls were run");
}

// Ends

#[tokio::test]
async fn a_call_fails_at_once_when_the_server_goes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (client, mut server) =
        tokio::join!(async { Client::connect(&url).await.unwrap() }, Raw::accept(&listener));
    let call = tokio::spawn(client.read::<u8>(7).timeout(FOR_EVER));
    let request = server.receive_request().await.expect("the call is sent");
    assert_eq!(request.data_id(), 7.into());
    drop((server, listener));
    let error = within(call).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().contains("connection lost, outcome unknown: closed by the peer"), "{error}");
    disconnected(&client).await;
    within(client.close()).await;
    let error = within(client.read::<u8>(7)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "a call afterwards: {error}");
}

#[tokio::test]
async fn an_answer_above_what_the_client_takes_ends_the_connection_and_names_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Client::connect(format!("tcp://{}", listener.local_addr().unwrap()));
    let builder = builder.limits(limits(|limits| limits.max_frame = 1000));
    let (client, mut server) = tokio::join!(async { builder.await.unwrap() }, Raw::accept(&listener));
    let call = tokio::spawn(client.read::<String>(7).timeout(FOR_EVER));
    let request = server.receive_request().await.expect("the call is sent");
    server.send(&answer(&request, json(&"x".repeat(2000)))).await;
    let error = within(call).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().ends_with(" bytes exceeds max_frame of 1000"), "{error}");
    within(server.closed()).await;
}

#[tokio::test]
async fn a_line_that_echoes_is_told_from_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (connected, ()) = tokio::join!(async { within(Client::connect(&url)).await }, async {
        let (mut server, hello) = Raw::accept_in_silence(&listener).await;
        server.send(&answer(&hello, hello.json().clone())).await;
        server.closed().await;
    });
    let error = connected.unwrap_err();
    let expected = format!(
        "connection to {url} ended before it was ready: the line echoes: the peer's HELLO is our own"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    for address in ["tcp://127.0.0.1:0", "mem://"] {
        let server = Server::bind(address).start().await.unwrap();
        let error = within(Server::bind(server.address()).start()).await.unwrap_err();
        assert!(matches!(error, Error::Bind { .. }), "{error}");
        assert!(
            error.to_string().starts_with(&format!("cannot listen on {}: ", server.address())),
            "{error}"
        );
    }
}

#[tokio::test]
async fn closing_a_client_fails_the_calls_that_wait() {
    let Setup { server: _server, client, trouble, mut told, .. } = setup(Limits::default()).await;
    let call = tokio::spawn(trouble.never().timeout(FOR_EVER));
    assert_eq!(within(told.next()).await, "begun");
    within(client.close()).await;
    let error = within(call).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().ends_with("closed by this side"), "{error}");
    assert!(!client.is_connected());
    within(client.close()).await;
}

#[tokio::test]
async fn what_runs_for_a_peer_that_has_gone_is_cancelled() {
    let Setup { server, client, trouble, mut told, .. } = setup(Limits::default()).await;
    let call = tokio::spawn(trouble.never().timeout(FOR_EVER));
    assert_eq!(within(told.next()).await, "begun");
    within(client.close()).await;
    assert_eq!(within(told.next()).await, "dropped");
    assert!(within(call).await.unwrap().is_err());

    let other = within(Client::connect(server.address())).await.unwrap();
    assert_eq!(within(TroubleClient::new(&other).alive()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_shutdown_lets_what_runs_end_and_answers_it() {
    let Setup { server, mut told, gate, .. } = setup(Limits::default()).await;
    let client = Client::connect(server.address());
    let client = client.register_callback(None, None, |_| Ok(json("asked"))).into_future();
    let client = within(client).await.unwrap();
    let trouble = TroubleClient::new(&client);
    let call = tokio::spawn(trouble.gated(1).timeout(FOR_EVER));
    let asks_back = tokio::spawn(trouble.asks_back().timeout(FOR_EVER));
    assert_eq!((within(told.next()).await, within(told.next()).await), ("begun", "begun"));
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown().await }
    });
    // Once nobody is accepted any more the shutdown has begun.
    within(async { while Client::connect(server.address()).await.is_ok() {} }).await;
    assert!(!call.is_finished() && client.is_connected());
    gate.add_permits(2);
    assert_eq!(within(call).await.unwrap().unwrap(), 1);
    assert_eq!(within(asks_back).await.unwrap().unwrap(), "asked");
    within(shutdown).await.unwrap().unwrap();
    disconnected(&client).await;
}

#[tokio::test]
async fn a_handler_that_never_ends_does_not_hold_up_a_shutdown_for_ever() {
    let Setup { server, trouble, mut told, .. } = setup(Limits::default()).await;
    let call = tokio::spawn(trouble.never().timeout(FOR_EVER));
    assert_eq!(within(told.next()).await, "begun");
    within(server.shutdown()).await.unwrap();
    assert!(matches!(within(call).await.unwrap(), Err(Error::ConnectionLost { .. })));
    assert_eq!(within(told.next()).await, "dropped");
}

#[tokio::test]
async fn a_shutdown_returns_although_clients_are_connected() {
    for address in ["tcp://127.0.0.1:0", "mem://"] {
        let server = Server::bind(address).start().await.unwrap();
        let clients = [
            within(Client::connect(server.address())).await.unwrap(),
            within(Client::connect(server.address())).await.unwrap(),
        ];
        within(server.shutdown()).await.unwrap();
        for client in clients {
            disconnected(&client).await;
        }
        within(server.shutdown()).await.unwrap();
        within(server.closed()).await;
        let error = within(Client::connect(server.address())).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_is_closed_when_its_last_handle_is_dropped() {
    for address in ["tcp://127.0.0.1:0", "mem://"] {
        let server = Server::bind(address)
            .register_callback(None, None, |message| Ok(message.json().clone()))
            .start()
            .await
            .unwrap();
        let client = within(Client::connect(server.address())).await.unwrap();
        let clone = server.clone();
        drop(server);
        client.read::<()>(1).await.unwrap();
        drop(clone);
        disconnected(&client).await;
    }
}

#[tokio::test]
async fn a_connection_is_closed_when_its_last_handle_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (client, mut server) =
        tokio::join!(async { Client::connect(&url).await.unwrap() }, Raw::accept(&listener));
    let call = client.read::<u8>(7);
    let trouble = TroubleClient::new(&client);
    drop(client);

    let call = tokio::spawn(call);
    let request = server.receive_request().await.expect("a call keeps the connection");
    server.send(&answer(&request, json(&5))).await;
    assert_eq!(within(call).await.unwrap().unwrap(), 5);

    let call = tokio::spawn(trouble.alive());
    let request = server.receive_request().await.expect("a typed client keeps the connection");
    server.send(&answer(&request, json(&6))).await;
    assert_eq!(within(call).await.unwrap().unwrap(), 6);

    drop(trouble);
    within(server.closed()).await;
}

#[tokio::test]
async fn a_connect_that_is_dropped_halfway_leaves_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let connecting = tokio::spawn(async move { Client::connect(url).await.map(|_| ()) });
    let (mut server, _) = Raw::accept_in_silence(&listener).await;
    connecting.abort();
    let _ = within(connecting).await;
    server.answer_hello().await;
    within(server.closed()).await;
}

#[tokio::test]
async fn what_came_before_an_answer_is_seen_by_who_waited_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    for _ in 0..500 {
        let (client, mut server) =
            tokio::join!(async { Client::connect(&url).await.unwrap() }, Raw::accept(&listener));
        let call = client.read::<u8>(7);
        let seen = std::thread::spawn(move || {
            spin_on(call).expect("an answer");
            client.channel_name()
        });
        let request = server.receive_request().await.expect("the call is sent");
        let name = Message::new(ServiceId::CHANNEL_NAME_RESPONSE, 0, json("cellar"));
        let both = [name, answer(&request, json(&5))].map(|message| framed(&encoded(&message)));
        server.send_bytes(&both.concat()).await;
        let seen = tokio::task::spawn_blocking(|| seen.join().expect("no panic"));
        assert_eq!(within(seen).await.unwrap().as_deref(), Some("cellar"));
    }
}

/// Polls again and again, so that it sees the answer the moment it is there.
fn spin_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::hint::spin_loop();
    }
}
