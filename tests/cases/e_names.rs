//! E: names of channels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{ClientBuilder, ConnectionEvent, Error};

use crate::support::{Echo, Raw, WIRES, Wire, block_on, start};
use crate::vault::{LEVELS, SECRET, client, vault};

const TCP: &str = "tcp://127.0.0.1:0";

// E10

/// One that is there and does not answer, as behind a cable that was pulled.
#[derive(Service)]
#[did(1, read = async fn silence(cx) -> u32)]
struct HalfOpen;

impl HalfOpen {
    async fn silence(_: Call<Self>) -> u32 {
        std::future::pending().await
    }
}

fn numbered(client: ClientBuilder, number: u32) -> ClientBuilder {
    client
        .channel_name("heizung")
        .register_callback(Some(ServiceId::READ_REQUEST), None, move |_| Ok(Json::encode(&number)?))
}

#[test]
fn e_10_several_clients_with_the_same_channel_name() {
    for level in LEVELS {
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        let (server, _) = vault(TCP, level, SECRET);
        let server = start(server.on_event(move |_, event| {
            let ended = matches!(event, ConnectionEvent::Disconnected { .. });
            count.fetch_add(usize::from(ended), Ordering::SeqCst);
        }));
        block_on(async {
            let connect = || client(server.address(), level, SECRET);
            let half_open = connect().channel_name("heizung").service(HalfOpen).await.unwrap();
            let mut clients = vec![half_open];
            for number in 0..3 {
                // The last of them is the one that comes back while its old connection is still there.
                clients.push(numbered(connect(), number).await.unwrap());
            }
            for _ in 0..3 {
                let peers = server.peers();
                assert_eq!(peers.len(), 4, "names are labels: nobody is put out");
                let mut answers = Vec::new();
                for peer in &peers {
                    assert_eq!(peer.channel_name().as_deref(), Some("heizung"));
                    answers.push(peer.read::<u32>(1).timeout(Duration::from_millis(500)).await);
                }
                let silent = answers.iter().filter(|answer| matches!(answer, Err(Error::TimedOut { .. })));
                assert_eq!(silent.count(), 1, "{answers:?}");
                let answered: BTreeSet<u32> = answers.into_iter().filter_map(Result::ok).collect();
                assert_eq!(answered, BTreeSet::from([0, 1, 2]), "{level}");
                for (number, client) in (0_u32..).zip(&clients) {
                    let own = client.call::<_, u32>(ServiceId::EXECUTE_REQUEST, 1, &number).await.unwrap();
                    assert_eq!(own, number, "answers go to the right connection");
                }
            }
            assert_eq!(lost.load(Ordering::SeqCst), 0);
        });
    }
}

// E11

#[test]
fn e_11_strange_channel_names() {
    let of_64 = format!("\"{}\"", "ü".repeat(64));
    let of_65 = format!("\"{}\"", "ü".repeat(65));
    let of_64_kib = format!("\"{}\"", "x".repeat(64 * 1024));
    let names = [
        (r#""a/b""#, true),
        (r#""two words""#, true),
        (r#"" ""#, true),
        (r#""🔥""#, true),
        (r#""a \"quoted\" name\\""#, true),
        (r#""\u2028 \u202e""#, true),
        (&of_64, true),
        (&of_65, false),
        (&of_64_kib, false),
        (r#""""#, false),
        (r#""x\nERROR fake line""#, false),
        (r#""\u001b[31mred""#, false),
        (r#""\u0000""#, false),
        (r#""\u0085""#, false),
        ("42", false),
        ("true", false),
        (r#"["attic"]"#, false),
        (r#"{"name":"attic"}"#, false),
    ];
    let mut echo = Echo::with(&["--channel", "kitchen"], "warn");
    for wire in WIRES {
        for (name, taken) in names {
            let mut raw = echo.connect(wire);
            let answer = raw.ask(8, 0, name);
            if taken {
                assert_eq!(answer, "9/0: null", "{name}");
            } else {
                assert!(
                    answer.starts_with(r#"9/0 status 2: {"error":"a channel name is text of 1 to 64"#),
                    "{answer}"
                );
            }
            raw.probe();
        }
        assert_eq!(echo.connect(wire).ask(8, 0, "null"), r#"9/0: "kitchen""#);
    }
    let log = echo.end_unasked();
    // Those that were taken, each with both names.
    assert_eq!(log.matches("differs and is taken over").count(), 14, "{log}");
    assert_eq!(log.matches("own=\"kitchen\"").count(), 14, "{log}");
    assert!(log.contains(r#"theirs="a \"quoted\" name\\""#), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR")) && !log.contains('\u{202e}'), "{log}");
}

#[test]
fn e_11_a_name_is_told_once_and_both_sides_have_it() {
    let name = |server: &Server| server.peers()[0].channel_name().as_deref().map(str::to_owned);
    for level in LEVELS {
        let (server, _) = vault(TCP, level, SECRET);
        let server = start(server.channel_name("kitchen"));
        block_on(async {
            let client = client(server.address(), level, SECRET).channel_name("küche / 🔥").await.unwrap();
            client.read::<()>(1).await.unwrap();
            assert_eq!(client.channel_name().as_deref(), Some("küche / 🔥"));
            assert_eq!(name(&server).as_deref(), Some("küche / 🔥"));
            client.close().await;
        });
    }
    let server = start(Server::bind(TCP));
    let mut raw = Raw::connect(server.address(), Wire::Length);
    assert!(raw.ask(8, 0, "42").starts_with("9/0 status 2: "));
    for (said, expected) in [(r#""first""#, "first"), (r#""second""#, "first"), ("null", "first")] {
        raw.ask(8, 0, said);
        assert_eq!(name(&server).as_deref(), Some(expected), "one exchange a connection");
    }
    for wrong in ["", "x\nERROR fake line", &"x".repeat(65)] {
        let error =
            block_on(Client::connect(server.address()).channel_name(wrong).into_future()).unwrap_err();
        assert!(matches!(error, Error::Config { setting: "channel_name", .. }), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
