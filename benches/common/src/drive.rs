//! The load of clients that are called and awaited.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::command::{Load, Shape};
use crate::idle;
use crate::payload::{Reply, Request, TEXT_LEN, text};
use crate::window::{Counter, Window};

/// One connection of a client. Clones share it.
pub trait Connection: Clone + 'static {
    /// Sends a request as the peer sends types, and gives the answer, parsed.
    fn call(&self, request: Request) -> impl Future<Output = Result<Reply>>;

    /// Has a text echoed, and gives the length of what came back, parsed.
    fn echo(&self, text: &str) -> impl Future<Output = Result<usize>>;
}

/// One task of a load: it keeps one request outstanding, or a burst of them.
#[derive(Debug)]
pub struct Worker<C> {
    connection: C,
    shape: Shape,
    burst: usize,
    /// Waits so long before its first request, so that bursts do not fall together.
    delay: Duration,
    counter: Counter,
}

/// The pause between two bursts.
pub const PAUSE: Duration = Duration::from_millis(10);

/// Runs a load on this thread, in the `LocalSet` that [`run`](crate::run) has made, and prints the line.
///
/// # Errors
/// What connecting or a call fails with.
pub async fn drive<C: Connection>(load: &Load, connect: impl AsyncFn() -> Result<C>) -> Result<()> {
    drive_with(load, connect, |worker| drop(tokio::task::spawn_local(worker.run()))).await
}

/// Runs a load whose workers are spawned by the caller, who knows whether they may change threads:
/// `drive_with(&load, connect, |worker| drop(tokio::spawn(worker.run())))`.
///
/// # Errors
/// What connecting or a call fails with.
pub async fn drive_with<C: Connection>(
    load: &Load,
    connect: impl AsyncFn() -> Result<C>,
    spawn: impl Fn(Worker<C>),
) -> Result<()> {
    if load.shape == Shape::S5 {
        return idle::measure(load, connect).await;
    }
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(connect().await?);
    }
    let window = Window::new(load);
    // A burst is one task, else each request that is outstanding has its own.
    let (tasks, burst) = match load.shape {
        Shape::S6 => (1, load.outstanding),
        _ => (load.outstanding, 1),
    };
    for (number, connection) in connections.iter().enumerate() {
        for _ in 0..tasks {
            let delay = PAUSE.mul_f64(number as f64 / load.connections as f64);
            let (connection, counter) = (connection.clone(), window.counter());
            spawn(Worker { connection, shape: load.shape, burst, delay, counter });
        }
    }
    window.measure().await
}

impl<C: Connection> Worker<C> {
    /// Asks until the measurement is over.
    pub async fn run(self) {
        let outcome = match self.shape {
            Shape::S4 => self.echoes().await,
            Shape::S6 => self.bursts().await,
            _ => self.calls().await,
        };
        if let Err(error) = outcome {
            self.counter.window().fail(error);
        }
    }

    async fn calls(&self) -> Result<()> {
        let mut number = 0;
        while !self.counter.window().is_over() {
            number += 1;
            let begin = self.counter.is_sampled(number).then(Instant::now);
            self.call(number).await?;
            self.counter.add(1);
            if let Some(begin) = begin {
                self.counter.latency(begin.elapsed());
            }
        }
        Ok(())
    }

    async fn call(&self, number: u64) -> Result<()> {
        let reply = self.connection.call(Request::new(number)).await?;
        ensure!(reply.seq == number && reply.ok, "asked {number}, answered {reply:?}");
        Ok(())
    }

    async fn echoes(&self) -> Result<()> {
        let text = text();
        while !self.counter.window().is_over() {
            let begin = Instant::now();
            echo(&self.connection, &text).await?;
            self.counter.add(1);
            self.counter.latency(begin.elapsed());
        }
        Ok(())
    }

    async fn bursts(&self) -> Result<()> {
        tokio::time::sleep(self.delay).await;
        let mut number = 0;
        while !self.counter.window().is_over() {
            let begin = Instant::now();
            let mut burst: FuturesUnordered<_> =
                (0..self.burst as u64).map(|place| self.call(number + place)).collect();
            while let Some(outcome) = burst.next().await {
                outcome?;
                self.counter.add(1);
                self.counter.latency(begin.elapsed());
            }
            number += self.burst as u64;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Has the large text echoed once.
pub(crate) async fn echo<C: Connection>(connection: &C, text: &str) -> Result<()> {
    let length = connection.echo(text).await?;
    ensure!(length == TEXT_LEN, "sent {TEXT_LEN} bytes, {length} came back");
    Ok(())
}
