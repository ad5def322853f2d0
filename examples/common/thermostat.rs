//! A room thermostat: the declaration that server and clients share.

use std::collections::VecDeque;
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

/// Which part of the history.
#[derive(Debug, Deserialize, Serialize)]
pub struct Range {
    /// The last so many points.
    pub last: u32,
}

/// One point of the history.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Point {
    /// When it was measured, in seconds since the start.
    pub at_s: u64,
    /// Room temperature in °C.
    pub temperature: f64,
}

/// As many points of the history are kept.
const HISTORY: usize = 1000;

/// A room thermostat.
#[derive(Debug, Service, Client)]
#[service(name = "thermostat")]
#[sid(history, request = 40, response = 41)]
#[did(3, read = fn uptime() -> u64, public)]
#[did(4, execute = fn reset(args: Reset) -> ResetDone)]
#[did(5, execute = async fn calibrate(cx, from: f64, to: f64) -> f64)]
#[did(1, history = fn history(range: Range) -> Vec<Point>)]
#[did(.., read, fallback = unknown)]
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
    points: VecDeque<Point>,
}

impl Thermostat {
    /// A thermostat in a room of 19.5 °C.
    #[expect(clippy::new_without_default, reason = "a thermostat is started, not defaulted")]
    pub fn new() -> Self {
        let first = Point { at_s: 0, temperature: 19.5 };
        Self {
            temperature: first.temperature,
            setpoint: 20.0,
            offset: 0.0,
            started: Instant::now(),
            points: [first].into(),
        }
    }

    /// Corrects the temperature, and remembers it.
    fn correct(&mut self, by: f64) {
        self.offset += by;
        self.temperature += by;
        if self.points.len() == HISTORY {
            self.points.pop_front();
        }
        let at_s = self.uptime();
        self.points.push_back(Point { at_s, temperature: self.temperature });
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
        self.points.clear();
        self.correct(if args.hard { -self.offset } else { 0.0 });
        ResetDone { uptime_s }
    }

    fn history(&mut self, range: Range) -> Vec<Point> {
        let skipped = self.points.len().saturating_sub(range.last as usize);
        self.points.iter().skip(skipped).cloned().collect()
    }

    /// Reads of all other data come here.
    fn unknown(&mut self, data_id: DataId, _: Json) -> Result<Json, Fault> {
        Err(Fault::unknown(format!("a thermostat has no {data_id} to read")))
    }

    /// Learns the sensor's offset from two readings; the thermostat serves others while it measures.
    async fn calibrate(cx: Call<Self>, from: f64, to: f64) -> Result<f64, Fault> {
        if !(from.is_finite() && to.is_finite()) {
            return Err(Fault::callback_error("both readings have to be numbers"));
        }
        tokio::task::yield_now().await; // here a sensor would be read
        Ok(cx
            .actor(|this| {
                this.correct(to - from);
                this.temperature
            })
            .await)
    }
}
