//! E: what logs and debug output show of secrets.

use std::process::Command;
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Backoff, ClientTls, Level, ServerTls};

use crate::made::{Authority, Made, trusting};
use crate::program::{self, PART, part};
use crate::support::block_on;
use crate::vault::{LEVELS, Wiretap, client, guarded, secret};

const E_09: &str = "e_log::e_09_secrets_in_the_log";

const CANARY: &str = "S3CR3T-canary-7f";
/// The one that is wrong.
const WRONG: &str = "S3CR3T-canary-8g";

/// Keys of old peers: all texts of 128 hex digits.
fn keys(heard: &[u8]) -> Vec<String> {
    let texts = heard.split(|byte| !byte.is_ascii_hexdigit()).filter(|text| text.len() == 128);
    texts.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything that can happen to a login, in this level, with everything in the log that there is.
async fn live(level: Level, made: &Made, authority: &Authority) -> Vec<String> {
    let tls: ServerTls = made.server_tls();
    let trust: ClientTls = trusting(authority);
    let builder = guarded(Server::bind("tcp://127.0.0.1:0"), level, secret(CANARY))
        .allow_weak_secret(true)
        .tls(tls.clone());
    eprintln!("{builder:?} {tls:?} {trust:?} {:?} {:#?}", secret(CANARY), secret(CANARY));
    let server = builder.register_callback(None, None, |message| match message.data_id().value() {
        1 => panic!("on purpose"),
        _ => Ok(message.json().clone()),
    });
    let server = server.on_event(|peer, event| eprintln!("{peer:?} {event:?}")).start().await.unwrap();
    let tap = Wiretap::before(server.address());
    let quick = Backoff::new(Duration::ZERO, Duration::from_millis(10));
    let right = client(&tap.address, level, CANARY).allow_weak_secret(true).backoff(quick);
    eprintln!("{right:?}");
    let right = right.await.unwrap();
    right.read::<()>(2).await.unwrap();
    eprintln!("{:?}", right.read::<()>(1).await.unwrap_err());
    right.protocol().reconnect();
    right.read::<()>(2).await.unwrap();
    tap.cut();
    let _ = right.read::<()>(2).await;
    right.read::<()>(2).await.unwrap();
    let wrong = client(&tap.address, level, WRONG).allow_weak_secret(true).await.unwrap_err();
    eprintln!("{wrong} {wrong:?} {right:?} {server:?}");
    let inside = tap.address.replace("tcp://", "tls://");
    let inside = client(&inside, level, CANARY).allow_weak_secret(true).tls(trust).await.unwrap();
    inside.read::<()>(2).await.unwrap();
    let error = client(server.address(), level, "weak").await.unwrap_err();
    eprintln!("{error} {error:?}");
    inside.close().await;
    right.close().await;
    server.shutdown().await.unwrap();
    tap.all().iter().flat_map(|[said, _]| keys(said)).collect()
}

fn play() {
    program::log();
    let authority = Authority::new("authority");
    let made = authority.server(["localhost"]);
    println!("hidden: {}", made.key.lines().nth(1).expect("the body of a key"));
    for level in LEVELS {
        for key in block_on(live(level, &made, &authority)) {
            println!("hidden: {key}");
        }
    }
    println!("all is told");
}

#[test]
fn e_09_secrets_in_the_log() {
    if part().is_some() {
        return play();
    }
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", E_09, "--nocapture"]).env(PART, "all of it").env("RUST_LOG", "trace");
    let ended = program.output().unwrap();
    let (told, log) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success() && told.contains("all is told"), "{log}");
    let mut hidden: Vec<&str> =
        told.lines().filter_map(|line| line.split_once("hidden: ")).map(|(_, text)| text).collect();
    // The key of TLS; in Legacy three logins that were right and one that was wrong.
    assert_eq!(hidden.len(), 5, "{told}");
    let digits = [hex(CANARY), hex(WRONG)];
    hidden.extend([CANARY, WRONG, "S3CR3T"]);
    hidden.extend(digits.iter().map(String::as_str));
    for text in hidden {
        assert!(!log.contains(text), "the log shows {text}");
    }
    for text in ["TRACE", "received", "secure mode", "on purpose", "Secret(..)"] {
        assert!(log.contains(text), "the log says nothing of `{text}`:\n{log}");
    }
}
