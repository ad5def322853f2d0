//! Who knows the secret, who does not, and who speaks something else altogether.

use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{AuthState, Cause, Error, Limits, Message};

use crate::support::{Raw, json, limits, read, within};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A deadline that passes while the test waits, and leaves a busy machine the time for what has to come before it.
const SOON: Duration = Duration::from_secs(2);

/// Gold for those who are trusted, the uptime for all.
#[derive(Service, Client)]
#[did(3, read = fn uptime() -> u64, public)]
#[did(4, execute = fn refuse(why: String), public)]
struct Safe {
    #[did(1, read, write)]
    gold: u32,
}

impl Safe {
    fn uptime(&mut self) -> u64 {
        7
    }

    fn refuse(&mut self, why: String) -> Result<(), Fault> {
        Err(Fault::custom(7, why))
    }
}

/// Nothing for those who are not trusted.
#[derive(Service, Client)]
#[did(2, execute = async fn greet(cx) -> String)]
struct Vault {
    #[did(1, read)]
    gold: u32,
}

impl Vault {
    async fn greet(cx: Call<Self>) -> Result<String, Error> {
        cx.peer().read(5).await
    }
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("it is not empty")
}

async fn safe(limits: Limits) -> Server {
    let server = Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).accept_legacy(true).limits(limits);
    server.service(Safe { gold: 5 }).start().await.unwrap()
}

async fn vault(limits: Limits) -> Server {
    let server = Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).limits(limits);
    server.service(Vault { gold: 5 }).start().await.unwrap()
}

async fn owner(server: &Server) -> Client {
    within(Client::connect(server.address()).secret(secret(SECRET))).await.unwrap()
}

#[track_caller]
fn assert_fault<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: &Fault) {
    let error = outcome.unwrap_err();
    assert_eq!(error.fault(), Some(expected), "{error}");
}

#[tokio::test]
async fn the_right_secret_opens_everything() {
    let server = safe(Limits::default()).await;
    let client = owner(&server).await;
    assert!(client.is_trusted());
    let safe = SafeClient::new(&client);
    within(safe.set_gold(6)).await.unwrap();
    assert_eq!(within(safe.gold()).await.unwrap(), 6);
    within(client.close()).await;
    assert_eq!(client.auth_state(), AuthState::Untrusted, "trust ends with the connection");
}

#[tokio::test]
async fn a_wrong_secret_fails_the_connect_and_names_the_address() {
    let server = safe(Limits::default()).await;
    let connected = within(Client::connect(server.address()).secret(secret("another passphrase"))).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Peer);
    let expected =
        format!("no secure connection to {}: the server does not take this secret", server.address());
    assert!(error.to_string().starts_with(&expected), "{error}");

    let old = Client::connect(server.address()).old_peer().ignore_sentinel(true).allow_weak_secret(true);
    let error = within(old.secret(secret("another secret"))).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed { .. }), "{error}");
    let expected = format!("authentication at {} failed: the secret is wrong", server.address());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_secret_that_the_server_does_not_have_fails_the_connect() {
    let server = Server::bind("tcp://127.0.0.1:0").service(Safe { gold: 5 }).start().await.unwrap();
    let connected = within(Client::connect(server.address()).secret(secret(SECRET))).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
    let old = Client::connect(server.address()).old_peer().secret(secret(SECRET));
    let error = within(old).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed { .. }), "{error}");
    assert!(error.to_string().ends_with("the server has no secret, or does not take this kind of login"));
}

#[tokio::test]
async fn without_the_secret_there_are_public_data_alone() {
    let server = safe(Limits::default()).await;
    let client = within(Client::connect(server.address())).await.unwrap();
    assert_eq!(client.auth_state(), AuthState::Untrusted);
    let safe = SafeClient::new(&client);
    assert_eq!(within(safe.uptime()).await.unwrap(), 7);
    let refused = Fault::authentication_required("");
    assert_fault(within(safe.gold()).await, &refused);
    assert_fault(within(safe.set_gold(0)).await, &refused);
    assert_fault(within(client.read::<u8>(999)).await, &refused);
    assert_fault(within(client.write(3, &1)).await, &refused);
    assert_eq!(within(SafeClient::new(&owner(&server).await).gold()).await.unwrap(), 5, "untouched");
}

#[tokio::test]
async fn the_text_of_a_fault_is_for_trusted_peers_alone() {
    let server = safe(Limits::default()).await;
    let stranger = within(Client::connect(server.address())).await.unwrap();
    let safe = SafeClient::new(&stranger);
    assert_fault(within(safe.refuse("hidden".into())).await, &Fault::custom(7, ""));
    assert_fault(within(stranger.execute::<_, ()>(4, &5)).await, &Fault::callback_error(""));
    let client = owner(&server).await;
    let safe = SafeClient::new(&client);
    assert_fault(within(safe.refuse("shown".into())).await, &Fault::custom(7, "shown"));
}

