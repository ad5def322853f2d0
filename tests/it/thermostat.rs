//! One suite over every kind of line: the thermostat of the examples, its client, and what goes wrong.

use std::time::Duration;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::{AuthState, Backoff, ClientBuilder, Error, Json, ServerBuilder};
use socketproto_examples::thermostat::{Range, Reset, Thermostat, ThermostatClient};

#[cfg(target_os = "linux")]
use crate::cable::{Cable, Tty};
use crate::support::{has_ipv6, within};
use crate::tls::made::{localhost, trusting};

const SECRET: &str = "a secret of more than 16 bytes";

/// A kind of line: how a server listens on it, and how a client finds that server.
struct Way {
    /// Where the first server listens; later ones listen where it did.
    address: String,
    server: Box<dyn Fn(&str) -> ServerBuilder>,
    client: Box<dyn Fn(&str) -> ClientBuilder>,
}

impl Way {
    /// One whose address says it all.
    fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            server: Box::new(|address| Server::bind(address)),
            client: Box::new(|address| Client::connect(address)),
        }
    }

    async fn serve(&self, address: &str) -> Server {
        let builder = (self.server)(address).secret(secret(SECRET)).channel_name("living room");
        let builder = builder.service(Thermostat::new());
        let builder =
            builder.register_callback(Some(ServiceId::EXECUTE_REQUEST), Some(7.into()), |message| {
                Ok(message.json().clone())
            });
        within(builder.start()).await.unwrap_or_else(|error| panic!("{}: {error}", self.address))
    }

    fn client(&self, address: &str) -> ClientBuilder {
        let quick = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
        (self.client)(address).backoff(quick)
    }
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("long enough")
}

/// What the client of the suite serves to the thermostat.
#[derive(Service, Client)]
struct Display {
    #[did(1, read, write)]
    text: String,
}

/// All of it. Clients come one after the other, for some lines take no more than one.
async fn suite(way: Way) {
    let server = way.serve(&way.address).await;
    let address = server.address().to_owned();
    strangers(&way, &address).await;
    let client =
        within(way.client(&address).secret(secret(SECRET)).service(Display { text: "--".to_owned() }))
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!(client.auth_state(), AuthState::Trusted);
    assert_eq!(client.channel_name().as_deref(), Some("living room"));
    every_word(&client).await;
    both_ways(&server).await;
    sizes(&client).await;
    many_at_once(&client).await;
    let server = restart(&way, server, &client).await;
    within(client.close()).await;
    let error = ThermostatClient::new(&client).uptime().await.expect_err("it is closed");
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    within(server.shutdown()).await.expect("nothing is left");
    // The address is free.
    within(way.serve(&address).await.shutdown()).await.expect("nothing is left");
}

/// Those who know no secret, or a wrong one.
async fn strangers(way: &Way, address: &str) {
    let stranger = within(way.client(address)).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    let room = ThermostatClient::new(&stranger);
    within(room.uptime()).await.expect("public");
    let error = within(room.temperature()).await.expect_err("not public");
    assert!(
        matches!(&error, Error::Fault { fault, .. } if fault.status() == Status::AUTHENTICATION_REQUIRED),
        "{error}"
    );
    within(stranger.close()).await;
    let error = within(way.client(address).secret(secret("another secret of 16 bytes"))).await;
    let error = error.expect_err("the secret is wrong");
    assert!(matches!(error, Error::WrongSecret { .. }), "{address}: {error}");
}

/// Every word of the declaration.
async fn every_word(client: &Client) {
    let room = ThermostatClient::new(client);
    assert_eq!(within(room.temperature()).await.expect("a number"), 19.5);
    within(room.set_setpoint(22.5)).await.expect("allowed");
    assert_eq!(within(room.setpoint()).await.expect("a number"), 22.5);
    let error = within(room.set_setpoint(99.0)).await.expect_err("too warm");
    assert!(
        error.to_string().ends_with("operation not permitted (6): 99 °C is outside 5 to 30 °C"),
        "{error}"
    );
    let error = within(client.write(1, &20.0)).await.expect_err("read-only");
    assert!(
        matches!(&error, Error::Fault { fault, .. } if fault.status() == Status::OPERATION_NOT_PERMITTED)
    );
    assert_eq!(within(room.calibrate(19.5, 20.0)).await.expect("a number"), 20.0);
    assert_eq!(within(room.history(Range { last: 1 })).await.expect("points")[0].temperature, 20.0);
    within(room.reset(Reset { hard: true })).await.expect("done");
    let error = within(client.read::<f64>(77)).await.expect_err("undeclared");
    assert!(error.to_string().contains("a thermostat has no data 77 to read"), "{error}");
}

