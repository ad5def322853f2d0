//! A server and a typed client in one process, over TCP on a free port.
//!
//! `cargo run --release --example quickstart`

use socketproto::prelude::*;
use socketproto_examples::thermostat::{Reset, Thermostat, ThermostatClient};

#[tokio::main]
async fn main() -> socketproto::Result<()> {
    let secret = Secret::generate()?;
    let server = Server::bind("tcp://127.0.0.1:0")
        .secret(secret.clone())
        .channel_name("living room")
        .service(Thermostat::new())
        .start()
        .await?;
    println!("server listens on {}", server.address());

    let client = Client::connect(server.address()).secret(secret).await?;
    println!(
        "authenticated: {}, on channel {:?}",
        client.auth_state(),
        client.channel_name().unwrap_or_default()
    );

    let room = ThermostatClient::new(&client);
    println!("read temperature: {} °C", room.temperature().await?);

    room.set_setpoint(22.5).await?;
    println!("wrote setpoint: now {} °C", room.setpoint().await?);

    match room.set_setpoint(99.0).await {
        Err(error) => println!("refused write: {error}"),
        Ok(()) => println!("the thermostat took 99 °C, which it should not"),
    }

    println!("executed calibrate: {} °C", room.calibrate(19.5, 20.0).await?);
    println!("executed reset: {:?}", room.reset(Reset { hard: false }).await?);

    let stranger = Client::connect(server.address()).await?;
    let room = ThermostatClient::new(&stranger);
    println!("without the secret: public uptime is {} s", room.uptime().await?);
    match room.temperature().await {
        Err(error) => println!("without the secret: {error}"),
        Ok(value) => println!("a stranger read {value} °C, which it should not"),
    }

    server.shutdown().await?;
    println!("server is shut down");
    Ok(())
}
