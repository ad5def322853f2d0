//! A crate with the client alone: no method to write, no warning about what nobody reads.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations, rust_2018_idioms)]

mod room {
    use socketproto::Client;

    /// A room thermostat.
    #[derive(Client)]
    #[service(name = "thermostat")]
    #[did(3, read = fn uptime() -> u64, public)]
    #[did(4, execute = async fn calibrate(cx, from: f64, to: f64) -> f64)]
    pub(crate) struct Thermostat {
        /// Room temperature in °C.
        #[did(1, read, notify)]
        temperature: f64,
        /// Target temperature in °C, 5 to 30.
        #[did(2, read, write = set_setpoint)]
        setpoint: f64,
    }

    #[derive(Client)]
    struct Unused {
        #[did(1, read)]
        value: u8,
    }
}

use room::ThermostatClient;
use socketproto::Peer;

#[allow(dead_code)]
async fn measure(peer: &Peer) -> Result<f64, socketproto::Fault> {
    let room = ThermostatClient::at(peer, 100);
    room.set_setpoint(22.5).await?;
    Ok(room.temperature().await? + room.setpoint().await?)
}

fn main() {
    fn is_shared<T: Clone + Send + Sync + std::fmt::Debug>() {}
    is_shared::<ThermostatClient>();
}