/// The server calls its client.
async fn both_ways(server: &Server) {
    let peer = server.peers().pop().expect("the client is there");
    let display = DisplayClient::new(&peer);
    within(display.set_text("22.5 °C".to_owned())).await.expect("stored");
    assert_eq!(within(display.text()).await.expect("a text"), "22.5 °C");
}

/// From nothing to a mebibyte, with whatever framing has to escape.
async fn sizes(client: &Client) {
    for length in [0, 1, 1000, 65_536, 1 << 20] {
        let text = ":<\u{1}é".chars().cycle().take(length).collect::<String>();
        let call = client.execute::<_, String>(7, &text).timeout(Duration::from_secs(60));
        assert_eq!(within(call).await.expect("an echo"), text, "{length} characters");
    }
}

async fn many_at_once(client: &Client) {
    let calls = (0..64_u32).map(|number| client.execute::<_, u32>(7, &number));
    let echoes = within(join_all(calls)).await;
    for (number, echo) in (0..).zip(echoes) {
        assert_eq!(echo.expect("an echo"), number);
    }
}

/// The server goes and comes back; the client finds it.
async fn restart(way: &Way, server: Server, client: &Client) -> Server {
    let address = server.address().to_owned();
    within(server.shutdown()).await.expect("nothing is left");
    drop(server);
    let room = ThermostatClient::new(client);
    let server = way.serve(&address).await;
    // What was on its way when the line went has failed; from then on calls wait for the next one.
    within(async {
        while let Err(error) = room.uptime().await {
            assert!(matches!(error, Error::ConnectionLost { .. } | Error::TimedOut { .. }), "{error}");
        }
    })
    .await;
    assert_eq!(client.auth_state(), AuthState::Trusted);
    assert_eq!(within(room.setpoint()).await.expect("a number"), 20.0);
    both_ways(&server).await;
    let _: Json = within(client.execute(7, &[1, 2])).await.expect("an echo");
    server
}

#[tokio::test]
async fn over_tcp() {
    suite(Way::of("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn over_tcp_with_stp() {
    let mut way = Way::of("tcp://127.0.0.1:0?framing=stp");
    way.client = Box::new(|address| Client::connect(format!("{address}?line=on")));
    suite(way).await;
}

#[tokio::test]
async fn within_the_process() {
    suite(Way::of("mem://")).await;
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    suite(Way::of(&format!("unix://{}", folder.path().join("room.sock").display()))).await;
}

#[tokio::test]
async fn over_websocket() {
    suite(Way::of("ws://127.0.0.1:0")).await;
    if has_ipv6() {
        suite(Way::of("ws://[::1]:0/rooms/living%20room?ping=1")).await;
    }
}

#[tokio::test]
async fn over_websocket_on_a_port_of_all() {
    let mut way = Way::of("tcp://127.0.0.1:0");
    way.server = Box::new(|address| Server::bind(address).websocket(true));
    way.client = Box::new(|address| Client::connect(address.replace("tcp://", "ws://")));
    suite(way).await;
}

/// The same listener by TLS, alone or beside others, and how its clients come.
fn by_tls(listen: &'static str, connect: &'static str, websocket: bool) -> Way {
    let (authority, ours) = localhost();
    let theirs = trusting(&authority);
    let mut way = Way::of(&format!("{listen}://127.0.0.1:0"));
    way.server = Box::new(move |address| Server::bind(address).tls(ours.clone()).websocket(websocket));
    way.client = Box::new(move |address| {
        let address = address.replace(&format!("{listen}://"), &format!("{connect}://"));
        let client = Client::connect(address);
        if matches!(connect, "tls" | "wss") { client.tls(theirs.clone()) } else { client }
    });
    way
}

#[tokio::test]
async fn over_tls() {
    suite(by_tls("tls", "tls", false)).await;
}

#[tokio::test]
async fn over_tls_on_a_port_of_all() {
    for connect in ["tls", "tcp"] {
        suite(by_tls("tcp", connect, false)).await;
    }
}

#[tokio::test]
async fn over_websocket_inside_tls() {
    for (listen, connect) in [("wss", "wss"), ("tls", "wss"), ("ws", "wss"), ("tcp", "wss"), ("ws", "ws")] {
        suite(by_tls(listen, connect, !listen.starts_with("ws"))).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn over_a_serial_line() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    let mut way = Way::of(&right.url());
    let far = left.url();
    way.client = Box::new(move |_| Client::connect(far.clone()));
    suite(way).await;
}
