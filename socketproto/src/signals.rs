//! SIGINT and SIGTERM, for programs that ask for them.
//!
//! They are waited for on a thread of their own, so that a program which hangs can still be ended from the keyboard.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// The thread that waits for signals, once somebody has asked for it. There is no way back from there: from then on
/// nothing else ends the process at a signal.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

#[derive(Default)]
struct Watch {
    /// Told at the first signal; who does not wait any more has cancelled its own.
    waiting: Vec<CancellationToken>,
    signalled: bool,
}

/// Waits for the first signal, from the call on. Every later one, and one that nobody waits for, ends the process at
/// once, with the code that a shell gives for it: 130 for SIGINT, 143 for SIGTERM.
///
/// # Errors
/// [`Error::Config`] where signals cannot be waited for.
pub(crate) fn first() -> Result<impl Future<Output = ()> + Send> {
    let token = CancellationToken::new();
    wait_with(token.clone()).map_err(|error| Error::Config {
        setting: "signals",
        reason: format!("they cannot be waited for: {error}").into(),
    })?;
    let gone = token.clone().drop_guard();
    Ok(async move {
        let _gone = gone;
        token.cancelled().await;
    })
}

/// Begins to wait; the first who does starts the thread.
fn wait_with(token: CancellationToken) -> io::Result<()> {
    let mut watch = lock();
    if let Some(watch) = watch.as_mut() {
        watch.waiting.retain(|other| !other.is_cancelled());
        watch.waiting.push(token);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    let watch_them = move || {
        runtime.block_on(async {
            while let Some(number) = signals.next().await {
                handle(number);
            }
        });
    };
    std::thread::Builder::new().name("socketproto-signals".to_owned()).spawn(watch_them)?;
    *watch = Some(Watch { waiting: vec![token], signalled: false });
    Ok(())
}

fn handle(number: i32) {
    let mut watch = lock();
    if let Some(watch) = watch.as_mut() {
        let waiting = std::mem::take(&mut watch.waiting);
        let is_awaited = waiting.iter().any(|token| !token.is_cancelled());
        if is_awaited && !watch.signalled {
            watch.signalled = true;
            tracing::info!(
                signal = number,
                "a signal asks for the end; a second one ends the process at once"
            );
            waiting.iter().for_each(CancellationToken::cancel);
            return;
        }
    }
    std::process::exit(128 + number);
}

/// Each change is one step, so a poisoned lock holds sound data.
fn lock() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// The number of the next signal; none where no more can come.
    async fn next(&mut self) -> Option<i32> {
        use futures_util::future::{Either, select};
        use tokio::signal::unix::SignalKind;

        let (interrupt, terminate) =
            (std::pin::pin!(self.interrupt.recv()), std::pin::pin!(self.terminate.recv()));
        match select(interrupt, terminate).await {
            Either::Left((came, _)) => came.map(|()| SignalKind::interrupt().as_raw_value()),
            Either::Right((came, _)) => came.map(|()| SignalKind::terminate().as_raw_value()),
        }
    }
}

/// Ctrl-C alone.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Option<i32> {
        /// The number of SIGINT elsewhere.
        const INTERRUPT: i32 = 2;
        tokio::signal::ctrl_c().await.ok().map(|()| INTERRUPT)
    }
}
