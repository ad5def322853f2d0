//! The time in which is measured, and what comes out of it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::command::Load;

/// Begins and ends a measurement, and takes what happens in it.
#[derive(Clone, Debug)]
pub struct Window(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sampling: u64,
    warmup: Duration,
    length: Duration,
    server: Account,
    client: Account,
    is_open: AtomicBool,
    is_over: AtomicBool,
    counters: Mutex<Vec<Arc<AtomicU64>>>,
    latencies: Mutex<Histogram<u64>>,
    failure: Mutex<Option<Error>>,
}

/// What one task has done. Each task has its own, so that counting costs nothing.
#[derive(Debug)]
pub struct Counter {
    window: Window,
    done: Arc<AtomicU64>,
}

/// The line that a load prints.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Outcome {
    pub done: u64,
    pub seconds: f64,
    pub server_cpu_ns: Option<u64>,
    pub client_cpu_ns: Option<u64>,
    pub p50_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub p999_ns: Option<u64>,
    pub server_rss_kib: Option<u64>,
    /// Of idle connections that have been used once
    pub per_connection_bytes: Option<f64>,
    /// The same, when some of them have had a large request
    pub after_burst_bytes: Option<f64>,
    /// The same, when the server has given back to the system what it does not use
    pub after_trim_bytes: Option<f64>,
}

/// Longer latencies count as this.
const LONGEST: Duration = Duration::from_secs(60);

impl Window {
    pub fn new(load: &Load) -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        Self(Arc::new(Inner {
            sampling: load.sampling(),
            warmup: load.warmup,
            length: load.seconds,
            server: Account::of(&load.server_pid),
            client: Account::of(&[std::process::id()]),
            is_open: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            counters: Mutex::default(),
            latencies: Mutex::new(latencies.expect("the bounds are right")),
            failure: Mutex::default(),
        }))
    }

    /// Counts what one task does.
    pub fn counter(&self) -> Counter {
        let done = Arc::new(AtomicU64::new(0));
        self.0.counters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&done));
        Counter { window: self.clone(), done }
    }

    /// Whether tasks should end.
    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Ends the measurement without a result.
    pub fn fail(&self, error: Error) {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    /// Warms up, measures, and prints the line.
    ///
    /// # Errors
    /// What a task has failed with; where nothing was done; where the server has ended.
    pub async fn measure(&self) -> Result<()> {
        self.sleep(self.0.warmup).await;
        let (begin, before) = (Instant::now(), self.look()?);
        self.0.is_open.store(true, Ordering::Relaxed);
        self.sleep(self.0.length).await;
        let (seconds, after) = (begin.elapsed().as_secs_f64(), self.look()?);
        self.0.is_over.store(true, Ordering::Relaxed);
        if let Some(error) = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.context("a task of the load has failed"));
        }
        let done = after.done - before.done;
        ensure!(done > 0, "nothing was answered in {seconds:.1} s");
        let latencies = self.0.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let quantile = |part| (!latencies.is_empty()).then(|| latencies.value_at_quantile(part));
        Outcome {
            done,
            seconds,
            server_cpu_ns: after.server_cpu.zip(before.server_cpu).map(|(after, before)| after - before),
            client_cpu_ns: Some(after.client_cpu - before.client_cpu),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            server_rss_kib: after.server_cpu.map(|_| self.0.server.resident_kib()).transpose()?,
            ..Outcome::default()
        }
        .print()
    }

    /// Sleeps, but not behind a failure.
    async fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    fn look(&self) -> Result<Look> {
        let counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let done = counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
        let server_cpu = self.0.server.cpu_ns()?;
        Ok(Look {
            done,
            // Nobody said which processes: nothing was used then.
            server_cpu: (server_cpu > 0).then_some(server_cpu),
            client_cpu: self.0.client.cpu_ns()?,
        })
    }
}

struct Look {
    done: u64,
    server_cpu: Option<u64>,
    client_cpu: u64,
}

impl Counter {
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Counts requests that are answered.
    pub fn add(&self, done: u64) {
        // Nobody else writes, so this need not be one step.
        self.done.store(self.done() + done, Ordering::Relaxed);
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Takes the latency of one request, where it is one of those that are taken: see [`Load::sampling`].
    pub fn latency(&self, latency: Duration) {
        if self.window.0.is_open.load(Ordering::Relaxed) && !self.window.is_over() {
            let nanoseconds = latency.as_nanos().min(LONGEST.as_nanos()) as u64;
            let mut latencies = self.window.0.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.saturating_record(nanoseconds);
        }
    }

    /// Whether the latency of the request with this number is one of those that are taken.
    pub fn is_sampled(&self, number: u64) -> bool {
        number.is_multiple_of(self.window.0.sampling)
    }
}

impl Outcome {
    /// # Errors
    /// Where stdout is closed.
    pub fn print(&self) -> Result<()> {
        let line = serde_json::to_string(self)?;
        writeln!(std::io::stdout(), "{line}").context("stdout is closed")
    }
}
