//! Serial lines: `serial:///dev/ttyUSB0?baud=115200`.
//!
//! A port is named by its path, which is followed anew each time it is opened: a link of `/dev/serial/by-id` leads to
//! the adapter wherever it is plugged in. A line has no end of connection but the end of its port.

mod echo;
mod port;

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::backoff::{Attempts, Backoff};
use crate::transport::options::wrong_value;
use crate::transport::serial::echo::Echo;
use crate::transport::serial::port::Port;
use crate::transport::{Accept, Connect, Connected};

/// Rates that ports are made for, in bits per second.
const RATES: std::ops::RangeInclusive<u32> = 50..=4_000_000;
const DEFAULT_RATE: u32 = 115_200;

/// The wait before a server opens its port again. To look whether it is there costs next to nothing.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A port, and how it is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Serial {
    path: String,
    baud: u32,
    parity: Parity,
    two_stop_bits: bool,
    hardware_flow: bool,
    echo: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Parity {
    None,
    Even,
    Odd,
}

impl Serial {
    /// Understands the path of a port.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if path.is_empty() || path == "/" {
            return Err("the path is missing, write serial:///dev/ttyUSB0".to_owned());
        }
        if !path.starts_with('/') {
            return Err(format!("the path begins at the root, write serial:///{path}"));
        }
        Ok(Self {
            path: path.to_owned(),
            baud: DEFAULT_RATE,
            parity: Parity::None,
            two_stop_bits: false,
            hardware_flow: false,
            echo: false,
        })
    }

    /// Takes an option of serial lines; false where it is one of all lines.
    pub(super) fn set_option(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match (name, value) {
            ("baud", _) => self.baud = rate(value)?,
            ("parity", "none") => self.parity = Parity::None,
            ("parity", "even") => self.parity = Parity::Even,
            ("parity", "odd") => self.parity = Parity::Odd,
            ("stop", "1") => self.two_stop_bits = false,
            ("stop", "2") => self.two_stop_bits = true,
            ("flow", "none") => self.hardware_flow = false,
            ("flow", "hardware") => self.hardware_flow = true,
            ("echo", "on") => self.echo = true,
            ("echo", "off") => self.echo = false,
            ("parity", _) => return Err(wrong_value(name, value, "parity=none, even or odd")),
            ("stop", _) => return Err(wrong_value(name, value, "stop=1 or stop=2")),
            ("flow", _) => return Err(wrong_value(name, value, "flow=none or flow=hardware")),
            ("echo", _) => return Err(wrong_value(name, value, "echo=on or echo=off")),
            ("framing", "length") => {
                return Err(
                    "a serial line needs STP framing: length framing cannot find the next frame again"
                        .to_owned(),
                );
            }
            ("line", "off") => return Err("a serial line is always one that loses bytes".to_owned()),
            ("framing" | "format" | "peer" | "line", _) => return Ok(false),
            _ => {
                return Err(format!(
                    "the option `{name}` is unknown; a serial line has baud, parity, stop, flow, echo, format and peer"
                ));
            }
        }
        Ok(true)
    }

    /// How long one byte takes on the line.
    fn byte_time(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.bits()) / f64::from(self.baud))
    }

    /// Bytes that the line carries in a second.
    pub(super) fn rate(&self) -> usize {
        usize::try_from(self.baud / self.bits()).unwrap_or(usize::MAX)
    }

    /// Of one byte: a start bit, eight of data, parity, one or two that stop.
    fn bits(&self) -> u32 {
        10 + u32::from(self.parity != Parity::None) + u32::from(self.two_stop_bits)
    }

    /// Opens the port. A driver may take its time for that, so it is done on a thread of its own.
    async fn open(&self) -> io::Result<Port> {
        let settings = self.clone();
        let opened = tokio::task::spawn_blocking(move || Port::open(&settings));
        opened.await.map_err(io::Error::other)?
    }

    /// The line of an open port.
    fn line(&self, port: Port) -> Connected {
        if self.echo {
            Connected::stream(Echo::new(port, self.byte_time()), self.to_string())
        } else {
            Connected::stream(port, self.to_string())
        }
    }
}

/// The address, with the rate: both ends have to have the same.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial://{}?baud={}", self.path, self.baud)
    }
}

