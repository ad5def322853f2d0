//! The limits of `Limits`, each from both sides: what is just taken, and what is one too many.

use std::sync::Arc;
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Error, Limits, Message};
use tokio::sync::Semaphore;

use crate::support::{
    Raw, Teller, Told, encoded, framed, json, limits, read, repository, sized, teller, within,
};

/// Answers with texts of any length, and waits.
#[derive(Service, Client)]
#[did(1, read = fn ready() -> bool)]
#[did(2, execute = fn text(length: usize) -> String)]
#[did(3, execute = async fn wait(cx))]
#[did(4, execute = fn length(text: String) -> usize, public)]
struct Device {
    teller: Teller,
    gate: Arc<Semaphore>,
}

impl Device {
    fn ready(&mut self) -> bool {
        true
    }

    fn text(&mut self, length: usize) -> String {
        "x".repeat(length)
    }

    async fn wait(cx: Call<Self>) {
        let (_alarm, gate) = cx
            .actor(|this| {
                this.teller.tell("begun");
                (this.teller.on_drop("ended"), Arc::clone(&this.gate))
            })
            .await;
        gate.acquire().await.expect("nobody closes the gate").forget();
    }

    fn length(&mut self, text: String) -> usize {
        text.len()
    }
}

struct Setup {
    server: Server,
    told: Told,
    gate: Arc<Semaphore>,
}

async fn setup(address: &str, limits: Limits) -> Setup {
    setup_with(Server::bind(address).limits(limits)).await
}

async fn setup_with(builder: socketproto::ServerBuilder) -> Setup {
    let (teller, told) = teller();
    let gate = Arc::new(Semaphore::new(0));
    let server = builder.service(Device { teller, gate: Arc::clone(&gate) }).start().await.unwrap();
    Setup { server, told, gate }
}

const TCP: &str = "tcp://127.0.0.1:0";

fn execute<T: serde::Serialize + ?Sized>(data_id: u32, argument: &T) -> Message {
    Message::new(ServiceId::EXECUTE_REQUEST, data_id, json(argument))
}

