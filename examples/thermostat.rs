//! A thermostat that serves until it is told to stop.
//!
//! `cargo run --example thermostat -- --listen tcp://127.0.0.1:4000 --secret TEXT`

use clap::Parser;
use socketproto_examples::flags::{ServerFlags, finish, log, show};
use socketproto_examples::thermostat::Thermostat;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    log();
    finish(serve(ServerFlags::parse()).await)
}

async fn serve(flags: ServerFlags) -> socketproto::Result<()> {
    let server = flags.server()?.service(Thermostat::new()).start().await?;
    let signalled = server.run_until_signal();
    show(format_args!("listening on {}", server.address()));
    signalled.await
}
