//! Attacks with names: relay, replay, reflection (protocol.md 5.1, 5.2), and peers that begin with something else.

use std::collections::HashSet;

use sha2::{Digest, Sha512};
use socketproto::prelude::*;
use socketproto::{AuthState, Error, Level, Message};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::between::{Deed, FromClient, FromServer, Hook, Middle, Raw, Recording, pass};
use crate::desk::{DIGITS, DeskClient, Notes, client, framed, json, place, secret, serve, until, within};

/// What proves the secret to whoever gave the seed, as the Python library makes it.
fn key(seed: &str) -> String {
    hex::encode(Sha512::new().chain_update(seed).chain_update(DIGITS).finalize())
}

fn ask(data_id: u32, data: Json) -> Message {
    Message::new(ServiceId::AUTH_REQUEST, data_id, data)
}

async fn seed(raw: &mut Raw) -> String {
    let answer = raw.ask(&ask(0, Json::NULL)).await.expect("an answer");
    answer.data().expect("a seed")
}

/// What a peer in clear gets for telling something.
async fn tell(raw: &mut Raw, text: &str) -> Status {
    let request = Message::new(ServiceId::EXECUTE_REQUEST, 1, json(text));
    raw.ask(&request).await.expect("an answer").status()
}

async fn both() -> (Server, Notes) {
    let notes = Notes::default();
    let server = notes.server(Server::bind("tcp://127.0.0.1:0").secret(secret(DIGITS)).accept_legacy(true));
    (within(server.start()).await.expect("it listens"), notes)
}

/// A documented weakness of Legacy, which is why it is not the default: an old client answers the seed of anybody.
#[tokio::test]
async fn an_old_client_that_is_lured_lets_somebody_else_in_at_the_level_legacy() {
    let (server, notes) = both().await;
    let mut attacker = Raw::connect(server.address()).await;
    let seed_of_server = seed(&mut attacker).await;
    assert!(seed_of_server.ends_with("535076320044574e"), "{seed_of_server}");
    // The old client does not know what the end of the seed means.
    let lured = key(&seed_of_server);
    let verdict = attacker.ask(&ask(1, json(&lured))).await.expect("a verdict");
    assert_eq!(verdict.json().as_str(), "true");
    assert_eq!(tell(&mut attacker, "got in").await, Status::OKAY);
    assert_eq!(notes.all_heard(), ["got in"]);
    assert_eq!(server.peers()[0].level(), Some(Level::Legacy), "services can refuse it");
}

/// Lures a client, and gives it the seed of a server.
#[tokio::test]
async fn no_client_of_this_library_lets_somebody_else_in() {
    let (server, notes) = both().await;
    let seen = Recording::default();
    let recording = seen.clone();
    let middle = Middle::hooked(&server, move || recording.hook()).await;
    let lured = client(&middle.url).secret(secret(DIGITS)).level(Level::Legacy);
    let error = within(lured).await.expect_err("it refuses");
    assert!(matches!(error, Error::PeerCanDoSecure { .. }), "{error}");
    assert!(error.to_string().ends_with("connect without `Level::Legacy`"), "{error}");
    let sent = seen.of(FromClient).concat();
    assert!(!String::from_utf8_lossy(&sent).contains("\"data_id\":1,\"service_id\":0"), "no key");
    assert!(notes.all_heard().is_empty());
}

