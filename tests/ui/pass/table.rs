//! The table says what the declaration says, in its order.
#![deny(warnings, missing_docs)]

use socketproto::prelude::*;

/// A room thermostat.
///
/// It heats.
#[derive(Service, Client)]
#[service(name = "thermostat")]
#[did(3, read = fn uptime() -> u64, public)]
#[did(4, execute = fn reset(hard: bool) -> u64, name = "restart")]
#[did(0x05, execute = async fn calibrate(cx, from: f64, to: f64) -> f64)]
pub struct Thermostat {
    /// Room temperature in °C.
    #[did(1, read, notify)]
    temperature: f64,
    /// Target temperature in °C, 5 to 30.
    #[did(2, read, write = set_setpoint, notify)]
    setpoint: f64,
    #[did(1_000u32, read, public, name = "serial number")]
    #[did(1_000, write)]
    serial: String,
    heater: (),
}

impl Thermostat {
    fn uptime(&mut self) -> u64 {
        let () = self.heater;
        7
    }

    fn set_setpoint(&mut self, value: f64) -> Result<(), Fault> {
        self.setpoint = value;
        Ok(())
    }

    fn reset(&mut self, hard: bool) -> Result<u64, String> {
        if hard { Ok(0) } else { Err("no".to_owned()) }
    }

    async fn calibrate(cx: Call<Self>, from: f64, to: f64) -> f64 {
        cx.actor(|this| this.temperature += to - from).await;
        from
    }
}

fn main() {
    let table = Thermostat::SERVICE;
    assert_eq!(table.name(), "thermostat");
    assert_eq!(table.description(), "A room thermostat.\n\nIt heats.");

    let rows: Vec<_> = table
        .entries()
        .iter()
        .map(|e| (e.service_id().value(), e.data_id().value(), e.name(), e.is_public(), e.is_notify()))
        .collect();
    assert_eq!(
        rows,
        [
            (10, 3, "uptime", true, false),
            (30, 4, "restart", false, false),
            (30, 5, "calibrate", false, false),
            (10, 1, "temperature", false, true),
            (10, 2, "setpoint", false, true),
            (20, 2, "setpoint", false, false),
            (10, 1000, "serial number", true, false),
            (20, 1000, "serial", false, false),
        ]
    );
    let descriptions: Vec<_> = table.entries().iter().map(socketproto::Entry::description).collect();
    assert_eq!(descriptions[..3], ["", "", ""]);
    assert_eq!(descriptions[3], "Room temperature in °C.");
    assert_eq!(descriptions[4], descriptions[5]);

    #[derive(Service)]
    struct Nothing;
    assert_eq!(Nothing::SERVICE.name(), "Nothing");
    assert!(Nothing::SERVICE.entries().is_empty());

    #[derive(Service)]
    struct Keyword {
        #[did(1, read)]
        r#type: u8,
    }
    let _ = Keyword { r#type: 1 };
    assert_eq!(Keyword::SERVICE.entries()[0].name(), "type");
}
