//! Secure mode with the Python peer, a second implementation of docs/protocol.md 5.2, in both roles.

use std::process::Stdio;

use socketproto::prelude::*;
use socketproto::{Cause, ConnectionEvent, Error, IntoService, Json};
use socketproto_examples::thermostat::Thermostat;
use tokio::sync::mpsc;

use crate::support::{Ended, Program, python_with_packages, run, within};

const DIGITS: &str = "00112233445566778899AABBCCDDEEFF0011223344556677";
const PASSPHRASE: &str = "correct horse, ключ";
/// Secrets with their key ids.
const SECRETS: [(&str, &str); 2] = [(DIGITS, ""), (PASSPHRASE, "blue é")];

/// What `Mirror` of the Python peer serves.
#[derive(Service, Client)]
#[did(2, execute = fn echo(data: Json) -> Json)]
#[did(3, read = fn everybody() -> u8, public)]
#[did(4, execute = async fn ask(cx, number: u32) -> Json)]
struct Mirror {
    #[did(1, read)]
    datum: u8,
}

impl Mirror {
    fn echo(&mut self, data: Json) -> Json {
        data
    }

    fn everybody(&mut self) -> u8 {
        8
    }

    async fn ask(cx: Call<Self>, number: u32) -> Result<Json, Error> {
        cx.peer().read(number).await
    }
}

/// What the mirror asks of a client.
#[derive(Service)]
struct Asked {
    #[did(5, read)]
    text: String,
}

/// Answers everything with its own data.
#[derive(Service)]
#[did(.., read, write, execute, fallback = echo)]
struct Echo;

impl Echo {
    fn echo(&mut self, _: DataId, data: Json) -> Json {
        data
    }
}

fn secret((text, kid): (&str, &str)) -> Secret {
    Secret::from_text(text).and_then(|secret| secret.with_kid(kid)).expect("a good secret")
}

/// A server that knows both secrets.
async fn start(service: impl IntoService) -> Server {
    let server =
        Server::bind("tcp://127.0.0.1:0").secret(secret(SECRETS[0])).further_secret(secret(SECRETS[1]));
    within(server.service(service).start()).await.expect("a free port")
}

/// Runs a program of checks against a server, with each of its secrets, and shows what failed.
async fn check(program: &str, arguments: &[&str], server: &Server, expected: usize) {
    let port = server.address().rsplit(':').next().expect("a URL with a port").to_owned();
    for (text, kid) in SECRETS {
        let mut checks = python_with_packages(program);
        checks.args(arguments).args(["--port", &port, "--secret", text, "--kid", kid]);
        let Ended { code, stdout, stderr } = run(checks).await;
        let failed: Vec<_> = stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert!(failed.is_empty(), "{arguments:?} {kid:?}:\n{}", failed.join("\n"));
        assert_eq!(code, Some(0), "{arguments:?} {kid:?}:\n{stderr}");
        let passed = stdout.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(passed >= expected, "{arguments:?} {kid:?}: only {passed} checks ran:\n{stdout}");
    }
}

#[tokio::test]
async fn a_server_passes_the_checks_of_secure_mode() {
    let server = start(Mirror { datum: 7 }).await;
    check("tests/python/secure_checks.py", &["check"], &server, 35).await;
    within(server.shutdown()).await.expect("it ends in time");
}

#[tokio::test]
async fn inside_records_the_thermostat_passes_the_checks_of_every_line() {
    let server = start(Thermostat::new()).await;
    for format in ["json", "struct"] {
        let arguments = ["check-thermostat", "--security", "secure", "--format", format];
        check("tests/python/peer.py", &arguments, &server, 30).await;
    }
    within(server.shutdown()).await.expect("it ends in time");
}

#[tokio::test]
async fn inside_records_the_echo_passes_the_checks_of_every_line() {
    let server = start(Echo).await;
    for format in ["json", "struct"] {
        let arguments = ["check-echo", "--security", "secure", "--format", format];
        check("tests/python/peer.py", &arguments, &server, 20).await;
    }
    within(server.shutdown()).await.expect("it ends in time");
}

