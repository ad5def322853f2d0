//! What connections cost that do nothing.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::account::Account;
use crate::command::Load;
use crate::drive::{Connection, echo};
use crate::payload::{Request, text};
use crate::window::Outcome;

/// Connections that are there before it is measured: what the first few need is the server's, not theirs.
const FIRST: usize = 20;
/// Of so many connections one takes part in the burst.
const EVERY: usize = 20;
/// How long nothing happens before connections count as idle.
const SETTLE: Duration = Duration::from_millis(2_200);

/// Opens connections, uses each once, and weighs the server; again when some have had a large request; and again when
/// it has trimmed its memory, to which whoever reads the line `trim` on stdout has brought it by an answer on stdin.
pub(crate) async fn measure<C: Connection>(load: &Load, connect: impl AsyncFn() -> Result<C>) -> Result<()> {
    ensure!(!load.server_pid.is_empty(), "s5 needs --server-pid");
    let server = Account::of(&load.server_pid);
    let first = open(FIRST, &connect).await?;
    echo(&first[0], &text()).await?;
    trim()?;
    let before = server.resident_kib()?;
    let each = |now: u64| Some((now as f64 - before as f64) * 1024.0 / load.connections as f64);
    let connections = open(load.connections, &connect).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = server.resident_kib()?;
    let text = text();
    for connection in connections.iter().step_by(EVERY) {
        echo(connection, &text).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let burst = server.resident_kib()?;
    trim()?;
    let trimmed = server.resident_kib()?;
    let outcome = Outcome {
        done: load.connections as u64,
        server_rss_kib: Some(trimmed),
        per_connection_bytes: each(idle),
        after_burst_bytes: each(burst),
        after_trim_bytes: each(trimmed),
        ..Outcome::default()
    };
    outcome.print()
}

async fn open<C: Connection>(count: usize, connect: &impl AsyncFn() -> Result<C>) -> Result<Vec<C>> {
    let mut connections = Vec::new();
    for number in 0..count as u64 {
        let connection = connect().await?;
        connection.call(Request::new(number)).await?;
        connections.push(connection);
    }
    Ok(connections)
}

fn trim() -> Result<()> {
    writeln!(std::io::stdout(), "trim").context("stdout is closed")?;
    // The runtime stands still meanwhile, and so it should.
    std::io::stdin().lock().read_line(&mut String::new()).context("stdin")?;
    Ok(())
}
