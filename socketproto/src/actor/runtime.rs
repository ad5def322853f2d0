//! Where actors live.
//!
//! Inside an actix program that is the arbiter of the calling thread. Everywhere else it is one thread of our own, for
//! the whole process, started when it is first needed: it does not depend on the caller's runtime, so connections
//! survive it, and handles work from any executor.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError, mpsc};

use actix::System;
use actix_rt::{Arbiter, ArbiterHandle};
use futures_util::future::{Either, select};

use crate::error::{Error, Result};

/// The arbiter of the calling thread, inside an actix program: endpoints that it starts live there.
fn in_place() -> Option<ArbiterHandle> {
    Arbiter::try_current().filter(|_| System::is_registered())
}

/// Whether endpoints that this thread starts live on it, so that it must not wait for them.
#[cfg(feature = "blocking")]
pub(crate) fn is_in_place() -> bool {
    in_place().is_some()
}

/// The process's own thread, once it runs.
static SHARED: Mutex<Option<ArbiterHandle>> = Mutex::new(None);

/// The thread on which an endpoint's actors live.
#[derive(Clone, Debug)]
pub(crate) struct Runtime(ArbiterHandle);

impl Runtime {
    /// The runtime of the calling thread, or the process's.
    pub(crate) fn current() -> Result<Self> {
        in_place().map_or_else(Self::shared, |arbiter| Ok(Self(arbiter)))
    }

    /// Runs a future on the runtime and waits for its result, on any executor. When nobody waits any more it is dropped,
    /// and with it what it has made.
    pub(crate) async fn run<F, T>(&self, start: impl FnOnce() -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (mut sender, receiver) = tokio::sync::oneshot::channel();
        let alive = self.0.spawn_fn(move || {
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

    fn shared() -> Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(arbiter) = shared.as_ref().filter(|arbiter| arbiter.alive()) {
            return Ok(Self(arbiter.clone()));
        }
        let arbiter = start_thread().map_err(|error| Error::Config {
            setting: "runtime",
            reason: format!("the thread cannot be started: {error}").into(),
        })?;
        *shared = Some(arbiter.clone());
        Ok(Self(arbiter))
    }
}

fn start_thread() -> io::Result<ArbiterHandle> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name("socketproto".to_owned()).spawn(move || {
        let system = System::new();
        // The one who waits for it cannot be gone: it blocks below.
        let _ = sender.send(System::current().arbiter().clone());
        if let Err(error) = system.run() {
            tracing::error!(%error, "the runtime ended");
        }
    })?;
    receiver.recv().map_err(io::Error::other)
}
