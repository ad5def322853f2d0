//! Threads that a program starts for its servers and clients.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::System;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::actor::worker::{Starting, Thread, Worker};
use crate::error::{Error, Result};

/// More threads than any machine runs well.
const MAX_WORKERS: usize = 1024;

/// How long servers and clients may take to end when their runtime is shut down: longer than each of them takes by
/// itself.
const ENDPOINTS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the threads may take to end then. One that takes longer is blocked by a handler.
const THREADS_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads on which servers and clients run, apart from all others. Clones mean the same threads.
///
/// A program needs none: without it everything runs on one thread, which is enough for some hundred thousand small
/// requests a second. With it a server spreads its connections over cores:
///
/// ```
/// use socketproto::prelude::*;
/// use socketproto::Runtime;
///
/// #[derive(Service, Client, Default)]
/// struct Adder {
///     #[did(1, read)]
///     calls: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let runtime = Runtime::builder().workers(2).start()?;
/// let server = Server::bind("tcp://127.0.0.1:0")
///     .runtime(&runtime)
///     .service_per_worker(Adder::default)
///     .start()
///     .await?;
/// let client = Client::connect(server.address()).runtime(&runtime).await?;
/// assert_eq!(AdderClient::new(&client).calls().await?, 0);
/// runtime.shutdown().await
/// # }
/// ```
///
/// [`ServerBuilder::workers`](crate::ServerBuilder::workers) is the short form for one server.
///
/// The threads end with [`Runtime::shutdown`], or when the last handle, and the last server and client that runs here, is
/// gone; to drop the last handle does not wait for them.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    workers: Box<[Worker]>,
    systems: Vec<System>,
    /// Counts the clients, so that they go to one thread after the other.
    next: AtomicUsize,
    /// Tells servers and clients that they have to end.
    ending: CancellationToken,
    /// Told when the threads have ended.
    ended: CancellationToken,
    life: Mutex<Option<Life>>,
}

/// What is known of a runtime until it is shut down. Nothing is ever sent through these channels: they are closed when
/// all who hold an end of them have gone.
struct Life {
    /// Held by each server and client.
    resident: mpsc::Sender<()>,
    residents: mpsc::Receiver<()>,
    /// The other end is held by each thread.
    threads: mpsc::Receiver<()>,
    handles: Vec<JoinHandle<()>>,
    /// Tells the end.
    ended: DropGuard,
}

/// What a [`Runtime`] is told before it starts.
#[derive(Clone, Debug)]
#[must_use = "a runtime runs once it is started"]
pub struct RuntimeBuilder {
    workers: usize,
}

impl Runtime {
    fn of(threads: Vec<Thread>, held_by_threads: mpsc::Receiver<()>) -> Self {
        let (mut workers, mut systems, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for Thread { worker, system, handle } in threads {
            workers.push(worker);
            systems.push(system);
            handles.push(handle);
        }
        let (resident, residents) = mpsc::channel();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let life = Life { resident, residents, threads: held_by_threads, handles, ended: guard };
        Self(Arc::new(Inner {
            workers: workers.into(),
            systems,
            next: AtomicUsize::new(0),
            ending: CancellationToken::new(),
            ended,
            life: Mutex::new(Some(life)),
        }))
    }

    /// Begins a runtime of one thread.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder { workers: 1 }
    }

    /// How many threads it has.
    pub fn workers(&self) -> usize {
        self.0.workers.len()
    }

    /// Shuts down every server here, as [`Server::shutdown`](crate::Server::shutdown) does, closes every client, and ends
    /// the threads: they are joined when this returns. What does not end in time, since a handler blocks its thread, is
    /// left behind after 15 s, and a warning is logged.
    ///
    /// It may be called more than once and from several places; it goes on also where nobody awaits it any more. Servers
    /// and clients cannot be started here afterwards: [`Error::ShutDown`].
    ///
    /// # Errors
    /// None today; the result leaves room for them.
    pub async fn shutdown(&self) -> Result<()> {
        self.begin_to_end();
        self.0.ended.cancelled().await;
        Ok(())
    }

