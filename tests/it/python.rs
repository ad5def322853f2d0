//! Dialogues with the Python peer, a second implementation of docs/protocol.md, in both directions.

use std::process::Stdio;

use crate::support::{Ended, Program, example, python_peer, python_with_packages, run};

const SECRET: &str = "a secret of more than 16 bytes, ключ";

/// Both framings with both formats.
const WAYS: [(&str, &str); 4] =
    [("length", "json"), ("length", "struct"), ("stp", "json"), ("stp", "struct")];

/// Runs the checks of the Python peer against an example and shows what failed.
async fn check(checks: &str, server: &str, secret: Option<&str>) {
    let mut command = example(server);
    if let Some(secret) = secret {
        command.args(["--secret", secret, "--security", "legacy", "--allow-weak-secret"]);
    }
    let server = Program::start(command).await;
    for (framing, format) in WAYS {
        let mut peer = python_peer();
        peer.args([checks, "--port", server.port(), "--framing", framing, "--format", format]);
        if let Some(secret) = secret {
            peer.args(["--secret", secret]);
        }
        let Ended { code, stdout, stderr } = run(peer).await;
        let failed: Vec<_> = stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert!(failed.is_empty(), "{checks} {framing} {format}:\n{}", failed.join("\n"));
        assert_eq!(code, Some(0), "{checks} {framing} {format}:\n{stderr}");
        let passed = stdout.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(passed > 15, "{checks} {framing} {format}: only {passed} checks ran:\n{stdout}");
    }
    server.signal("TERM").await;
    assert_eq!(server.end().await.code, Some(0), "the server outlives its peers and ends when told");
}

#[tokio::test]
async fn the_thermostat_passes_the_checks_of_the_python_peer() {
    check("check-thermostat", "thermostat", None).await;
}

#[tokio::test]
async fn the_thermostat_with_a_secret_passes_the_checks_of_the_python_peer() {
    check("check-thermostat", "thermostat", Some(SECRET)).await;
}

#[tokio::test]
async fn the_echo_passes_the_checks_of_the_python_peer() {
    check("check-echo", "echo", None).await;
}

#[tokio::test]
async fn the_echo_with_a_secret_passes_the_checks_of_the_python_peer() {
    check("check-echo", "echo", Some(SECRET)).await;
}

/// What the Python server got to see of the client.
struct Seen {
    hello: bool,
    message_ids: bool,
}

/// Runs the example client against the Python thermostat; gives what the server saw.
async fn dialogue(role: &[&str], options: &[&str], secret: Option<&str>) -> Seen {
    let mut command = python_peer();
    command.arg("serve-thermostat").args(role).stdin(Stdio::piped()).stderr(Stdio::piped());
    if let Some(secret) = secret {
        command.args(["--secret", secret]);
    }
    let server = Program::start(command).await;

    let mut client = example("client");
    let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    client.arg(format!("{}{options}", server.url)).args(["--setpoint", "22.5", "--channel", "attic"]);
    if let Some(secret) = secret {
        client.args(["--secret", secret, "--security", "legacy", "--allow-weak-secret"]);
    }
    let shown = run(client).await;
    assert_eq!(shown.code, Some(0), "{role:?} {options}: {}", shown.stderr);
    assert_eq!(shown.stderr, "", "{role:?} {options}");
    assert_eq!(shown.stdout, "uptime 0 s\ntemperature 21 °C\nsetpoint 22.5 °C\n", "{role:?} {options}");

    let log = server.end().await.stderr;
    assert!(log.contains("request (8, 0) status 0 \"attic\""), "{log}");
    assert!(log.contains("request (20, 2) status 0 22.5"), "{log}");
    assert_eq!(log.contains("request (0, 1)"), secret.is_some(), "{log}");
    Seen { hello: log.contains("request (4294901760, 0)"), message_ids: log.contains(" #1\n") }
}

#[tokio::test]
async fn the_client_talks_to_a_new_python_server() {
    for secret in [None, Some(SECRET)] {
        for options in [&[][..], &["format=struct"]] {
            let seen = dialogue(&["--new", "--features", "message_id"], options, secret).await;
            assert!(seen.hello && seen.message_ids);
        }
    }
}

#[tokio::test]
async fn the_client_talks_to_a_new_python_server_without_message_ids() {
    for secret in [None, Some(SECRET)] {
        for options in [&[][..], &["format=struct"]] {
            let seen = dialogue(&["--new", "--features", ""], options, secret).await;
            assert!(seen.hello && !seen.message_ids);
        }
    }
}

#[tokio::test]
async fn the_client_talks_to_an_old_python_server() {
    for secret in [None, Some(SECRET)] {
        for options in [&["peer=old"][..], &["peer=old", "format=struct"]] {
            let seen = dialogue(&["--old"], options, secret).await;
            assert!(!seen.hello && !seen.message_ids);
        }
    }
}

#[tokio::test]
async fn a_client_that_was_not_told_of_an_old_server_names_the_remedy() {
    let mut command = python_peer();
    command.args(["serve-thermostat", "--old"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let server = Program::start(command).await;
    let mut client = example("client");
    client.arg(&server.url);
    let ended = run(client).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stderr,
        format!(
            "{}: the peer does not answer HELLO; towards a peer of the Python library use `.old_peer()` or `?peer=old`\n",
            server.url
        )
    );
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_a_python_server() {
    let mut command = python_peer();
    command.args(["serve-thermostat", "--secret", SECRET]).stdin(Stdio::piped()).stderr(Stdio::null());
    let server = Program::start(command).await;
    let mut client = example("client");
    client.arg(&server.url).args(["--secret", "another secret of 16 bytes"]);
    client.args(["--security", "legacy", "--allow-weak-secret"]);
    let ended = run(client).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, format!("authentication at {} failed: the secret is wrong\n", server.url));
}

#[tokio::test]
async fn both_halves_of_the_python_peer_agree_with_each_other() {
    for mut peer in [python_peer(), python_with_packages("tests/python/secure_checks.py")] {
        peer.arg("self-test");
        let Ended { code, stdout, stderr } = run(peer).await;
        let failed: Vec<_> = stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert!(failed.is_empty() && code == Some(0), "{}\n{stderr}", failed.join("\n"));
    }
}