#[tokio::test]
async fn no_challenge_comes_twice_and_each_serves_once() {
    let (server, _) = both().await;
    let mut seeds = HashSet::new();
    for _ in 0..2 {
        let (again, _) = both().await;
        for server in [&server, &again] {
            for _ in 0..10 {
                let mut raw = Raw::connect(server.address()).await;
                for _ in 0..20 {
                    let seed = seed(&mut raw).await;
                    assert!(seed.len() == 64 && seed.ends_with("535076320044574e"), "{seed}");
                    assert!(seeds.insert(seed), "a seed came twice");
                }
            }
        }
    }
    let mut raw = Raw::connect(server.address()).await;
    let (old, new) = (seed(&mut raw).await, seed(&mut raw).await);
    let verdict = async |raw: &mut Raw, seed: &str| {
        raw.ask(&ask(1, json(&key(seed)))).await.expect("a verdict").json().as_str() == "true"
    };
    assert!(!verdict(&mut raw, &old).await, "a newer one has replaced it");
    assert!(!verdict(&mut raw, &new).await, "it is used up");
    let third = seed(&mut raw).await;
    assert!(verdict(&mut raw, &third).await);
    assert!(!verdict(&mut raw, &third).await, "and so is this");
}

/// E05: yesterday's recording opens nothing today.
#[tokio::test]
async fn a_recorded_session_is_refused_at_either_level() {
    for level in [Level::Secure, Level::Legacy] {
        let (server, notes) = both().await;
        let seen = Recording::default();
        let recording = seen.clone();
        let middle = Middle::hooked(&server, move || recording.hook()).await;
        let honest = client(&middle.url).secret(secret(DIGITS)).level(level).ignore_sentinel(true);
        let honest = within(honest).await.expect("it knows the secret");
        within(DeskClient::new(&honest).tell("once".into())).await.expect("it is told");
        within(honest.close()).await;
        until("the server has seen its end", || notes.ends().len() == 1).await;

        // Towards the server, all at once and as the client paced it.
        for pause in [false, true] {
            let mut raw = Raw::connect(server.address()).await;
            for (number, unit) in seen.of(FromClient).iter().enumerate() {
                if pause && number == 1 && level == Level::Secure {
                    raw.receive().await.expect("a recorded first message is answered");
                }
                raw.send(unit).await;
            }
            let _ = raw.0.shutdown().await;
            let said = String::from_utf8_lossy(&raw.rest().await).into_owned();
            assert!(!said.contains("\"data\":true"), "{level}: {said}");
            until("the server has seen its end", || notes.ends().len() == 2 + usize::from(pause)).await;
        }
        assert_eq!(notes.all_heard(), ["once"], "{level}");
        if level == Level::Secure {
            let expected = [
                "closed by the peer",
                "bytes behind the first message of a handshake",
                "a record does not open: it was changed on its way, or is none",
            ];
            assert_eq!(notes.ends(), expected);
        }

        // Towards the client.
        let recorded: Vec<Vec<u8>> = seen.of(FromServer);
        let imitated = Middle::new("tcp", move |mut line| {
            let bytes = recorded.concat();
            async move {
                let _ = line.write_all(&bytes).await;
                std::future::pending::<()>().await;
            }
        })
        .await;
        let mirrored = Notes::default();
        let lured = client(&imitated.url).secret(secret(DIGITS)).level(level).ignore_sentinel(true);
        let error = within(mirrored.client(lured)).await.expect_err("a recording is no server");
        assert!(!mirrored.events().contains(&"ready".to_owned()), "{level}: {error}");
    }
}

