//! A field that is configured out is not declared; an id may then be used again.
#![deny(warnings)]

use socketproto::prelude::*;

#[derive(Service, Client)]
#[cfg_attr(any(), did(1, read = fn nowhere() -> Nothing))]
#[cfg_attr(all(), did(2, read = fn here() -> u8))]
struct Thermostat {
    #[cfg(any())]
    #[did(1, read)]
    temperature: Missing,
    #[cfg(all())]
    #[did(1, read)]
    temperature: f64,
    #[cfg_attr(any(), did(3, read))]
    private: u8,
}

impl Thermostat {
    fn here(&mut self) -> u8 {
        self.private
    }
}

fn main() {
    let names: Vec<_> = Thermostat::SERVICE.entries().iter().map(|entry| entry.name()).collect();
    assert_eq!(names, ["here", "temperature"]);
}