async fn is_ready(client: &Client) -> bool {
    within(DeviceClient::new(client).ready()).await.unwrap()
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_the_others_stay() {
    for address in [TCP, "mem://"] {
        let Setup { server, .. } = &setup(address, limits(|limits| limits.max_connections = 2)).await;
        let first = within(Client::connect(server.address())).await.unwrap();
        let second = within(Client::connect(server.address())).await.unwrap();
        let error = within(Client::connect(server.address())).await.unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
        assert!(error.to_string().ends_with("ended before it was ready: closed by the peer"), "{error}");
        assert!(is_ready(&first).await && is_ready(&second).await);

        drop(first);
        // The place is free as soon as the server has seen the end.
        let third = within(async {
            loop {
                if let Ok(client) = Client::connect(server.address()).await {
                    return client;
                }
            }
        });
        let third = third.await;
        assert!(is_ready(&second).await && is_ready(&third).await);
        assert!(within(Client::connect(server.address())).await.is_err(), "there is one place, not more");
    }
}

#[tokio::test]
async fn a_frame_of_max_frame_is_taken_and_one_byte_more_closes() {
    let Setup { server, .. } = &setup(TCP, limits(|limits| limits.max_frame = 100_000)).await;
    let mut raw = Raw::connect(server.address()).await;
    let request = sized(ServiceId::EXECUTE_REQUEST, 4, 100_000);
    let answer = raw.ask(&request).await.expect("an answer");
    assert_eq!(answer.data::<usize>().unwrap(), request.json().as_str().len() - 2);
    assert!(raw.ask(&sized(ServiceId::EXECUTE_REQUEST, 4, 100_001)).await.is_none(), "closed in silence");
}

#[tokio::test]
async fn a_length_that_is_only_declared_closes_too() {
    let Setup { server, .. } = &setup(TCP, limits(|limits| limits.max_frame = 100_000)).await;
    let mut raw = Raw::connect(server.address()).await;
    raw.send_bytes(&100_001_u32.to_be_bytes()).await;
    raw.closed().await;
}

#[tokio::test]
async fn an_untrusted_frame_of_its_limit_is_taken_and_one_byte_more_closes() {
    let secret = Secret::from_text("a secret of more than 16 bytes").unwrap();
    let Setup { server, .. } = &setup_with(Server::bind(TCP).secret(secret.clone())).await;
    let mut raw = Raw::connect(server.address()).await;
    let answer = raw.ask(&sized(ServiceId::EXECUTE_REQUEST, 4, 4096)).await.expect("it is public");
    assert_eq!(answer.status(), Status::OKAY);
    assert!(raw.ask(&sized(ServiceId::EXECUTE_REQUEST, 4, 4097)).await.is_none(), "closed in silence");

    let client = within(Client::connect(server.address()).secret(secret)).await.unwrap();
    let length = within(DeviceClient::new(&client).length("x".repeat(100_000))).await.unwrap();
    assert_eq!(length, 100_000, "trust lifts the limit");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_closed_and_the_others_are_served() {
    let limits = limits(|limits| limits.write_timeout = Duration::from_millis(100));
    let Setup { server, told, .. } = &mut setup(TCP, limits).await;
    let mut slow = Raw::connect(server.address()).await;
    slow.send(&execute(3, &())).await;
    assert_eq!(within(told.next()).await, "begun");
    // More than the buffers of both sockets hold, and less than `max_unsent`.
    for _ in 0..11 {
        slow.send(&execute(2, &2_000_000)).await;
    }
    // What runs for a connection is cancelled with it.
    assert_eq!(within(told.next()).await, "ended");
    let client = within(Client::connect(server.address())).await.unwrap();
    assert!(is_ready(&client).await);
}

#[tokio::test]
async fn a_reply_that_does_not_fit_what_may_wait_is_status_2() {
    let Setup { server, .. } = &setup(TCP, limits(|limits| limits.max_unsent = 10_000)).await;
    let client = within(Client::connect(server.address())).await.unwrap();
    let device = DeviceClient::new(&client);
    let error = within(device.text(20_000)).await.unwrap_err();
    let fault = error.fault().expect("a fault");
    assert_eq!(fault.status(), Status::CALLBACK_ERROR);
    let (start, end) = ("response of 20", " exceeds the 10000 bytes free of max_unsent");
    assert!(fault.message().starts_with(start) && fault.message().ends_with(end), "{fault}");
    assert_eq!(within(device.text(9_000)).await.unwrap().len(), 9_000);
}

#[tokio::test]
async fn requests_are_set_aside_while_answers_have_yet_to_leave() {
    for (unsent_mark, set_aside) in [(1, true), (10_000_000, false)] {
        let Setup { server, .. } = &setup(TCP, limits(|limits| limits.unsent_mark = unsent_mark)).await;
        let mut raw = Raw::connect(server.address()).await;
        let request = framed(&encoded(&execute(2, &100_000)));
        raw.send_bytes(&request.repeat(5)).await;
        for _ in 0..5 {
            assert_eq!(raw.receive().await.expect("an answer").data::<String>().unwrap().len(), 100_000);
        }
        assert_eq!(server.limit_counts().get("unsent_mark") > Some(0), set_aside);
    }
}

#[tokio::test]
async fn protocol_errors_up_to_their_number_are_forgiven() {
    let Setup { server, .. } = &setup(TCP, limits(|limits| limits.protocol_errors = 3)).await;
    let mut spoilt = encoded(&read(1)).to_vec();
    spoilt[0] = b'!';
    // One write, so that no time passes in which a further error would be forgiven.
    for (errors, forgiven) in [(3, true), (4, false)] {
        let mut bytes = framed(&spoilt).repeat(errors);
        bytes.extend_from_slice(&framed(&encoded(&read(1))));
        let mut raw = Raw::connect(server.address()).await;
        raw.send_bytes(&bytes).await;
        assert_eq!(raw.receive().await.is_some(), forgiven, "after {errors} errors");
    }
}

#[tokio::test]
async fn requests_beyond_max_in_flight_wait_for_their_turn() {
    let Setup { server, told, gate } = &mut setup(TCP, limits(|limits| limits.max_in_flight = 2)).await;
    let mut raw = Raw::connect(server.address()).await;
    for _ in 0..5 {
        raw.send(&execute(3, &())).await;
    }
    raw.send(&execute(4, "x")).await;
    assert_eq!((within(told.next()).await, within(told.next()).await), ("begun", "begun"));
    for _ in 0..3 {
        gate.add_permits(1);
        assert_eq!(within(told.next()).await, "ended", "a third one runs while two do");
        assert_eq!(within(told.next()).await, "begun");
    }
    gate.add_permits(2);
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(raw.receive().await.expect("every request is answered").data_id().value());
    }
    answers.sort_unstable();
    assert_eq!(answers, [3, 3, 3, 3, 3, 4]);
}

#[tokio::test]
async fn a_client_holds_back_what_the_server_would_have_to_park() {
    let limits = limits(|limits| (limits.max_in_flight, limits.max_parked) = (2, 1));
    let Setup { server, told, gate } = &mut setup(TCP, limits).await;
    let client = within(Client::connect(server.address())).await.unwrap();
    let device = DeviceClient::new(&client);
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(device.wait())).collect();
    assert_eq!(within(told.next()).await, "begun");
    gate.add_permits(20);
    for call in calls {
        within(call).await.unwrap().expect("no request was parked, which would have closed the connection");
    }
}

