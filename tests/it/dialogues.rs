//! Random dialogues with the model of the protocol in `tests/python/model.py`, which is a second implementation: both
//! roles, both formats, half of them as towards an old peer.
//!
//! `SOCKETPROTO_DIALOGUES=SEED:COUNT` plays others, or more of them.

use std::time::Duration;

use crate::support::{Ended, python, run_for};

/// Dialogues of each test.
const COUNT: u32 = 2500;
/// More than one takes where all tests run at once; a dialogue that hangs ends by itself, long before.
const LONGEST: Duration = Duration::from_millis(200);

async fn play(role: &str, format: &str) {
    let chosen = std::env::var("SOCKETPROTO_DIALOGUES").ok();
    let (seed, count) = match chosen.as_deref() {
        None => ("0", COUNT),
        Some(chosen) => chosen
            .split_once(':')
            .and_then(|(seed, count)| Some((seed, count.parse().ok()?)))
            .expect("SOCKETPROTO_DIALOGUES=SEED:COUNT"),
    };
    let mut dialogues = python("dialogues.py");
    dialogues.args(["--program", env!("CARGO_BIN_EXE_dialogue"), "--role", role, "--format", format]);
    dialogues.args(["--seed", seed, "--count", &count.to_string()]);
    let Ended { code, stdout, stderr } = run_for(LONGEST * count.max(COUNT), dialogues).await;
    assert!(code == Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains(&format!("{count} passed, 0 failed\n")), "{stdout}\n{stderr}");
}

#[tokio::test]
async fn a_server_says_in_json_what_the_model_says() {
    play("server", "json").await;
}

#[tokio::test]
async fn a_server_says_in_struct_frames_what_the_model_says() {
    play("server", "struct").await;
}

#[tokio::test]
async fn a_client_says_in_json_what_the_model_says() {
    play("client", "json").await;
}

#[tokio::test]
async fn a_client_says_in_struct_frames_what_the_model_says() {
    play("client", "struct").await;
}
