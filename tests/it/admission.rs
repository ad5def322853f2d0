//! Who is refused at accept, what closes a peer that has yet to be trusted, and how it is counted.
//!
//! Loopback is exempt from what counts by address, so these servers say `penalize_loopback(true)`; all of 127.0.0.0/8 is
//! loopback, so one machine has many addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Limits, Message, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{Raw, json, limits, read, within};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Service, Client)]
struct Safe {
    #[did(1, read)]
    gold: u32,
}

fn secret() -> Secret {
    Secret::from_text(SECRET).expect("it is long enough")
}

fn bind(limits: Limits) -> ServerBuilder {
    // Guesses are keys here, which cost a guesser least.
    let server = Server::bind("tcp://127.0.0.1:0").secret(secret()).accept_legacy(true);
    server.limits(limits).penalize_loopback(true)
}

async fn start(builder: ServerBuilder) -> Server {
    builder.service(Safe { gold: 5 }).start().await.unwrap()
}

async fn owner(server: &Server) -> Client {
    within(Client::connect(server.address()).secret(secret())).await.unwrap()
}

/// Somebody of 127.0.0.`host`.
async fn stranger(server: &Server, host: u8) -> Raw {
    let place: SocketAddr = server.address().strip_prefix("tcp://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    Raw::of(within(socket.connect(place)).await.expect("the kernel accepts for the server"))
}

/// Whether somebody of 127.0.0.`host` gets an answer; else the connection is closed without one.
async fn is_admitted(server: &Server, host: u8) -> bool {
    let answer = stranger(server, host).await.ask(&read(1)).await;
    if let Some(answer) = &answer {
        assert_eq!(answer.status(), Status::AUTHENTICATION_REQUIRED);
    }
    answer.is_some()
}

/// Sends a wrong key; false once the server has closed.
async fn guess(stranger: &mut Raw) -> bool {
    if stranger.ask(&Message::new(ServiceId::AUTH_REQUEST, 0, Json::NULL)).await.is_none() {
        return false;
    }
    let key = Message::new(ServiceId::AUTH_REQUEST, 1, json(&"0".repeat(128)));
    let verdict = stranger.ask(&key).await.expect("a verdict, also before the end");
    assert!(!verdict.data::<bool>().unwrap());
    true
}

fn count(server: &Server, setting: &str) -> u64 {
    server.limit_counts().get(setting).unwrap_or_else(|| panic!("{setting} is no limit"))
}

#[tokio::test]
async fn who_guesses_is_closed_and_refused_and_its_neighbour_is_not() {
    for workers in [1, 2] {
        let limits = limits(|limits| limits.wrong_key_penalty = Duration::from_secs(60));
        let server = start(bind(limits).workers(workers)).await;
        let mut guesser = stranger(&server, 2).await;
        let mut guesses = 0;
        while guesses < 10 && guess(&mut guesser).await {
            guesses += 1;
        }
        assert_eq!(guesses, 3, "with the third wrong key the connection is closed");
        assert_eq!((count(&server, "wrong_keys"), count(&server, "enforced_penalty")), (3, 0));
        assert!(!is_admitted(&server, 2).await);
        assert!(!is_admitted(&server, 2).await);
        assert_eq!(count(&server, "enforced_penalty"), 2);
        assert!(is_admitted(&server, 3).await);
        assert_eq!(within(SafeClient::new(&owner(&server).await).gold()).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn below_15_s_who_shares_the_address_of_a_guesser_gets_in() {
    let server = start(bind(Limits::default())).await;
    let mut guesser = stranger(&server, 1).await;
    assert!(guess(&mut guesser).await && guess(&mut guesser).await);
    assert!(is_admitted(&server, 1).await);
    assert_eq!(within(SafeClient::new(&owner(&server).await).gold()).await.unwrap(), 5);
}

#[tokio::test]
async fn loopback_has_no_penalty_unless_that_is_said() {
    let limits = limits(|limits| limits.wrong_key_penalty = Duration::from_secs(60));
    let server = start(bind(limits).penalize_loopback(false)).await;
    for _ in 0..3 {
        let mut guesser = stranger(&server, 2).await;
        while guess(&mut guesser).await {}
    }
    assert!(is_admitted(&server, 2).await);
    assert_eq!((count(&server, "wrong_keys"), count(&server, "enforced_penalty")), (9, 0));
}

#[tokio::test]
async fn strangers_of_one_address_have_so_many_places_until_they_are_trusted() {
    for workers in [1, 2] {
        let limits = limits(|limits| limits.max_untrusted_per_address = 2);
        let server = start(bind(limits).workers(workers)).await;
        // Who is trusted takes no place.
        let owners = [owner(&server).await, owner(&server).await, owner(&server).await];
        let mut first = stranger(&server, 1).await;
        let mut second = stranger(&server, 1).await;
        assert!(first.ask(&read(1)).await.is_some() && second.ask(&read(1)).await.is_some());
        assert!(!is_admitted(&server, 1).await);
        assert_eq!(count(&server, "max_untrusted_per_address"), 1);
        assert!(is_admitted(&server, 2).await);
        drop(first);
        // The place is free as soon as the server has seen the end.
        within(async { while !is_admitted(&server, 1).await {} }).await;
        for owner in owners {
            assert_eq!(within(SafeClient::new(&owner).gold()).await.unwrap(), 5);
        }
    }
}

#[tokio::test]
async fn strangers_have_so_many_places_in_all() {
    let server = start(bind(limits(|limits| limits.max_untrusted = 2))).await;
    let owner = owner(&server).await;
    let mut strangers = [stranger(&server, 2).await, stranger(&server, 3).await];
    for stranger in &mut strangers {
        assert!(stranger.ask(&read(1)).await.is_some());
    }
    assert!(!is_admitted(&server, 4).await);
    assert_eq!(count(&server, "max_untrusted"), 1);
    assert_eq!(within(SafeClient::new(&owner).gold()).await.unwrap(), 5);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let server = Server::bind("tcp://127.0.0.1:0")
        .limits(limits(|limits| limits.max_connections_per_address = 2))
        .penalize_loopback(true);
    let server = start(server).await;
    let _held = [
        within(Client::connect(server.address())).await.unwrap(),
        within(Client::connect(server.address())).await.unwrap(),
    ];
    assert!(within(Client::connect(server.address())).await.is_err());
    assert_eq!(count(&server, "max_connections_per_address"), 1);
    assert!(stranger(&server, 2).await.ask(&read(1)).await.is_some());
}

#[tokio::test]
async fn too_many_frames_before_trust_close_the_connection() {
    let server =
        start(bind(limits(|limits| (limits.untrusted_frames, limits.untrusted_frame_rate) = (3, 0)))).await;
    let mut flood = stranger(&server, 1).await;
    for _ in 0..3 {
        assert!(flood.ask(&read(1)).await.is_some());
    }
    assert!(flood.ask(&read(1)).await.is_none());
    assert_eq!(count(&server, "untrusted_frames"), 1);
}

#[tokio::test]
async fn a_frame_that_does_not_end_closes_the_connection() {
    let server = start(Server::bind("tcp://127.0.0.1:0").websocket(true).limits(limits(|limits| {
        limits.frame_timeout = Duration::from_millis(20);
        // Some bytes are worth nothing.
        limits.min_frame_rate = usize::MAX;
    })))
    .await;
    let mut slow = Raw::connect(server.address()).await;
    slow.send_bytes(b"\0\0\0\x64half of it").await;
    slow.closed().await;
    assert_eq!(count(&server, "frame_timeout"), 1);

    // The same inside a WebSocket: a binary frame of 100 bytes, masked with zeros.
    let place = server.address().strip_prefix("tcp://").unwrap();
    let mut slow = within(TcpStream::connect(place)).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    within(slow.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(slow.read_u8()).await.unwrap());
    }
    within(slow.write_all(b"\x82\xe4\0\0\0\0half of it")).await.unwrap();
    let _ = within(slow.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    assert_eq!(count(&server, "frame_timeout"), 2);
}

#[tokio::test]
async fn a_client_counts_what_its_server_exceeds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let limits = limits(|limits| limits.max_frame = 1000);
    let connected = tokio::spawn(Client::connect(address).limits(limits).into_future());
    let mut server = Raw::accept(&listener).await;
    let client = within(connected).await.unwrap().unwrap();
    server.send_bytes(b"\0\0\0\x01x").await;
    server.send_bytes(&1001_u32.to_be_bytes()).await;
    server.closed().await;
    let counts = client.limit_counts();
    assert_eq!((counts.get("malformed"), counts.get("max_frame")), (Some(1), Some(1)));
}
