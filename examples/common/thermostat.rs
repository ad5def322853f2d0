//! A room thermostat: the declaration that server and clients share.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use socketproto::prelude::*;

/// How to reset.
#[derive(Debug, Deserialize, Serialize)]
pub struct Reset {
    /// Whether the calibration is forgotten too.
    pub hard: bool,
}

/// What a reset gives back.
#[derive(Debug, Deserialize, Serialize)]
pub struct ResetDone {
    /// How long the thermostat had been running, in seconds.
    pub uptime_s: u64,
}

/// A room thermostat.
#[derive(Debug, Service, Client)]
#[service(name = "thermostat")]
#[did(3, read = fn uptime() -> u64, public)]
#[did(4, execute = fn reset(args: Reset) -> ResetDone)]
#[did(5, execute = async fn calibrate(cx, from: f64, to: f64) -> f64)]
pub struct Thermostat {
    /// Room temperature in °C.
    #[did(1, read, notify)]
    temperature: f64,
    /// Target temperature in °C, 5 to 30.
    #[did(2, read, write = set_setpoint, notify)]
    setpoint: f64,
    /// What was added to the sensor's reading.
    offset: f64,
    started: Instant,
}

impl Thermostat {
    /// A thermostat in a room of 19.5 °C.
    #[expect(clippy::new_without_default, reason = "a thermostat is started, not defaulted")]
    pub fn new() -> Self {
        Self { temperature: 19.5, setpoint: 20.0, offset: 0.0, started: Instant::now() }
    }

    fn uptime(&mut self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn set_setpoint(&mut self, value: f64) -> Result<(), Fault> {
        if !(5.0..=30.0).contains(&value) {
            return Err(Fault::not_permitted(format!("{value} °C is outside 5 to 30 °C")));
        }
        self.setpoint = value;
        Ok(())
    }

    fn reset(&mut self, args: Reset) -> ResetDone {
        let uptime_s = self.uptime();
        self.setpoint = 20.0;
        self.started = Instant::now();
        if args.hard {
            self.temperature -= self.offset;
            self.offset = 0.0;
        }
        ResetDone { uptime_s }
    }

    /// Learns the sensor's offset from two readings; the thermostat serves others while it measures.
    async fn calibrate(cx: Call<Self>, from: f64, to: f64) -> Result<f64, Fault> {
        if !(from.is_finite() && to.is_finite()) {
            return Err(Fault::callback_error("both readings have to be numbers"));
        }
        tokio::task::yield_now().await; // here a sensor would be read
        Ok(cx
            .actor(|this| {
                this.offset += to - from;
                this.temperature += to - from;
                this.temperature
            })
            .await)
    }
}
