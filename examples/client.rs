//! Shows a thermostat and changes it.
//!
//! `cargo run --example client -- tcp://127.0.0.1:4000 --secret TEXT --setpoint 22.5`

use clap::Parser;
use socketproto::prelude::*;
use socketproto_examples::flags::{Security, finish, log, show};
use socketproto_examples::thermostat::ThermostatClient;

/// Shows a thermostat and changes it.
#[derive(Debug, Parser)]
struct Flags {
    /// Where the thermostat listens: tcp://HOST:PORT, ws://HOST:PORT or `unix:///PATH`
    url: String,
    /// The secret that the thermostat knows too
    #[arg(long, value_name = "TEXT")]
    secret: Option<String>,
    /// How both sides prove it: legacy is for thermostats of the Python library
    #[arg(long, value_enum, default_value_t = Security::Secure)]
    security: Security,
    /// Takes a secret that could be found by trying: a word, or a sentence together with `--security legacy`
    #[arg(long)]
    allow_weak_secret: bool,
    /// The name of the channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// The target temperature to set, in °C
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true)]
    setpoint: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    log();
    finish(run(Flags::parse()).await)
}

async fn run(flags: Flags) -> socketproto::Result<()> {
    let mut builder = Client::connect(flags.url);
    if let Some(secret) = flags.secret {
        builder = builder
            .secret(Secret::from_text(secret)?)
            .level(flags.security.into())
            .allow_weak_secret(flags.allow_weak_secret);
    }
    if let Some(channel) = flags.channel {
        builder = builder.channel_name(channel);
    }
    let client = builder.await?;
    let room = ThermostatClient::new(&client);
    if let Some(setpoint) = flags.setpoint {
        room.set_setpoint(setpoint).await?;
    }
    show(format_args!("uptime {} s", room.uptime().await?));
    show(format_args!("temperature {} °C", room.temperature().await?));
    show(format_args!("setpoint {} °C", room.setpoint().await?));
    client.close().await;
    Ok(())
}
