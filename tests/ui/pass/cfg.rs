//! A field that is configured out is not declared; an id may then be used again.
#![deny(warnings)]

use socketproto::prelude::*;

#[derive(Service, Client)]
#[cfg_attr(any(), did(1, read = fn nowhere() -> Nothing))]
#[cfg_attr(all(), did(2, read = fn here() -> u8))]
#[cfg_attr(any(), sid(history, request = 10, response = 10))]
#[cfg_attr(all(), sid(history, request = 40, response = 41))]
#[cfg_attr(all(), service(name = "thermostat", own_thread))]
#[cfg_attr(all(), did(1, history = fn history() -> u8, timeout = "1s"))]
#[cfg_attr(all(), did(.., read, fallback = unknown))]
struct Thermostat {
    #[cfg(any())]
    #[did(1, read)]
    temperature: Missing,
    #[cfg(all())]
    #[did(1, read)]
    temperature: f64,
    #[cfg_attr(any(), did(3, read))]
    private: u8,
    #[cfg_attr(all(), did(4, read))]
    level: u8,
}

impl Thermostat {
    fn here(&mut self) -> u8 {
        self.private
    }

    fn history(&mut self) -> u8 {
        self.private
    }

    fn unknown(&mut self, _: DataId, data: Json) -> Json {
        data
    }
}

fn main() {
    let names: Vec<_> = Thermostat::SERVICE.entries().iter().map(|entry| entry.name()).collect();
    assert_eq!(names, ["here", "history", "unknown", "temperature", "level"]);
    assert_eq!(Thermostat::SERVICE.name(), "thermostat");
    assert_eq!(Thermostat::SERVICE.services().len(), 1);
}