/// A Python server with this secret.
async fn python_server(security: &str, (text, kid): (&str, &str)) -> Program {
    let mut command = python_with_packages("tests/python/peer.py");
    command.args(["serve-mirror", "--security", security, "--secret", text, "--kid", kid]);
    command.args(["--channel-name", "cellar"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    Program::start(command).await
}

#[tokio::test]
async fn a_client_and_a_python_server_call_each_other() {
    for given in SECRETS {
        let server = python_server("secure", given).await;
        let client =
            Client::connect(&server.url).secret(secret(given)).service(Asked { text: "°:<é".into() });
        let client = within(client).await.unwrap();
        assert!(client.is_trusted());
        let mirror = MirrorClient::new(&client);
        assert_eq!(within(mirror.datum()).await.unwrap(), 7);
        assert_eq!(within(mirror.ask(5)).await.unwrap().as_str(), "\"°:<é\"");
        for size in [0, 65_518, 1 << 20] {
            let data = Json::encode(&"x".repeat(size)).unwrap();
            assert_eq!(within(mirror.echo(data.clone())).await.unwrap(), data, "{size} bytes");
        }
        within(client.close()).await;

        let log = server.end().await.stderr;
        assert!(log.contains("request (4294901760, 0)") && log.contains("request (8, 0)"), "{log}");
        assert!(log.lines().any(|line| line.starts_with("closed: ")), "it says that it closes: {log}");
    }
}

#[tokio::test]
async fn a_python_server_refuses_another_secret_and_another_key_id() {
    let server = python_server("secure", SECRETS[0]).await;
    for given in [("another secret of some length", ""), (DIGITS, "blue")] {
        let error = within(Client::connect(&server.url).secret(secret(given))).await.unwrap_err();
        assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
        assert_eq!(error.cause(), Cause::Peer);
    }
    let log = server.end().await.stderr;
    let refused = log.lines().filter(|line| line.starts_with("broken: refused: ")).count();
    assert_eq!(refused, 2, "{log}");
}

#[tokio::test]
async fn a_python_server_that_knows_legacy_logins_alone_gets_none() {
    let server = python_server("legacy", SECRETS[0]).await;
    let error = within(Client::connect(&server.url).secret(secret(SECRETS[0]))).await.unwrap_err();
    assert!(matches!(error, Error::PeerTooOld { .. }), "{error}");
    let log = server.end().await.stderr;
    assert!(log.contains("request (0, 2)") && !log.contains("request (0, 1)"), "{log}");
}

/// A Python server that goes wrong in this way.
async fn rogue(way: &str) -> Program {
    let mut command = python_with_packages("tests/python/rogue.py");
    command.args([way, "--secret", DIGITS]).stdin(Stdio::piped()).stderr(Stdio::piped());
    Program::start(command).await
}

#[tokio::test]
async fn a_client_says_nothing_to_a_server_that_breaks_the_handshake() {
    /// Whether the client's error is the right one.
    type Judge = fn(&Error) -> bool;

    fn wrong_secret(error: &Error) -> bool {
        matches!(error, Error::WrongSecret { .. })
    }
    fn too_old(error: &Error) -> bool {
        matches!(error, Error::PeerTooOld { .. })
    }
    fn any(error: &Error) -> bool {
        error.cause() != Cause::Local
    }
    let ways: [(&str, Judge); 12] = [
        ("refuses", wrong_secret),
        ("does-not-know-the-datum", too_old),
        ("wants-a-legacy-login", too_old),
        ("answers-another-suite", wrong_secret),
        ("answers-without-a-message", wrong_secret),
        ("answers-a-changed-message", wrong_secret),
        ("answers-a-longer-message", wrong_secret),
        ("answers-the-clients-own-message", wrong_secret),
        ("greets-in-clear", any),
        ("begins-with-a-frame", any),
        ("changes-its-finished", any),
        ("says-nothing-and-goes", any),
    ];
    for (way, expected) in ways {
        let server = rogue(way).await;
        let error = within(Client::connect(&server.url).secret(secret(SECRETS[0]))).await.unwrap_err();
        assert!(expected(&error), "{way}: {error:?}");
        let heard = server.end().await.stderr;
        assert!(heard.ends_with("end\n"), "{way}: {heard}");
        // A server that has not proved itself gets no more than the end of the handshake, and a word of farewell.
        for line in heard.lines() {
            let harmless = ["finished", "close ", "end"].iter().any(|start| line.starts_with(start));
            assert!(harmless, "{way}: {heard}");
        }
    }
}

#[tokio::test]
async fn a_client_says_how_a_secure_connection_has_ended() {
    for (way, expected) in [
        ("greets-and-goes", "ended without a word"),
        ("greets-and-says-why-it-goes", "Wartung: zurück um 12"),
        ("greets-and-changes-a-record", "does not open"),
    ] {
        let server = rogue(way).await;
        let (sender, mut reasons) = mpsc::unbounded_channel();
        let client = Client::connect(&server.url).secret(secret(SECRETS[0])).on_event(move |_, event| {
            if let ConnectionEvent::Disconnected { reason } = event {
                let _ = sender.send(reason.clone());
            }
        });
        let client = within(client).await.unwrap();
        // The server waits for a call; what becomes of it is not the question.
        let _ = within(client.read::<u8>(1)).await;
        let reason = within(reasons.recv()).await.expect("the follower lives as long as its client");
        assert!(reason.contains(expected), "{way}: {reason}");
        within(client.close()).await;
        within(server.end()).await;
    }
}
