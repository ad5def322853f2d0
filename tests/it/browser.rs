//! A web page as a client: `examples/browser`, in a headless Chromium.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{Program, command, example, repository, within};

#[tokio::test]
async fn a_page_reads_and_writes_and_a_foreign_page_is_refused() {
    let mut script = command("python3");
    script.arg(repository().join("tests/python/browser.py"));
    // It has a browser to end, and does so when its input ends.
    script.kill_on_drop(false).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = script.spawn().expect("python3");
    let mut stdin = script.stdin.take().expect("stdin is piped");
    let mut stdout = BufReader::new(script.stdout.take().expect("stdout is piped"));
    let mut first = String::new();
    within(stdout.read_line(&mut first)).await.expect("a line");

    let mut checks = String::new();
    if let Some(origin) = first.trim_end().strip_prefix("origin ") {
        let mut thermostat = example("thermostat");
        thermostat.args(["--listen", "ws://127.0.0.1:0", "--allow-origin", origin]);
        let thermostat = Program::start(thermostat).await;
        within(stdin.write_all(format!("{}\n", thermostat.url).as_bytes())).await.expect("the script reads");
        within(stdout.read_to_string(&mut checks)).await.expect("lines");
        thermostat.signal("TERM").await;
        assert_eq!(thermostat.end().await.code, Some(0));
    }
    drop(stdin);
    let output = within(script.wait_with_output()).await.expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{checks}\n{errors}");
    assert_eq!(checks.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{checks}\n{errors}");
}
