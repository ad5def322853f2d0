//! Loops without a framework: what the others are measured against.
//!
//! | variant | what |
//! | --- | --- |
//! | `a` | echoes frames without a look at them |
//! | `b` | checks CRC-32, parses each request typed, serialises the answer, adds its CRC-32 |
//! | `threads` | `b` with blocking sockets and a thread for each connection |
//!
//! Words behind `b` change it: `b-id` has message ids, `b-stp` is byte-stuffed, `b-tls` is inside TLS, `b-unix` is on a
//! Unix socket; they go together, as in `b-id-stp`. The server of any `b` answers HELLO and repeats message ids, so that
//! clients of the library can talk to it; the client of `b-id` says HELLO, so that it can talk to servers of the library.
//!
//! The client keeps its requests outstanding without a call that could be awaited: it reads, checks what came, and
//! writes as many new requests as were answered, at once.

mod alone;
mod answer;
mod asker;
mod client;
mod envelope;
mod framing;
mod inbox;
mod server;
mod threads;
mod tls;
mod variant;

use anyhow::Result;
use bench_common::{Command, command, run};

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, server::run(&serve)),
        Command::Load(load) => run(load.runtime, client::run(&load)),
    }
}
