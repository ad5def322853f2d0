//! The library, as a program uses it: a derived service, and a derived client whose calls are awaited.
//!
//! | variant | what |
//! | --- | --- |
//! | `length` | TCP with length framing, as clients speak it unless told otherwise |
//! | `stp` | TCP with STP framing |
//! | `unix` | a Unix socket |
//! | `tls` | inside TLS |
//! | `secure` | TCP, in secure mode from a shared secret |
//!
//! With `-json` behind it, as in `length-json`, a text of 1 MiB passes as `Json`, which nobody decodes.
//!
//! On actix (`--runtime actix`) connections live on the program's own thread; on tokio's runtimes on the thread that the
//! library starts.

mod client;
mod server;
mod service;
mod variant;

use std::future::Future;

use anyhow::Result;
use bench_common::{Command, Flavor, command};

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, server::run(&serve)),
        Command::Load(load) => run(load.runtime, client::run(&load)),
    }
}

fn run(flavor: Flavor, future: impl Future<Output = Result<()>>) -> Result<()> {
    match flavor {
        Flavor::Actix => actix::System::new().block_on(future),
        flavor => bench_common::run(flavor, future),
    }
}
