//! The examples, run as the programs they are.

use tokio::net::TcpSocket;

use crate::support::{Ended, Program, disconnected, example, run};

const SECRET: &str = "a secret of more than 16 bytes";

async fn thermostat(arguments: &[&str]) -> Program {
    let mut command = example("thermostat");
    command.args(arguments);
    Program::start(command).await
}

async fn client(arguments: &[&str]) -> Ended {
    let mut command = example("client");
    command.args(arguments);
    run(command).await
}

/// The client ended with one sentence and the code of a failure.
#[track_caller]
fn assert_refused(ended: &Ended, expected: &str) {
    assert_eq!(ended.stderr, format!("{expected}\n"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn quickstart_shows_a_dialogue_from_the_first_read_to_the_shutdown() {
    let ended = run(example("quickstart")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (first, rest) = ended.stdout.split_once('\n').expect("several lines");
    let url = first.strip_prefix("server listens on ").expect("the first line says where");
    assert!(url.starts_with("tcp://127.0.0.1:"), "{url}");
    let expected = format!(
        "authenticated: Trusted Connection, on channel \"living room\"\n\
         read temperature: 19.5 °C\n\
         wrote setpoint: now 22.5 °C\n\
         refused write: write data request (20) of setpoint (data 2) at {url}: \
         operation not permitted (6): 99 °C is outside 5 to 30 °C\n\
         executed calibrate: 20 °C\n\
         executed reset: ResetDone {{ uptime_s: 0 }}\n\
         without the secret: public uptime is 0 s\n\
         without the secret: read data request (10) of temperature (data 1) at {url}: \
         authentication required (3) (connect with `.secret(..)`, or call `authenticate` where that is done by hand)\n\
         server is shut down\n"
    );
    assert_eq!(rest, expected);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn the_thermostat_says_where_it_listens_and_ends_well_on_each_signal() {
    for signal in ["TERM", "INT"] {
        let server = thermostat(&[]).await;
        let port = server.url.strip_prefix("tcp://127.0.0.1:").expect("loopback is the default");
        assert_ne!(port.parse(), Ok(0_u16), "the real port is shown");
        let shown = client(&[&server.url]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        server.signal(signal).await;
        let ended = server.end().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{signal}");
    }
}

#[tokio::test]
async fn the_thermostat_ends_on_a_signal_although_a_client_is_connected() {
    let server = thermostat(&[]).await;
    let client = socketproto::Client::connect(&server.url).await.expect("the server listens");
    server.signal("TERM").await;
    assert_eq!(server.end().await.code, Some(0));
    disconnected(&client).await;
}

#[tokio::test]
async fn the_client_shows_the_thermostat_and_changes_it() {
    let server = thermostat(&["--secret", SECRET, "--channel", "living room"]).await;
    let shown = client(&[&server.url, "--secret", SECRET]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    assert_eq!(shown.stdout, "uptime 0 s\ntemperature 19.5 °C\nsetpoint 20 °C\n");

    let changed = client(&[&server.url, "--secret", SECRET, "--setpoint", "22.5"]).await;
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    let shown = client(&[&server.url, "--secret", SECRET]).await;
    assert!(shown.stdout.ends_with("setpoint 22.5 °C\n"), "{}", shown.stdout);
}

#[tokio::test]
async fn a_setpoint_out_of_range_is_refused_with_the_reason() {
    let server = thermostat(&[]).await;
    for degrees in ["99", "-3"] {
        let ended = client(&[&server.url, "--setpoint", degrees]).await;
        let expected = format!(
            "write data request (20) of setpoint (data 2) at {}: operation not permitted (6): \
             {degrees} °C is outside 5 to 30 °C",
            server.url
        );
        assert_refused(&ended, &expected);
    }
}

fn not_taken(url: &str) -> String {
    format!(
        "no secure connection to {url}: the server does not take this secret, or does not know it: both sides need the \
         same one under the same key id (whoever answered has proved nothing)"
    )
}

#[tokio::test]
async fn a_wrong_secret_is_one_sentence() {
    let server = thermostat(&["--secret", SECRET]).await;
    let ended = client(&[&server.url, "--secret", "another secret of 16 bytes"]).await;
    assert_refused(&ended, &not_taken(&server.url));
}

#[tokio::test]
async fn a_missing_secret_is_one_sentence() {
    let server = thermostat(&["--secret", SECRET]).await;
    let ended = client(&[&server.url, "--setpoint", "21"]).await;
    let expected = format!(
        "write data request (20) of setpoint (data 2) at {}: authentication required (3) \
         (connect with `.secret(..)`, or call `authenticate` where that is done by hand)",
        server.url
    );
    assert_refused(&ended, &expected);
}

#[tokio::test]
async fn a_secret_that_the_server_does_not_have_is_one_sentence() {
    let server = thermostat(&[]).await;
    let ended = client(&[&server.url, "--secret", SECRET]).await;
    assert_refused(&ended, &not_taken(&server.url));
}

#[tokio::test]
async fn nobody_at_the_address_is_one_sentence() {
    // Bound, so that nobody else gets the port, but not listened on.
    let held = TcpSocket::new_v4().expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
    let url = format!("tcp://{}", held.local_addr().expect("it is bound"));
    let ended = client(&[&url]).await;
    let reason = ended.stderr.strip_prefix(&format!("cannot connect to {url}: ")).expect("the sentence");
    assert!(reason.ends_with("; is the server running there?\n"), "{reason}");
    assert_eq!(ended.stderr.lines().count(), 1);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn an_address_that_cannot_be_understood_is_one_sentence() {
    let ended = client(&["127.0.0.1:4000"]).await;
    assert_refused(
        &ended,
        "address `127.0.0.1:4000`: the scheme is missing, write tcp://HOST:PORT or mem://NAME",
    );
    let ended = client(&["tcp://127.0.0.1"]).await;
    assert_refused(&ended, "address `tcp://127.0.0.1`: the port is missing, write tcp://HOST:PORT");
}

#[tokio::test]
async fn a_server_that_cannot_listen_says_why() {
    let taken = thermostat(&[]).await;
    for name in ["thermostat", "echo"] {
        let mut command = example(name);
        command.args(["--listen", &taken.url]);
        let ended = run(command).await;
        assert!(ended.stderr.starts_with(&format!("cannot listen on {}: ", taken.url)), "{}", ended.stderr);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    }
}

#[tokio::test]
async fn a_server_does_not_leave_loopback_unasked() {
    let mut command = example("thermostat");
    command.args(["--listen", "tcp://0.0.0.0:0"]);
    let ended = run(command).await;
    assert!(ended.stderr.contains("can be reached from other machines"), "{}", ended.stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn help_names_the_flags() {
    for (name, flags) in [
        ("thermostat", &["--listen", "--secret", "--channel"][..]),
        ("echo", &["--listen", "--secret", "--channel"]),
        ("client", &["<URL>", "--secret", "--channel", "--setpoint"]),
    ] {
        let mut command = example(name);
        command.arg("--help");
        let ended = run(command).await;
        assert_eq!(ended.code, Some(0), "{name}");
        for flag in flags {
            assert!(ended.stdout.contains(flag), "{name} does not name {flag}:\n{}", ended.stdout);
        }
    }
}

#[tokio::test]
async fn a_transport_of_ones_own_serves_like_any_other() {
    let ended = run(example("own_transport")).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, "data 7 over a pipe\n");
}