    /// All waiting is done by a thread: it depends on no executor, and on nobody who awaits the end.
    fn begin_to_end(&self) {
        let Some(life) = self.0.lock().take() else { return };
        self.0.ending.cancel();
        let systems = self.0.systems.clone();
        let end = thread::Builder::new().name("socketproto-end".to_owned()).spawn(move || life.end(&systems));
        if let Err(error) = end {
            warn!(%error, "the threads of a runtime end unwatched");
            self.0.stop();
        }
    }

    pub(super) fn list(&self) -> &[Worker] {
        &self.0.workers
    }

    /// Whether this is one of its threads.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_here(&self) -> bool {
        self.0.workers.iter().any(|worker| worker.thread() == thread::current().id())
    }

    /// The thread that is the next one's turn.
    pub(super) fn next(&self) -> &Worker {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        &self.0.workers[turn % self.0.workers.len()]
    }

    /// Counts one more server or client in.
    pub(super) fn enter(&self) -> Result<Resident> {
        let resident = self.0.lock().as_ref().map(|life| life.resident.clone()).ok_or(Error::ShutDown)?;
        Ok(Resident { runtime: self.clone(), _resident: resident })
    }
}

impl RuntimeBuilder {
    /// How many threads: 1 to 1024; 1 unless said. More than the machine has cores are of no use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Config`] for a number outside of its range, and where the system gives no further thread.
    ///
    /// ```
    /// use socketproto::Runtime;
    ///
    /// let error = Runtime::builder().workers(0).start().unwrap_err();
    /// assert_eq!(error.to_string(), "workers: 0 is outside of 1 to 1024");
    /// ```
    pub fn start(self) -> Result<Runtime> {
        let workers = self.workers;
        if !(1..=MAX_WORKERS).contains(&workers) {
            let reason = format!("{workers} is outside of 1 to {MAX_WORKERS}");
            return Err(Error::Config { setting: "workers", reason: reason.into() });
        }
        let (held, held_by_threads) = mpsc::channel();
        // All begin before the first is waited for.
        let starting: Vec<_> =
            (0..workers).map(|number| Starting::new(format!("socketproto-{number}"), held.clone())).collect();
        let (mut threads, mut failed) = (Vec::new(), None);
        for thread in starting {
            match thread.and_then(Starting::finish) {
                Ok(thread) => threads.push(thread),
                Err(error) => failed = Some(error),
            }
        }
        let runtime = Runtime::of(threads, held_by_threads);
        match failed {
            // Those that run end with it.
            Some(error) => Err(not_started(runtime.workers() + 1, workers, &error)),
            None => Ok(runtime),
        }
    }
}

fn not_started(number: usize, workers: usize, error: &io::Error) -> Error {
    let reason = format!("thread {number} of {workers} cannot be started: {error}");
    Error::Config { setting: "workers", reason: reason.into() }
}

impl Inner {
    /// Tells the threads to end.
    fn stop(&self) {
        self.systems.iter().for_each(System::stop);
    }

    /// What it holds is taken as a whole, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Life {
    /// Waits for what runs on the threads, then for them.
    fn end(self, systems: &[System]) {
        let Self { resident, residents, threads, handles, ended } = self;
        drop(resident);
        if residents.recv_timeout(ENDPOINTS_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            warn!("a server or client has not ended in time; its runtime ends all the same");
        }
        systems.iter().for_each(System::stop);
        if threads.recv_timeout(THREADS_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            warn!("a handler blocks a thread of its runtime, which is left behind");
        } else {
            // A thread that panicked has said so.
            handles.into_iter().for_each(|handle| drop(handle.join()));
        }
        drop(ended);
    }
}

/// A server or client that runs on a runtime, which lives as long as it.
#[derive(Clone)]
pub(super) struct Resident {
    runtime: Runtime,
    _resident: mpsc::Sender<()>,
}

impl Resident {
    /// Cancelled when the runtime is shut down.
    pub(super) fn ending(&self) -> CancellationToken {
        self.runtime.0.ending.clone()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.workers()).finish_non_exhaustive()
    }
}
