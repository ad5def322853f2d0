//! The cases of the Autobahn suite, against both sides of our WebSocket: `vectors/autobahn.json` has what comes out.
//!
//! An echo of messages cannot go through a session, where a message is a frame of ours. So the echo stands directly on the
//! messages of the transport, with its handshakes, its limits and its configuration of the codec; unlike the transport
//! above it, it takes text too.

use std::collections::BTreeMap;
use std::process::Stdio;

use socketproto::__private::{echo_as_client, echo_as_server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::{python_with_packages, repository, within};

/// The largest message of the suite.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// How a case went: the messages, and the closing handshake.
type Outcomes = BTreeMap<String, [String; 2]>;

/// The suite as a program, for one side of the protocol.
fn suite(side: &str) -> Command {
    let mut suite = python_with_packages("tests/python/autobahn.py");
    suite.arg(side).stdout(Stdio::piped()).stderr(Stdio::piped());
    suite
}

/// Compares with what is written down, and says how the cases went.
fn judge(side: &str, found: &str) {
    let found: Outcomes = serde_json::from_str(found).expect("the suite gives its results");
    let path = repository().join("tests/vectors/autobahn.json");
    let text = std::fs::read_to_string(&path).expect("the expected results");
    let expected: Outcomes = serde_json::from_str(&text).expect("a table of results");

    let mut counts = BTreeMap::<_, usize>::new();
    for [messages, _] in found.values() {
        *counts.entry(messages.as_str()).or_default() += 1;
    }
    println!("{side}: {} cases, {counts:?}", found.len());
    let differs = |(case, outcome): &(&String, &[String; 2])| expected.get(*case) != Some(outcome);
    let other: Vec<_> = found.iter().filter(differs).collect();
    let missing: Vec<_> = expected.keys().filter(|case| !found.contains_key(*case)).collect();
    let results = std::env::temp_dir().join(format!("autobahn-{side}.json"));
    if !other.is_empty() || !missing.is_empty() {
        std::fs::write(&results, serde_json::to_string(&found).expect("a table")).expect("a temporary file");
        panic!(
            "other results than in {}: {other:?}, missing: {missing:?}; all are in {results:?}",
            path.display()
        );
    }
}

#[tokio::test]
async fn servers_pass_the_autobahn_cases() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let serve = tokio::spawn(async move {
        let mut echoes = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("the suite connects");
            stream.set_nodelay(true).expect("an option");
            echoes.spawn(echo_as_server(stream, MAX_MESSAGE));
            while echoes.try_join_next().is_some() {}
        }
    });
    let output = within(suite("servers").arg(port.to_string()).output()).await.expect("python3");
    serve.abort();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    judge("servers", &String::from_utf8(output.stdout).expect("JSON"));
}

#[tokio::test]
async fn clients_pass_the_autobahn_cases() {
    let mut program = suite("clients").spawn().expect("python3");
    let mut stdout = BufReader::new(program.stdout.take().expect("stdout is piped"));
    let mut port = String::new();
    within(stdout.read_line(&mut port)).await.expect("a line");
    let port = port.trim().to_owned();
    if port.is_empty() {
        let output = within(program.wait_with_output()).await.expect("it ends");
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let run = async |path: &str| {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("the suite listens");
        stream.set_nodelay(true).expect("an option");
        echo_as_client(stream, &format!("ws://127.0.0.1:{port}{path}"), MAX_MESSAGE).await
    };
    let count = within(run("/getCaseCount")).await.expect("a number").expect("a text");
    for case in 1..=count.parse::<u32>().expect("a number") {
        // How it ends is for the suite to judge.
        let _ = within(run(&format!("/runCase?case={case}&agent=socketproto"))).await;
    }
    let _ = within(run("/updateReports?agent=socketproto")).await;
    let mut results = String::new();
    within(stdout.read_to_string(&mut results)).await.expect("JSON");
    let mut errors = String::new();
    let mut stderr = program.stderr.take().expect("stderr is piped");
    within(stderr.read_to_string(&mut errors)).await.expect("UTF-8");
    let status = within(program.wait()).await.expect("it ends");
    assert!(status.success(), "{status}: {errors}");
    judge("clients", &results);
}
