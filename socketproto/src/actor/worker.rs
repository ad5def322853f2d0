//! One thread on which actors live.
//!
//! Inside an actix program that is the arbiter of the calling thread. Everywhere else it is a thread of our own: one for
//! the whole process, started when it is first needed, or one of a [`Runtime`](crate::Runtime). It does not depend on the
//! caller's runtime, so connections survive that, and handles work from any executor.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle, ThreadId};

use actix::System;
use actix_rt::{Arbiter, ArbiterHandle};
use futures_util::future::{Either, select};

use crate::error::{Error, Result};

/// The process's own thread, once it runs.
static SHARED: Mutex<Option<Worker>> = Mutex::new(None);

/// A thread on which actors live.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    arbiter: ArbiterHandle,
    thread: ThreadId,
}

impl Worker {
    /// The calling thread, inside an actix program: endpoints that it starts live there.
    fn in_place() -> Option<Self> {
        let arbiter = Arbiter::try_current().filter(|_| System::is_registered())?;
        Some(Self { arbiter, thread: thread::current().id() })
    }

    /// The calling thread, or the process's own.
    pub(super) fn current() -> Result<Self> {
        Self::in_place().map_or_else(Self::shared, Ok)
    }

    fn shared() -> Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = shared.as_ref().filter(|worker| worker.is_alive()) {
            return Ok(worker.clone());
        }
        let started = Starting::new("socketproto".to_owned(), ()).and_then(Starting::finish);
        let thread = started.map_err(|error| Error::Config {
            setting: "runtime",
            reason: format!("the thread cannot be started: {error}").into(),
        })?;
        Ok(shared.insert(thread.worker).clone())
    }

    /// Whether actors can still be started there.
    pub(super) fn is_alive(&self) -> bool {
        self.arbiter.alive()
    }

    /// Which thread it is.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Runs a function on the thread; where it has ended, the function is dropped.
    pub(super) fn spawn(&self, function: impl FnOnce() + Send + 'static) -> bool {
        self.arbiter.spawn_fn(function)
    }

    /// Runs a future on the thread and waits for its result, on any executor. When nobody waits any more it is dropped,
    /// and with it what it has made.
    pub(crate) async fn run<F, T>(&self, start: impl FnOnce() -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (mut sender, receiver) = tokio::sync::oneshot::channel();
        let alive = self.spawn(move || {
            actix_rt::spawn(async move {
                let made = match select(pin!(start()), pin!(sender.closed())).await {
                    Either::Left((made, _)) => made,
                    Either::Right(_) => return,
                };
                let _ = sender.send(made);
            });
        });
        if !alive {
            return Err(Error::ShutDown);
        }
        receiver.await.map_err(|_| Error::ShutDown)
    }
}

/// Whether endpoints that this thread starts live on it, so that it must not wait for them.
#[cfg(feature = "blocking")]
pub(super) fn is_in_place() -> bool {
    Worker::in_place().is_some()
}

/// A thread of our own.
pub(super) struct Thread {
    pub(super) worker: Worker,
    pub(super) system: System,
    pub(super) handle: JoinHandle<()>,
}

/// A thread on its way.
pub(super) struct Starting {
    handle: JoinHandle<()>,
    started: mpsc::Receiver<io::Result<(Worker, System)>>,
}

impl Starting {
    /// Begins a thread that runs until its system is stopped. `held` is dropped at its end.
    pub(super) fn new(name: String, held: impl Send + 'static) -> io::Result<Self> {
        let (sender, started) = mpsc::channel();
        let handle = thread::Builder::new().name(name).spawn(move || {
            let _held = held;
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let runner = System::with_tokio_rt(|| runtime);
            let system = System::current();
            let worker = Worker { arbiter: system.arbiter().clone(), thread: thread::current().id() };
            if sender.send(Ok((worker, system))).is_err() {
                // Another thread could not be started, so this one is of no use.
                return;
            }
            drop(sender);
            if let Err(error) = runner.run() {
                tracing::error!(%error, "a worker thread ended");
            }
        })?;
        Ok(Self { handle, started })
    }

    /// Waits until the thread runs.
    pub(super) fn finish(self) -> io::Result<Thread> {
        let (worker, system) = self.started.recv().map_err(io::Error::other)??;
        Ok(Thread { worker, system, handle: self.handle })
    }
}
