//! Secrets as the programs of `examples/` take them: by flags, by the environment, and from `keygen`.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{Ended, Program, example, run, within};

const SECRET: &str = "00112233445566778899aabbccddeeff";
const OLD_SECRET: &str = "ffeeddccbbaa99887766554433221100";
const SHOWN: &str = "uptime 0 s\ntemperature 19.5 °C\nsetpoint 20 °C\n";

fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = example(name);
    command.args(arguments);
    command
}

async fn thermostat(arguments: &[&str]) -> Program {
    Program::start(program("thermostat", arguments)).await
}

async fn client(url: &str, arguments: &[&str]) -> Ended {
    run(program("client", &[&[url], arguments].concat())).await
}

/// It has shown the thermostat.
#[track_caller]
fn assert_shown(ended: &Ended) {
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("uptime ") && ended.stdout.lines().count() == 3, "{}", ended.stdout);
}

/// It ended with one sentence and the code of a failure, and shows no secret.
#[track_caller]
fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "`{part}` is missing in: {}", ended.stderr);
    }
}

#[tokio::test]
async fn the_secret_comes_by_flag_or_by_environment() {
    let server = {
        let mut command = program("thermostat", &[]);
        command.env("SOCKETPROTO_SECRET", SECRET);
        Program::start(command).await
    };
    let by_flag = client(&server.url, &["--secret", SECRET]).await;
    assert_eq!((by_flag.stdout.as_str(), by_flag.stderr.as_str()), (SHOWN, ""));
    for (variable, arguments) in
        [("SOCKETPROTO_SECRET", &[][..]), ("OF_THE_THERMOSTAT", &["--secret-env", "OF_THE_THERMOSTAT"])]
    {
        let mut command = program("client", &[&[server.url.as_str()], arguments].concat());
        command.env(variable, SECRET);
        assert_shown(&run(command).await);
    }
    // A flag goes first.
    let mut command = program("client", &[&server.url, "--secret", OLD_SECRET]);
    command.env("SOCKETPROTO_SECRET", SECRET);
    let wrong = run(command).await;
    assert_refused(
        &wrong,
        &["no secure connection to ", "the server does not take this secret, or does not know it"],
    );
    assert!(!wrong.stderr.contains(OLD_SECRET), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_secret_can_have_a_key_id() {
    let server = thermostat(&["--secret", SECRET, "--kid", "2027"]).await;
    assert_shown(&client(&server.url, &["--secret", SECRET, "--kid", "2027"]).await);
    for other in [&[][..], &["--kid", "2026"]] {
        let ended = client(&server.url, &[&["--secret", SECRET], other].concat()).await;
        assert_refused(&ended, &["under the same key id"]);
    }
    let ended = client(&server.url, &["--kid", "2027"]).await;
    assert_refused(&ended, &["--kid: there is no secret that it could name"]);
    let ended = client(&server.url, &["--secret", SECRET, "--kid", &"k".repeat(65)]).await;
    assert_refused(&ended, &["kid: 65 bytes exceed 64"]);
}

#[tokio::test]
async fn a_server_takes_old_clients_where_it_is_told_to() {
    let legacy = ["--secret", SECRET, "--security", "legacy"];
    let server = thermostat(&["--secret", SECRET]).await;
    let ended = client(&server.url, &legacy).await;
    assert_refused(&ended, &["the server has no secret, or does not take this kind of login"]);

    let server = thermostat(&legacy).await;
    assert_shown(&client(&server.url, &["--secret", SECRET]).await);
    let ended = client(&server.url, &legacy).await;
    assert_refused(&ended, &["the server knows secure mode", "(here: without `--security legacy`)"]);

    // A server that stands for an old one: it has a secret for old clients alone.
    let old = thermostat(&["--security", "legacy", "--legacy-secret", OLD_SECRET]).await;
    assert_shown(&client(&old.url, &["--security", "legacy", "--secret", OLD_SECRET]).await);
    let as_old = format!("{}?peer=old", old.url);
    assert_shown(&client(&as_old, &["--secret", OLD_SECRET]).await);
    let ended = client(&as_old, &["--security", "secure", "--secret", OLD_SECRET]).await;
    assert_refused(&ended, &["an old peer does not know secure mode"]);
    let mut command = program("thermostat", &["--legacy-secret-env", "OF_OLD_CLIENTS"]);
    command.env("OF_OLD_CLIENTS", OLD_SECRET);
    assert_refused(
        &run(command).await,
        &["--legacy-secret: nobody could prove it without `--security legacy`"],
    );
}

#[tokio::test]
async fn a_weak_secret_is_refused_with_what_to_do() {
    let sentence = "a sentence of some length";
    for (arguments, reason) in [
        (&["--secret", "password"][..], "a passphrase of 8 characters is shorter than 12"),
        (&["--secret", sentence, "--security", "legacy"], "can be searched by whoever listens to one login"),
    ] {
        let to_do = "(here: the example `keygen` makes one, `--allow-weak-secret` takes weak ones)";
        assert_refused(&run(program("thermostat", arguments)).await, &[reason, to_do]);
        assert_refused(&client("tcp://127.0.0.1:1", arguments).await, &[reason, to_do]);
        let allowed = [arguments, &["--allow-weak-secret"]].concat();
        let server = thermostat(&allowed).await;
        assert_shown(&client(&server.url, &[&arguments[..2], &["--allow-weak-secret"]].concat()).await);
    }
}

#[tokio::test]
async fn flags_that_exclude_each_other_are_told_without_the_secret() {
    for name in ["thermostat", "echo", "client"] {
        let ended = run(program(name, &["--secret", SECRET, "--secret-env", "NAME"])).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{name}");
        assert!(ended.stderr.contains("cannot be used with '--secret-env <NAME>'"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    }
}

// keygen

async fn keygen(arguments: &[&str], stdin: &str) -> Ended {
    let mut command = program("keygen", arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the example runs");
    let mut input = child.stdin.take().expect("stdin is piped");
    // Who makes a secret reads nothing.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = within(child.wait_with_output()).await.expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("programs write UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[tokio::test]
async fn keygen_makes_secrets_that_serve() {
    let (first, second) = (keygen(&[], "").await, keygen(&[], "").await);
    assert_ne!(first.stdout, second.stdout);
    for made in [&first, &second] {
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
        let text = made.stdout.strip_suffix('\n').expect("one line");
        assert!(text.len() == 48 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
    let secret = first.stdout.trim_end();
    let server = thermostat(&["--secret", secret]).await;
    assert_shown(&client(&server.url, &["--secret", secret]).await);
    let checked = keygen(&["--check", "-", "--security", "legacy"], &first.stdout).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert_eq!(checked.stdout, "generated, 24 bytes\nsecure: strong enough\nlegacy: strong enough\n");
}

#[tokio::test]
async fn keygen_says_what_a_secret_is_worth() {
    const SEARCHED: &str = "legacy: too weak, a passphrase together with Legacy can be searched by whoever listens to one login, \
                            billions of tries a second\n";
    for (text, level, code, expected) in [
        (
            "pässwörd😀 123",
            "secure",
            0,
            format!("a passphrase, 13 characters\nsecure: strong enough\n{SEARCHED}"),
        ),
        (
            "pässwörd😀 123",
            "legacy",
            1,
            format!("a passphrase, 13 characters\nsecure: strong enough\n{SEARCHED}"),
        ),
        (
            "word",
            "secure",
            1,
            format!(
                "a passphrase, 4 characters\nsecure: too weak, a passphrase of 4 characters is shorter than 12, and could be \
                 found by trying\n{SEARCHED}"
            ),
        ),
        (
            SECRET,
            "legacy",
            0,
            "generated, 16 bytes\nsecure: strong enough\nlegacy: strong enough\n".to_owned(),
        ),
    ] {
        let ended = keygen(&["--check", text, "--security", level], "").await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{text} {level}");
        assert_eq!(ended.stdout, expected);
    }
    for (arguments, stdin) in [(["--check", ""], ""), (["--check", "-"], ""), (["--check", "-"], "\n")] {
        assert_refused(&keygen(&arguments, stdin).await, &["secret: it is empty"]);
    }
    let ended = keygen(&["--security", "legacy"], "").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "a level without a text");
}

#[tokio::test]
async fn help_says_what_flags_and_levels_cost() {
    for (name, texts) in [
        ("thermostat", &["--kid", "--legacy-secret", "SOCKETPROTO_SECRET", "the server proves nothing"][..]),
        ("echo", &["--kid", "--legacy-secret", "SOCKETPROTO_SECRET", "searched for the secret"]),
        ("client", &["--kid", "--secret-env", "--allow-weak-secret", "everything is encrypted"]),
        ("keygen", &["--check", "one line of stdin", "It ends with 0"]),
    ] {
        let ended = run(program(name, &["--help"])).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}");
        for text in texts {
            assert!(ended.stdout.contains(text), "{name} does not say `{text}`:\n{}", ended.stdout);
        }
    }
}