#[tokio::test]
async fn a_callback_is_public_once_it_is_on_the_whitelist() {
    let server = Server::bind("tcp://127.0.0.1:0")
        .secret(secret(SECRET))
        .register_callback(Some(ServiceId::READ_REQUEST), None, |message| {
            Ok(json(&message.data_id().value()))
        })
        .add_msg_to_auth_whitelist(ServiceId::READ_REQUEST, 7)
        .start()
        .await
        .unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    assert_eq!(within(client.read::<u32>(7)).await.unwrap(), 7);
    assert_fault(within(client.read::<u32>(8)).await, &Fault::authentication_required(""));
}

#[tokio::test]
async fn a_trusted_client_is_called_back() {
    let server = vault(Limits::default()).await;
    let client = Client::connect(server.address()).secret(secret(SECRET)).register_callback(
        Some(ServiceId::READ_REQUEST),
        Some(5.into()),
        |_| Ok(json("hello")),
    );
    let client = within(client).await.unwrap();
    assert_eq!(within(VaultClient::new(&client).greet()).await.unwrap(), "hello");
}

#[tokio::test]
async fn the_memory_transport_asks_for_the_secret_too() {
    let server = Server::bind("mem://").secret(secret(SECRET)).service(Vault { gold: 5 });
    let server = within(server.start()).await.unwrap();
    let stranger = within(Client::connect(server.address())).await.unwrap();
    assert_fault(within(stranger.read::<u32>(1)).await, &Fault::authentication_required(""));
    assert_eq!(within(VaultClient::new(&owner(&server).await).gold()).await.unwrap(), 5);
}

// Deadlines

#[tokio::test]
async fn who_does_not_log_in_is_closed_and_who_did_stays() {
    let server = vault(limits(|limits| limits.trust_timeout = SOON)).await;
    let client = owner(&server).await;
    let mut stranger = Raw::connect(server.address()).await;
    let refused = stranger.ask(&read(1)).await.expect("an answer before the deadline");
    assert_eq!(refused.status(), Status::AUTHENTICATION_REQUIRED);
    stranger.closed().await;
    // The stranger came later, so the client's own deadline has passed as well.
    assert_eq!(within(VaultClient::new(&client).gold()).await.unwrap(), 5);
}

#[tokio::test]
async fn a_login_that_was_begun_has_to_end_although_there_are_public_data() {
    let server = safe(limits(|limits| limits.trust_timeout = SOON)).await;
    let mut stranger = Raw::connect(server.address()).await;
    let seed = stranger.ask(&Message::new(ServiceId::AUTH_REQUEST, 0, Json::NULL)).await;
    assert_eq!(seed.expect("a seed").data::<String>().unwrap().len(), 64);
    stranger.closed().await;
}

#[tokio::test]
async fn who_reads_no_public_data_for_too_long_is_closed() {
    let server = safe(limits(|limits| limits.public_idle_timeout = SOON)).await;
    let mut stranger = Raw::connect(server.address()).await;
    assert_eq!(stranger.ask(&read(3)).await.expect("an answer").data::<u64>().unwrap(), 7);
    stranger.closed().await;
}

#[tokio::test]
async fn who_says_nothing_is_closed_and_who_spoke_stays() {
    let server = Server::bind("tcp://127.0.0.1:0")
        .service(Vault { gold: 5 })
        .limits(limits(|limits| limits.first_byte_timeout = SOON))
        .start()
        .await
        .unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let mut silent = Raw::connect(server.address()).await;
    assert!(silent.receive().await.is_none(), "nothing is said to who says nothing");
    assert_eq!(within(VaultClient::new(&client).gold()).await.unwrap(), 5);
}

// Junk

/// The same bytes in every run, none of them chosen.
fn noise(first: u8, length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes = vec![first];
    bytes.extend((1..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    }));
    bytes
}

#[tokio::test]
async fn what_speaks_something_else_is_closed_and_disturbs_nobody() {
    for server in [
        safe(Limits::default()).await,
        Server::bind("tcp://127.0.0.1:0").service(Safe { gold: 5 }).start().await.unwrap(),
    ] {
        let client = within(Client::connect(server.address())).await.unwrap();
        let junk = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"{\"data_id\":1,\"service_id\":10}".to_vec(),
            vec![0; 4 * 64], // empty frames
            vec![0x0F, 0xFF, 0xFF, 0xFF],
            vec![0xFF; 100_000],
            noise(0x80, 100_000),
        ];
        for bytes in junk {
            let mut raw = Raw::connect(server.address()).await;
            raw.send_bytes(&bytes).await;
            assert!(raw.receive().await.is_none(), "{} is answered", bytes[..4].escape_ascii());
            assert_eq!(within(SafeClient::new(&client).uptime()).await.unwrap(), 7);
        }
        for first in [b':', 0] {
            let mut raw = Raw::connect(server.address()).await;
            raw.send_bytes(&noise(first, 100_000)).await;
            assert_eq!(within(SafeClient::new(&client).uptime()).await.unwrap(), 7);
        }
    }
}
