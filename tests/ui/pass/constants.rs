//! Ids by name: constants of `u32` and of `DataId`, free, in a module, of the struct itself.
#![deny(warnings)]

use socketproto::prelude::*;

mod ids {
    use socketproto::DataId;

    pub const TEMPERATURE: u32 = 1;
    pub const SETPOINT: DataId = DataId::new(2);
}

const SERIAL: u32 = 3;

#[derive(Service, Client)]
#[did(Self::RESET, execute = fn reset())]
#[did(self::ids::TEMPERATURE, execute = fn calibrate())]
struct Thermostat {
    #[did(ids::TEMPERATURE, read)]
    temperature: f64,
    #[did(crate::ids::SETPOINT, read, write)]
    setpoint: f64,
    #[did(SERIAL, read)]
    serial: String,
    #[did(4, read)]
    level: u8,
}

impl Thermostat {
    const RESET: u32 = SERIAL + 1;

    fn reset(&mut self) {}

    fn calibrate(&mut self) {}
}

fn main() {
    let ids = Thermostat::SERVICE.entries().iter().map(|entry| entry.data_id().value());
    assert_eq!(ids.collect::<Vec<_>>(), [4, 1, 1, 2, 2, 3, 4]);
}