#[tokio::test]
async fn who_lets_too_much_be_parked_is_closed() {
    let limits = limits(|limits| (limits.max_in_flight, limits.max_parked) = (1, 10_000));
    let Setup { server, told, .. } = &mut setup(TCP, limits).await;
    let mut raw = Raw::connect(server.address()).await;
    let hello = serde_json::json!({
        "session": "00112233445566aa", "features": [], "max_frame": 1 << 20, "max_in_flight": 256,
    });
    let hello = Message::new(ServiceId::HELLO_REQUEST, 0, json(&hello));
    raw.ask(&hello).await.expect("who says HELLO is told the window");
    raw.send(&execute(3, &())).await;
    assert_eq!(within(told.next()).await, "begun");
    for _ in 0..10 {
        raw.send(&execute(3, &())).await;
    }
    raw.closed().await;
    assert_eq!(within(told.next()).await, "ended");
}

#[tokio::test]
async fn limits_that_cannot_hold_are_refused_at_the_start() {
    for (limits, expected) in [
        (limits(|limits| limits.max_frame = 1 << 28), "limits.max_frame: 268435456 exceeds 268435455"),
        (limits(|limits| limits.max_frame = 511), "limits.max_frame: 511 is below 512"),
        (limits(|limits| limits.max_nesting = 128), "limits.max_nesting: 128 exceeds 127"),
        (limits(|limits| limits.max_nesting = 2), "limits.max_nesting: 2 is below 3"),
        (limits(|limits| limits.accept_backoff = Duration::ZERO), "limits.accept_backoff: 0 would try"),
        (limits(|limits| limits.max_in_flight = 0), "limits.max_in_flight: 0 would let no request run"),
    ] {
        let error = within(Server::bind(TCP).limits(limits.clone()).start()).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = within(Client::connect("mem://nobody").limits(limits)).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

/// The settings and their defaults, as the derived `Debug` of [`Limits`] writes them.
fn defaults() -> Vec<(String, String)> {
    let shown = format!("{:?}", Limits::default());
    let fields = shown.strip_prefix("Limits { ").and_then(|rest| rest.strip_suffix(" }")).expect("a struct");
    let field = |field: &str| {
        let (name, value) = field.split_once(": ").expect("a field");
        (name.to_owned(), value.to_owned())
    };
    fields.split(", ").map(field).collect()
}

/// The ways in which a page may write a number or a time.
fn written(value: &str) -> Vec<String> {
    let unit = value.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: usize = value.strip_suffix(unit).and_then(|digits| digits.parse().ok()).expect("a number");
    if !unit.is_empty() {
        return vec![format!("{number} {unit}")];
    }
    let mut ways = vec![match number {
        ..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }];
    for (bytes, unit) in [(1024, "KiB"), (1024 * 1024, "MiB")] {
        if number.is_multiple_of(bytes) {
            ways.push(format!("{} {unit}", number / bytes));
        }
    }
    ways
}

#[tokio::test]
async fn the_page_of_the_protocol_has_every_setting_with_its_default_and_every_count() {
    let page = std::fs::read_to_string(repository().join("docs/protocol.md")).expect("the page");
    let section = page.split("## 8. Limits").nth(1).and_then(|rest| rest.split("### 8.1").next()).expect("8");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let defaults = defaults();
    assert_eq!(rows.len(), defaults.len(), "one row a setting");
    for (name, value) in &defaults {
        let row = rows.iter().find(|row| row[1] == format!("`{name}`")).unwrap_or_else(|| panic!("{name}"));
        let ways = written(value);
        let is_there = |way: &String| {
            row[2].strip_prefix(way).is_some_and(|rest| rest.is_empty() || rest.starts_with(" a second"))
        };
        assert!(ways.iter().any(is_there), "{name} is {value}, and the page says {}", row[2]);
    }
    let server = Server::bind("mem://").start().await.unwrap();
    for (name, times) in server.limit_counts().iter() {
        assert!(section.contains(&format!("`{name}`")), "{name} is counted, and the page does not say so");
        assert_eq!(times, 0);
    }
}
