//! Answers every read, write and execute of every datum with the request's data.
//!
//! `cargo run --example echo -- --listen tcp://127.0.0.1:4000`

use clap::Parser;
use socketproto::ServiceId;
use socketproto_examples::flags::{ServerFlags, log};

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
    let mut server = flags.server()?;
    for service_id in [ServiceId::READ_REQUEST, ServiceId::WRITE_REQUEST, ServiceId::EXECUTE_REQUEST] {
        server = server.register_callback(Some(service_id), None, |message| Ok(message.json().clone()));
    }
    let server = server.start().await?;
    println!("listening on {}", server.address());
    server.run_until_signal().await
}
