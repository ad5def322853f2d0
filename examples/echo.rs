//! Answers every read, write and execute of every datum with the request's data.
//!
//! `cargo run --example echo -- --listen tcp://127.0.0.1:4000 --workers 4`

use clap::Parser;
use socketproto::prelude::*;
use socketproto_examples::flags::{ServerFlags, finish, log, show};

/// Answers with what it was sent.
#[derive(Service)]
#[service(name = "echo")]
#[did(.., read, write, execute, fallback = echo)]
struct Echo;

impl Echo {
    fn echo(&mut self, _: DataId, data: Json) -> Json {
        data
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    log();
    finish(serve(ServerFlags::parse()).await)
}

async fn serve(flags: ServerFlags) -> socketproto::Result<()> {
    let server = flags.server()?.service_per_worker(|| Echo).start().await?;
    let signalled = server.run_until_signal();
    show(format_args!("listening on {}", server.address()));
    signalled.await
}