/// An endpoint that is both, with one secret: somebody gives its client what its own server says, and the other way round.
#[tokio::test]
async fn a_mirror_between_both_roles_of_one_program_gets_nothing_in_secure_mode() {
    let (server, notes) = both().await;
    // The first line it gets from the client is answered with the client's own messages.
    let echo = Middle::new("tcp", async |line: TcpStream| {
        let (mut from, mut to) = line.into_split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    let own = Notes::default();
    let error =
        within(own.client(client(&echo.url).secret(secret(DIGITS)))).await.expect_err("it hears itself");
    assert!(matches!(error, Error::PeerTooOld { .. }), "{error}");
    assert_eq!(own.events().len(), 2, "{:?}", own.events());

    // Its message 1 as message 2.
    let mirror: fn() -> Hook = || {
        Box::new(|side, number, unit| {
            if (side, number) != (FromClient, 0) {
                return Deed::Pass(unit);
            }
            let offer = crate::desk::message(&unit).expect("an offer");
            let offer: serde_json::Value = offer.data().expect("an offer");
            let accepted = serde_json::json!({ "suite": "NNpsk0-25519-CCP-SHA256", "m": offer["m"] });
            let message = Message::new(ServiceId::AUTH_RESPONSE, 2, json(&accepted));
            Deed::Answer(framed(&message))
        })
    };
    let reflected = Middle::hooked(&server, mirror).await;
    let error = within(client(&reflected.url).secret(secret(DIGITS))).await.expect_err("its own message");
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");

    // Whoever passes everything on connects the program with itself, and is a part of the network.
    let seen = Recording::default();
    let recording = seen.clone();
    let relay = Middle::hooked(&server, move || recording.hook()).await;
    let itself = within(client(&relay.url).secret(secret(DIGITS))).await.expect("it knows its own secret");
    assert_eq!(within(DeskClient::new(&itself).tell("to myself".into())).await.expect("told"), "secure");
    assert!(!seen.has("to myself"));
    assert_eq!(notes.all_heard(), ["to myself"]);

    // In Legacy its client refuses the seed of its server.
    let error = within(client(&relay.url).secret(secret(DIGITS)).level(Level::Legacy))
        .await
        .expect_err("a seed of ours");
    assert!(matches!(error, Error::PeerCanDoSecure { .. }), "{error}");
}

/// Where the server knows Legacy alone, nothing tells its seed from another's: both roles should not share a secret there.
#[tokio::test]
async fn a_mirror_gets_in_where_both_roles_know_legacy_alone() {
    let notes = Notes::default();
    let server =
        notes.server(Server::bind("tcp://127.0.0.1:0").legacy_secret(secret(DIGITS)).accept_legacy(true));
    let server = within(server.start()).await.expect("it listens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("tcp://{}", listener.local_addr().expect("a bound listener"));
    let lured = tokio::spawn(client(&url).secret(secret(DIGITS)).level(Level::Legacy).into_future());
    let mut attacker = Raw::connect(server.address()).await;
    let mut victim = Raw(within(listener.accept()).await.expect("the client comes").0);
    let key = loop {
        let request = victim.receive().await.expect("a request");
        match (request.service_id().value(), request.data_id().value()) {
            (0, 0) => {
                let seed = seed(&mut attacker).await;
                victim.send(&framed(&Message::new(ServiceId::AUTH_RESPONSE, 0, json(&seed)))).await;
            }
            (0, 1) => break request.json().clone(),
            _ => {}
        }
    };
    let verdict = attacker.ask(&ask(1, key)).await.expect("a verdict");
    assert_eq!(verdict.json().as_str(), "true");
    assert_eq!(server.peers()[0].level(), Some(Level::Legacy));
    lured.abort();
}

/// What a client could say before its handshake, or behind it, changes nothing and runs nothing.
#[tokio::test]
async fn a_handshake_comes_first_and_alone_on_real_lines_too() {
    let offer = {
        let seen = Recording::default();
        let recording = seen.clone();
        let (server, _) = serve("tcp://127.0.0.1:0").await;
        let middle = Middle::hooked(&server, move || recording.hook()).await;
        drop(within(client(&middle.url).secret(secret(DIGITS))).await.expect("a handshake"));
        seen.of(FromClient)[0].clone()
    };
    let request = framed(&Message::new(ServiceId::EXECUTE_REQUEST, 1, json("early")));
    let hello = framed(&Message::new(ServiceId::CHANNEL_NAME_REQUEST, 0, Json::NULL));
    for (bytes, reason) in [
        ([&offer[..], &request].concat(), "bytes behind the first message of a handshake"),
        ([&offer[..], b"\0"].concat(), "bytes behind the first message of a handshake"),
        ([&hello[..], &offer].concat(), "a handshake that is malformed, or does not come first"),
        ([&request[..], &offer].concat(), "a handshake that is malformed, or does not come first"),
        ([&offer[..4], b"\0\0"].concat(), "closed by the peer"),
    ] {
        let (server, notes) = serve("tcp://127.0.0.1:0").await;
        let mut raw = Raw::connect(server.address()).await;
        raw.send(&bytes).await;
        let _ = raw.0.shutdown().await;
        raw.rest().await;
        until("it ends", || !notes.ends().is_empty()).await;
        assert_eq!(notes.ends(), [reason]);
        assert!(notes.all_heard().is_empty() && !notes.events().contains(&"ready".to_owned()));
    }
}

/// A server that has spoken before it was asked, and one that asks in clear, learn nothing.
#[tokio::test]
async fn a_client_says_nothing_in_clear_to_who_speaks_first() {
    let hello = serde_json::json!({
        "session": "00112233445566aa", "features": [], "max_frame": 4096, "max_in_flight": 1,
    });
    let first = [
        Message::new(ServiceId::AUTH_RESPONSE, 2, Json::NULL),
        Message::new(ServiceId::HELLO_REQUEST, 0, json(&hello)),
        Message::new(ServiceId::EXECUTE_REQUEST, 1, json("listen")),
        Message::new(ServiceId::AUTH_REQUEST, 2, Json::NULL),
    ];
    let notes = Notes::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("tcp://{}", listener.local_addr().expect("a bound listener"));
    let peer = async {
        let mut raw = Raw(within(listener.accept()).await.expect("the client comes").0);
        for message in &first {
            raw.send(&framed(message)).await;
        }
        let offer = raw.receive().await.expect("its offer");
        assert!(crate::between::is_offer(&offer), "{offer:?}");
        // Its finished record cannot come, nor any other frame.
        let rest = raw.rest().await;
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    };
    let connect = within(notes.client(client(&url).secret(secret(DIGITS)).add_msg_to_auth_whitelist(30, 1)));
    let (error, ()) = tokio::join!(connect, peer);
    let error = error.expect_err("nobody has answered the handshake");
    assert!(matches!(error, Error::PeerTooOld { .. } | Error::WrongSecret { .. }), "{error}");
    assert!(notes.all_heard().is_empty());
}

/// The same line goes to a server that trusts certificates; see `settings.rs` for what that one says first.
#[tokio::test]
async fn a_peer_in_clear_is_gated_by_a_server_of_secure_mode() {
    let (server, notes) = serve("tcp://127.0.0.1:0").await;
    let mut raw = Raw::connect(server.address()).await;
    assert_eq!(tell(&mut raw, "in clear").await, Status::AUTHENTICATION_REQUIRED);
    assert_eq!(
        raw.ask(&ask(0, Json::NULL)).await.expect("an answer").status(),
        Status::OPERATION_NOT_PERMITTED
    );
    assert_eq!(
        raw.ask(&ask(1, json("ab"))).await.expect("an answer").status(),
        Status::OPERATION_NOT_PERMITTED
    );
    assert!(notes.all_heard().is_empty());
    assert_eq!(server.peers()[0].auth_state(), AuthState::Untrusted);
}

/// Keeps the helper of two lines in one place honest: what it passes on is what was sent.
#[tokio::test]
async fn a_middle_that_only_looks_changes_nothing() {
    let (server, notes) = serve("tcp://127.0.0.1:0").await;
    let seen = Recording::default();
    let (to, recording) = (place(server.address()).to_owned(), seen.clone());
    let middle = Middle::new("tcp", move |near| {
        let (to, hook) = (to.clone(), recording.hook());
        async move { pass(near, TcpStream::connect(&to).await.expect("the server listens"), hook).await }
    })
    .await;
    let honest = within(client(&middle.url).secret(secret(DIGITS))).await.expect("it knows the secret");
    assert_eq!(
        within(DeskClient::new(&honest).echo("x".repeat(200_000))).await.expect("an echo").len(),
        200_000
    );
    assert!(seen.of(FromClient).len() >= 6 && seen.of(FromServer).len() >= 6);
    assert_eq!(notes.all_heard().len(), 1);
}
