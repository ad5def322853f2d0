//! A test as a program of its own: the test binary is started again and plays a part.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::support::{PATIENCE, Usage};

/// Names the part, in the process that plays it.
pub(crate) const PART: &str = "SOCKETPROTO_CASE_PART";

/// The part this process plays; none in the process of the tests.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Logs go to stderr; `RUST_LOG` says which.
pub(crate) fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// A process that plays a part. It is killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: Log,
}

/// What it left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    /// How long it took from the last signal.
    pub(crate) after: Duration,
}

impl Program {
    /// Starts a test again, by its path such as `d_process::d_24_a_sentence`.
    pub(crate) fn start(test: &str, part: &str, level: &str) -> Self {
        Self::start_by(Command::new(own()), test, part, level)
    }

    /// The same through a command that runs the one behind it, such as `unshare`.
    pub(crate) fn start_behind(mut before: Command, test: &str, part: &str, level: &str) -> Self {
        before.arg(own());
        Self::start_by(before, test, part, level)
    }

    fn start_by(mut command: Command, test: &str, part: &str, level: &str) -> Self {
        let mut child = command
            .args(["--exact", test, "--nocapture"])
            .env(PART, part)
            .env("RUST_LOG", level)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program can be run again");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let log = Log::of(child.stderr.take().unwrap());
        Self { child, stdout, log }
    }

    /// What a line of its output says behind this beginning; other lines are passed over.
    pub(crate) fn told(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "it never says `{beginning}`:\n{}",
                self.log.so_far()
            );
            if let Some((_, rest)) = line.split_once(beginning) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Waits for a line of its log.
    pub(crate) fn logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log.so_far().contains(text) {
            assert!(Instant::now() < deadline, "it never logs `{text}`:\n{}", self.log.so_far());
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn wait_for_signal_handler(&self) {
        wait_for_signal_handler(self.child.id());
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_by(self, signal: Signal) -> Ended {
        let sent = Instant::now();
        self.signal(signal);
        self.ended(sent)
    }

    /// Waits for the end.
    pub(crate) fn end(self) -> Ended {
        self.ended(Instant::now())
    }

    fn ended(mut self, since: Instant) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE * 3, "it does not end:\n{}", self.log.so_far());
            thread::sleep(Duration::from_millis(2));
        };
        let after = since.elapsed();
        let log = self.log.whole();
        assert!(!log.contains("panicked") && !log.contains("poisoned"), "{log}");
        Ended { status, log, after }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process has something of its own to do at SIGTERM.
pub(crate) fn wait_for_signal_handler(process: u32) {
    let status = format!("/proc/{process}/status");
    let deadline = Instant::now() + PATIENCE;
    let handles = || {
        let status = std::fs::read_to_string(&status).expect("/proc");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("SigCgt").trim();
        u64::from_str_radix(caught, 16).unwrap() >> (Signal::TERM.as_raw() - 1) & 1 == 1
    };
    while !handles() {
        assert!(Instant::now() < deadline, "it never waits for signals");
        thread::yield_now();
    }
}

/// What a process writes to stderr.
pub(crate) struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(crate) fn of(stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("the log is text");
                lines.lock().unwrap().extend([&line, "\n"]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    pub(crate) fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// All of it, once the process has ended.
    pub(crate) fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.text.lock().unwrap())
    }
}

fn own() -> std::path::PathBuf {
    std::env::current_exe().expect("a program knows where it lies")
}
