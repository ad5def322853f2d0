//! Shows a thermostat and changes it.
//!
//! `cargo run --example client -- tcp://127.0.0.1:4000 --secret TEXT --setpoint 22.5`

use clap::Parser;
use socketproto::prelude::*;
use socketproto_examples::flags::{SecretFlags, Security, finish, log, show};
use socketproto_examples::thermostat::ThermostatClient;

/// Shows a thermostat and changes it.
#[derive(Debug, Parser)]
struct Flags {
    /// Where the thermostat listens: tcp://HOST:PORT, ws://HOST:PORT or `unix:///PATH`
    url: String,
    /// What the thermostat knows too.
    #[command(flatten)]
    secret: SecretFlags,
    /// How both sides prove it, and no other way: secure, but for addresses with `?peer=old`
    #[arg(long, value_enum)]
    security: Option<Security>,
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
    if let Some(secret) = flags.secret.secret()? {
        builder = builder.secret(secret).allow_weak_secret(flags.secret.allow_weak_secret);
    }
    if let Some(security) = flags.security {
        builder = builder.level(security.into());
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
