//! A thread for one service: an actix system of its own.
//!
//! It ends with the service's actor. Nobody joins it: a method that blocks holds up its own thread alone.

use std::io;
use std::sync::mpsc;
use std::thread;

use actix::{Recipient, System};

use crate::actor::handler::HandlerMessage;

/// Starts a thread `socketproto-NAME`, and an actor on it.
pub(super) fn start(
    name: &str,
    start: impl FnOnce() -> Recipient<HandlerMessage> + Send + 'static,
) -> io::Result<Recipient<HandlerMessage>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name(format!("socketproto-{name}")).spawn(move || {
        let system = System::new();
        // The one who waits for it cannot be gone: it blocks below.
        let _ = sender.send(system.block_on(async { start() }));
        if let Err(error) = system.run() {
            tracing::error!(%error, "the thread of a service ended");
        }
    })?;
    receiver.recv().map_err(io::Error::other)
}

/// Ends the thread that runs this.
pub(super) fn end() {
    System::current().stop();
}
