//! E: secrets that are odd.

use std::process::Command;

use socketproto::Level;
use socketproto::prelude::*;

use crate::support::{block_on, example};
use crate::vault::{LEVELS, guarded, secret};

const TCP: &str = "tcp://127.0.0.1:0";

// E08

/// What may be a secret where weak ones are allowed.
const ODD: [&str; 6] =
    ["pässwörd😀", " ", "a secret with a blank at its end ", "\0", "ABCDEF0123456789ABCDEF0123456789", "x"];

/// Whether the client is served; the sentence where it does not even connect.
async fn served(level: Level, server: Option<&Secret>, client: Option<&Secret>) -> Result<bool, String> {
    let builder = match server {
        Some(secret) => guarded(Server::bind(TCP), level, secret.clone()).allow_weak_secret(true),
        None => Server::bind(TCP),
    };
    let server = builder.register_callback(None, None, |message| Ok(message.json().clone()));
    let server = server.start().await.map_err(|error| error.to_string())?;
    let mut builder = Client::connect(server.address());
    if let Some(secret) = client {
        builder = builder.secret(secret.clone()).level(level).allow_weak_secret(true);
    }
    let client = builder.await.map_err(|error| error.to_string())?;
    let outcome = client.read::<()>(1).await;
    let refused = outcome.as_ref().err().map(|error| error.fault().expect("an answer").status());
    assert!(refused.is_none_or(|status| status == Status::AUTHENTICATION_REQUIRED), "{outcome:?}");
    Ok(outcome.is_ok())
}

#[test]
fn e_08_odd_secrets() {
    let long = "long ".repeat(2048);
    let bytes = Secret::from_bytes((0..=255).collect::<Vec<u8>>()).unwrap();
    let mut secrets: Vec<Secret> = ODD.into_iter().chain([long.as_str()]).map(secret).collect();
    secrets.push(bytes);
    for level in LEVELS {
        for (index, ours) in secrets.iter().enumerate() {
            let name = format!("{level}, secret {index}");
            assert_eq!(block_on(served(level, Some(ours), Some(ours))), Ok(true), "{name}");
            let theirs = &secrets[(index + 1) % secrets.len()];
            let wrong = block_on(served(level, Some(ours), Some(theirs))).unwrap_err();
            assert!(wrong.contains("secret"), "{name}: {wrong}");
        }
        let some = &secrets[0];
        assert_eq!(block_on(served(level, Some(some), None)), Ok(false), "{level}");
        let lonely = block_on(served(level, None, Some(some))).unwrap_err();
        assert!(lonely.contains("secret"), "{level}: {lonely}");
    }
    assert_eq!(block_on(served(Level::Secure, None, None)), Ok(true));
    // A blank, a case, or how a letter is written, is another secret.
    for (ours, theirs) in [("x", "x "), ("pässwörd", "pa\u{308}ssword"), ("ABCDEF", "abcdef")] {
        for level in LEVELS {
            let (ours, theirs) = (secret(ours), secret(theirs));
            block_on(served(level, Some(&ours), Some(&theirs))).unwrap_err();
        }
    }
}

#[test]
fn e_08_an_empty_secret_is_not_none() {
    assert!(Secret::from_text("").unwrap_err().to_string().starts_with("secret: it is empty"));
    for text in ["secret of a file\n", "secret of a file\r\n"] {
        assert!(Secret::from_text(text).unwrap_err().to_string().contains("ends in a line break"));
    }
    for name in ["echo", "client"] {
        for (arguments, variable, expected) in [
            (&["--secret", ""][..], None, "secret: it is empty"),
            (&[], Some(""), "secret: the environment variable SOCKETPROTO_SECRET is empty"),
            (&["--secret-env", "NO_SUCH"], None, "secret: the environment variable NO_SUCH is not set"),
        ] {
            let mut command = Command::new(example(name));
            if name == "client" {
                command.arg("tcp://127.0.0.1:1");
            }
            command.args(arguments).env_remove("SOCKETPROTO_SECRET");
            command.envs(variable.map(|text| ("SOCKETPROTO_SECRET", text)));
            let ended = command.output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert!(ended.status.code() == Some(1) && said.starts_with(expected), "{name}: {said}");
        }
    }
}
