//! Servers and loads as processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bench_common::Outcome;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A process that prints lines. It is killed when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    process: Process,
    pub address: String,
    pub pids: Vec<u32>,
}

/// How long a server may take to listen; a broker and an interpreter start with it.
const START: Duration = Duration::from_secs(15);
/// How long a load may take beside its window: 5,000 connections are opened, 1 MiB goes to each twentieth of 1,000.
const EXTRA: Duration = Duration::from_secs(60);
/// How long a server may take to trim its memory, and to end.
const PATIENCE: Duration = Duration::from_secs(2);

impl Server {
    pub fn start(command: &[String], core: Option<usize>) -> Result<Self> {
        let mut process = Process::start(command, core)?;
        let Some(line) = process.line(Instant::now() + START)? else {
            bail!("{}", process.complaint("it ended"));
        };
        let Some(place) = line.strip_prefix("listening ") else {
            bail!("it said `{line}`, not where it listens");
        };
        let (address, pids) = place.split_once(" pid=").unwrap_or((place, ""));
        let mut pids =
            pids.split(',').filter(|pid| !pid.is_empty()).map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        if pids.is_empty() {
            pids.push(process.child.id());
        }
        Ok(Self { address: address.to_owned(), pids, process })
    }

    /// Lets the server end by itself.
    pub fn stop(mut self) {
        self.process.stdin = None;
        self.process.wait(PATIENCE);
    }

    /// Has the server give back memory, where it can.
    fn trim(&mut self) -> Result<()> {
        self.process.say("trim")?;
        let end = Instant::now() + PATIENCE;
        while let Ok(Some(line)) = self.process.line(end) {
            if line == "trimmed" {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Runs a load to its end.
pub fn load(
    command: &[String],
    core: Option<usize>,
    window: Duration,
    server: &mut Server,
) -> Result<Outcome> {
    let mut process = Process::start(command, core)?;
    let end = Instant::now() + window + EXTRA;
    while let Some(line) = process.line(end)? {
        if line == "trim" {
            server.trim()?;
            process.say("trimmed")?;
            continue;
        }
        let outcome = serde_json::from_str(&line).with_context(|| format!("the load said `{line}`"))?;
        process.wait(PATIENCE);
        return Ok(outcome);
    }
    bail!("{}", process.complaint("the load ended without a result"))
}

impl Process {
    fn start(command: &[String], core: Option<usize>) -> Result<Self> {
        let before = sched_getaffinity(None).context("no affinity")?;
        if let Some(core) = core {
            ensure!(before.is_set(core), "CPU {core} is not there for this process");
            let mut one = CpuSet::new();
            one.set(core);
            // The child inherits what this thread has.
            sched_setaffinity(None, &one).context("no affinity")?;
        }
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        sched_setaffinity(None, &before).context("no affinity")?;
        let mut child = child.with_context(|| format!("{} does not start", command[0]))?;
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().context("no stderr")?;
        let complaints = Some(thread::spawn(move || {
            let mut bytes = Vec::new();
            // What is there is enough.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }));
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, complaints })
    }

    /// The next line, or none at the end.
    fn line(&mut self, end: Instant) -> Result<Option<String>> {
        match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("nothing was said in time"),
        }
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        writeln!(stdin, "{line}").context("nobody listens")
    }

    /// Waits for the end; the process is killed where it does not come.
    fn wait(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What the process has said on stderr before it ended.
    fn complaint(&mut self, what: &str) -> String {
        self.wait(PATIENCE);
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).take(8).collect();
        if lines.is_empty() { what.to_owned() } else { lines.join("; ") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.wait(Duration::ZERO);
    }
}
