//! A thermostat that serves until it is told to stop.
//!
//! `cargo run --example thermostat -- --listen tcp://127.0.0.1:4000 --secret TEXT`

use clap::Parser;
use socketproto_examples::flags::{ServerFlags, log};
use socketproto_examples::thermostat::Thermostat;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    log();
    match serve(ServerFlags::parse()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn serve(flags: ServerFlags) -> socketproto::Result<()> {
    let server = flags.server()?.service(Thermostat::new()).start().await?;
    println!("listening on {}", server.address());
    server.run_until_signal().await
}