fn rate(value: &str) -> Result<u32, String> {
    let (min, max) = (RATES.start(), RATES.end());
    let rate: u32 = value
        .parse()
        .map_err(|_| format!("the rate `{value}` is not a number, write baud={DEFAULT_RATE}"))?;
    if !RATES.contains(&rate) {
        return Err(format!("the rate {rate} is outside {min} to {max} baud"));
    }
    Ok(rate)
}

/// Opens the port for a client.
pub(super) struct Connector(pub(super) Serial);

impl Connect for Connector {
    fn address(&self) -> String {
        self.0.to_string()
    }

    async fn connect(&self) -> io::Result<Connected> {
        Ok(self.0.line(self.0.open().await?))
    }
}

/// Opens the port for a server: one line, and when that has ended the next.
pub(super) struct Acceptor {
    serial: Serial,
    /// Opened, and not handed out yet.
    port: Option<Port>,
    /// The line that is out, and since when.
    out: Option<(oneshot::Receiver<()>, Instant)>,
    attempts: Attempts,
    /// Whether it has been logged that the port cannot be opened.
    told: bool,
}

impl Acceptor {
    /// Opens the port. One that is not there yet is waited for.
    pub(super) async fn bind(serial: Serial) -> io::Result<Self> {
        let attempts = Attempts::new(Backoff::new(MIN_WAIT, MAX_WAIT));
        let mut acceptor = Self { serial, port: None, out: None, attempts, told: false };
        match acceptor.serial.open().await {
            Ok(port) => acceptor.port = Some(port),
            Err(error) if error.kind() == io::ErrorKind::NotFound => acceptor.cannot_open(&error),
            Err(error) => return Err(error),
        }
        Ok(acceptor)
    }

    /// The port, however long it takes until it can be opened.
    async fn next_port(&mut self) -> Port {
        loop {
            if let Some(port) = self.port.take() {
                return port;
            }
            match self.serial.open().await {
                Ok(port) => self.port = Some(port),
                Err(error) => {
                    self.cannot_open(&error);
                    tokio::time::sleep(self.attempts.wait(None, 1.0)).await;
                }
            }
        }
    }

    /// Once while it is so: it may be unplugged for days.
    fn cannot_open(&mut self, error: &io::Error) {
        let address = &self.serial;
        if std::mem::replace(&mut self.told, true) {
            debug!(%address, %error, "cannot open the port yet");
        } else {
            warn!(%address, %error, "cannot open the port; it is tried again until it is there");
        }
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        self.serial.to_string()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        if let Some((ended, since)) = &mut self.out {
            // An error says the same: the line has been dropped.
            let _ = ended.await;
            let lasted = since.elapsed();
            self.out = None;
            tokio::time::sleep(self.attempts.wait(Some(lasted), 1.0)).await;
        }
        let mut port = self.next_port().await;
        self.told = false;
        let (guard, ended) = oneshot::channel();
        port.guard = Some(guard);
        self.out = Some((ended, Instant::now()));
        Ok(self.serial.line(port))
    }

    /// What crosses it does not cross the network.
    fn is_exposed(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(path: &str, options: &[(&str, &str)]) -> Serial {
        let mut serial = Serial::parse(path).unwrap();
        for (name, value) in options {
            assert_eq!(serial.set_option(name, value), Ok(true), "{name}={value}");
        }
        serial
    }

    #[test]
    fn a_port_is_set_by_its_options() {
        let plain = serial("/dev/ttyUSB0", &[]);
        assert_eq!(plain.to_string(), "serial:///dev/ttyUSB0?baud=115200");
        let options =
            [("baud", "9600"), ("parity", "even"), ("stop", "2"), ("flow", "hardware"), ("echo", "on")];
        let set = serial("/dev/serial/by-id/usb-x", &options);
        assert_eq!(set.to_string(), "serial:///dev/serial/by-id/usb-x?baud=9600");
        assert_eq!(
            (set.parity, set.two_stop_bits, set.hardware_flow, set.echo),
            (Parity::Even, true, true, true)
        );
    }

    #[test]
    fn a_byte_takes_all_its_bits() {
        assert_eq!(serial("/dev/x", &[("baud", "10000")]).byte_time(), Duration::from_millis(1));
        let long = serial("/dev/x", &[("baud", "12000"), ("parity", "odd"), ("stop", "2")]);
        assert_eq!(long.byte_time(), Duration::from_millis(1));
    }
}
