//! Addresses: `SCHEME://PLACE?OPTION=VALUE&..`.

use std::fmt;

use crate::error::Error;
#[cfg(all(unix, feature = "serial"))]
use crate::framing::Framing;
use crate::transport::host::HostPort;
use crate::transport::options::{Options, each_option, mistake};
#[cfg(all(unix, feature = "serial"))]
use crate::transport::serial::Serial;
#[cfg(all(unix, feature = "unix"))]
use crate::transport::systemd::Descriptor;
#[cfg(all(unix, feature = "unix"))]
use crate::transport::unix::SocketPath;
#[cfg(feature = "websocket")]
use crate::transport::websocket;

/// An address, understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) options: Options,
}

/// Where to listen or connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Tcp(HostPort),
    Memory {
        name: String,
    },
    #[cfg(feature = "tls")]
    Tls(HostPort),
    #[cfg(feature = "websocket")]
    WebSocket(websocket::Place),
    #[cfg(all(unix, feature = "serial"))]
    Serial(Serial),
    #[cfg(all(unix, feature = "unix"))]
    Unix(SocketPath),
    /// A listener that a service manager hands over.
    #[cfg(all(unix, feature = "unix"))]
    Systemd(Descriptor),
}

impl Address {
    /// Understands an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| mistake(text, reason))
    }

    /// The peer there is one of the Python library.
    ///
    /// # Errors
    /// [`Error::Address`] where none can be.
    pub(crate) fn set_old_peer(&mut self) -> Result<(), Error> {
        self.options.old_peer = true;
        self.check().map_err(|reason| mistake(&self.place.to_string(), reason))
    }

    /// Whether its options go together, here.
    fn check(&self) -> Result<(), String> {
        self.options.check()?;
        if self.place.is_websocket() { self.options.check_for_websocket() } else { Ok(()) }
    }
}

fn parse(text: &str) -> Result<Address, String> {
    let (place, options) = text.split_once('?').unwrap_or((text, ""));
    let place = Place::parse(place)?;
    let mut address = Address { options: place.options(), place };
    for (name, value) in each_option(options)? {
        address.place.set_option(&mut address.options, name, value)?;
    }
    address.options.line_rate = address.place.rate();
    address.check()?;
    Ok(address)
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, place)) = text.split_once("://") else {
            return Err("the scheme is missing, write tcp://HOST:PORT or mem://NAME".to_owned());
        };
        match scheme {
            "tcp" => HostPort::parse(scheme, place).map(Self::Tcp),
            #[cfg(feature = "tls")]
            "tls" => HostPort::parse(scheme, place).map(Self::Tls),
            #[cfg(feature = "websocket")]
            "ws" => websocket::Place::parse(scheme, place).map(Self::WebSocket),
            #[cfg(all(feature = "websocket", feature = "tls"))]
            "wss" => websocket::Place::parse(scheme, place).map(Self::WebSocket),
            "mem" => Ok(Self::Memory { name: place.to_owned() }),
            #[cfg(all(unix, feature = "serial"))]
            "serial" => Serial::parse(place).map(Self::Serial),
            #[cfg(all(unix, feature = "unix"))]
            "unix" => SocketPath::parse(place).map(Self::Unix),
            #[cfg(all(unix, feature = "unix"))]
            "systemd" => Ok(Self::Systemd(Descriptor::parse(place))),
            _ => Err(not_here(scheme)),
        }
    }

    /// Whether TLS belongs to the scheme.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            #[cfg(feature = "websocket")]
            Self::WebSocket(place) => place.is_tls(),
            _ => false,
        }
    }

    /// Whether nothing but a WebSocket is taken there.
    pub(crate) fn is_websocket(&self) -> bool {
        match self {
            #[cfg(feature = "websocket")]
            Self::WebSocket(_) => true,
            _ => false,
        }
    }

    /// Whether a listener there can take more than frames.
    pub(crate) fn takes_upgrades(&self) -> bool {
        match self {
            Self::Memory { .. } => false,
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(_) => false,
            _ => true,
        }
    }

    /// Bytes a second that a line there carries, where it says so.
    fn rate(&self) -> Option<usize> {
        match self {
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(serial) => Some(serial.rate()),
            _ => None,
        }
    }

    /// What a scheme leaves no choice in.
    fn options(&self) -> Options {
        match self {
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(_) => {
                Options { framing: Some(Framing::Stp), lossy: true, serial: true, ..Options::default() }
            }
            _ => Options::default(),
        }
    }

    /// Takes an option, of this scheme or of every one.
    fn set_option(&mut self, options: &mut Options, name: &str, value: &str) -> Result<(), String> {
        let is_own = match self {
            #[cfg(feature = "websocket")]
            Self::WebSocket(place) => place.set_option(name, value)?,
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(serial) => serial.set_option(name, value)?,
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(place) => place.set_option(name, value)?,
            _ => false,
        };
        if is_own { Ok(()) } else { options.set(name, value) }
    }
}

/// Why a scheme is not understood: it is missing in this build, on this system, or everywhere.
fn not_here(scheme: &str) -> String {
    let needs = match scheme {
        "unix" | "systemd" if !cfg!(unix) => {
            return format!("the scheme `{scheme}` is for Unix systems, use tcp");
        }
        "serial" if !cfg!(unix) => {
            return "the scheme `serial` needs a Unix system in this version".to_owned();
        }
        "unix" | "systemd" => "feature `unix`",
        "serial" => "feature `serial`",
        "tls" => "feature `tls`",
        "ws" => "feature `websocket`",
        "wss" => "features `websocket` and `tls`",
        _ => {
            return format!(
                "the scheme `{scheme}` is unknown; there are tcp, tls, ws, wss, unix, systemd, serial and mem"
            );
        }
    };
    format!("the scheme `{scheme}` needs the {needs} of socketproto")
}

/// The address of the place alone, as a URL.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            #[cfg(feature = "tls")]
            Self::Tls(place) => write!(f, "tls://{place}"),
            Self::Memory { name } => write!(f, "mem://{name}"),
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(serial) => write!(f, "{serial}"),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(place) => place.fmt(f),
            #[cfg(all(unix, feature = "unix"))]
            Self::Systemd(which) => which.fmt(f),
            #[cfg(feature = "websocket")]
            Self::WebSocket(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> String {
        Address::parse(text).unwrap().place.to_string()
    }

    fn reason(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn places_are_understood() {
        assert_eq!(place("tcp://127.0.0.1:0"), "tcp://127.0.0.1:0");
        assert_eq!(place("tcp://[::1]:4000?peer=old"), "tcp://[::1]:4000");
        assert_eq!(place("tcp://device.example:65535"), "tcp://device.example:65535");
        assert_eq!(place("mem://"), "mem://");
        assert_eq!(place("mem://kitchen"), "mem://kitchen");
    }

    #[cfg(all(unix, feature = "unix"))]
    #[test]
    fn places_of_this_machine_are_understood() {
        assert_eq!(place("unix:///run/x.sock?mode=0660&framing=stp"), "unix:///run/x.sock");
        assert_eq!(place("unix:///run/100%25 warm#1"), "unix:///run/100%25 warm#1", "nothing is decoded");
        assert_eq!(place("systemd://"), "systemd://0");
        assert_eq!(place("systemd://1?framing=length"), "systemd://1");
        assert_eq!(place("systemd://control"), "systemd://control");
        let cases = [
            ("unix://", "the path is missing"),
            ("unix://@name", "abstract sockets are not supported"),
            ("unix://./x.sock", "the path `./x.sock` is not absolute"),
            ("unix://run/x.sock", "the path `run/x.sock` is not absolute"),
            ("unix:///", "the path `/` names a directory"),
            ("unix:///run/", "the path `/run/` names a directory"),
            ("unix:///run/..", "the path `/run/..` names a directory"),
            ("unix:///run/\0", "the path contains a NUL"),
            ("unix:///run/x.sock?mode=rw", "the option `mode=rw` has no such value, write an octal number"),
            ("unix:///run/x.sock?baud=9600", "the option `baud` is unknown"),
            ("systemd://0?mode=0660", "the option `mode` is unknown"),
            ("tcp://h:1?mode=0660", "the option `mode` is unknown"),
        ];
        for (text, expected) in cases {
            assert!(reason(text).starts_with(expected), "{text}: {}", reason(text));
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn tls_has_places_as_tcp_has() {
        assert_eq!(place("tls://[::1]:4000?framing=stp"), "tls://[::1]:4000");
        assert_eq!(reason("tls://h"), "the port is missing, write tls://HOST:PORT");
    }

    #[test]
    fn a_scheme_whose_feature_is_off_says_which() {
        let serves_websockets = cfg!(feature = "websocket");
        for (scheme, is_on, needs) in [
            ("tls", cfg!(feature = "tls"), "feature `tls`"),
            ("ws", serves_websockets, "feature `websocket`"),
            ("wss", serves_websockets && cfg!(feature = "tls"), "features `websocket` and `tls`"),
            #[cfg(unix)]
            ("serial", cfg!(feature = "serial"), "feature `serial`"),
            #[cfg(unix)]
            ("unix", cfg!(feature = "unix"), "feature `unix`"),
            #[cfg(unix)]
            ("systemd", cfg!(feature = "unix"), "feature `unix`"),
        ] {
            let expected = format!("the scheme `{scheme}` needs the {needs} of socketproto");
            let understood = parse(&format!("{scheme}://x")).map(|_| ());
            assert_eq!(understood == Err(expected), !is_on, "{scheme}: {understood:?}");
        }
    }

    #[cfg(all(unix, feature = "serial"))]
    #[test]
    fn a_serial_line_implies_how_it_is_spoken_on() {
        let address = Address::parse("serial:///dev/ttyS0?peer=old&line=on&framing=stp&baud=300").unwrap();
        assert_eq!(address.place.to_string(), "serial:///dev/ttyS0?baud=300");
        let Options { framing, old_peer, lossy, serial, line_rate, .. } = address.options;
        assert_eq!((framing, old_peer, lossy, serial), (Some(Framing::Stp), true, true, true));
        assert_eq!(line_rate, Some(30), "300 baud, ten bits a byte");
        let slower = Address::parse("serial:///dev/ttyS0?baud=300&parity=even&stop=2").unwrap();
        assert_eq!(slower.options.line_rate, Some(25));
        assert!(!Address::parse("tcp://h:1?line=on").unwrap().options.serial);
    }

    #[cfg(all(unix, feature = "serial"))]
    #[test]
    fn each_mistake_in_the_address_of_a_serial_line_has_its_own_sentence() {
        let cases = [
            ("serial://", "the path is missing, write serial:///dev/ttyUSB0"),
            ("serial://dev/ttyUSB0", "the path begins at the root, write serial:///dev/ttyUSB0"),
            ("serial:///dev/x?baud=fast", "the rate `fast` is not a number, write baud=115200"),
            ("serial:///dev/x?baud=49", "the rate 49 is outside 50 to 4000000 baud"),
            ("serial:///dev/x?baud=4000001", "the rate 4000001 is outside"),
            ("serial:///dev/x?parity=mark", "the option `parity=mark` has no such value"),
            ("serial:///dev/x?stop=1.5", "the option `stop=1.5` has no such value"),
            ("serial:///dev/x?flow=software", "the option `flow=software` has no such value"),
            ("serial:///dev/x?echo=yes", "the option `echo=yes` has no such value"),
            ("serial:///dev/x?framing=length", "a serial line needs STP framing"),
            ("serial:///dev/x?line=off", "a serial line is always one that loses bytes"),
            ("serial:///dev/x?data=7", "the option `data` is unknown; a serial line has baud"),
            ("serial:///dev/x?format=xml", "the option `format=xml` has no such value"),
        ];
        for (text, expected) in cases {
            assert!(reason(text).starts_with(expected), "{text}: {}", reason(text));
        }
    }

    #[test]
    fn each_mistake_has_its_own_sentence() {
        let cases = [
            ("127.0.0.1:80", "the scheme is missing"),
            ("http://h:1", "the scheme `http` is unknown"),
            ("tcp://h", "the port is missing"),
            ("tcp://h:", "the port is missing"),
            ("tcp://[::1]", "the port is missing"),
            ("tcp://h:99999", "the port `99999` is not a number"),
            ("tcp://h:x", "the port `x` is not a number"),
            ("tcp://:80", "the host is missing"),
            ("tcp://::1:80", "an IPv6 address stands in brackets"),
            ("tcp://[::1:80", "the bracket of the IPv6 address is not closed"),
            ("tcp://h:1?framing=udp", "the option `framing=udp` has no such value"),
            ("tcp://h:1?line=noisy", "the option `line=noisy` has no such value"),
            ("tcp://h:1?line=on&framing=length", "line=on needs STP framing"),
            ("mem://?framing=length&peer=old", "a peer of the Python library speaks STP framing alone"),
            ("tcp://h:1?speed=9600", "the option `speed` is unknown"),
            ("tcp://h:1?ping=9", "the option `ping` is unknown"),
            ("tcp://h:1?peer=old&line=on&peer=new", "the option `peer` stands there twice"),
        ];
        for (text, expected) in cases {
            assert!(reason(text).starts_with(expected), "{text}: {}", reason(text));
        }
    }

    #[cfg(feature = "websocket")]
    #[test]
    fn websocket_addresses_have_a_path_and_a_ping() {
        for (text, shown) in [
            ("ws://127.0.0.1:0", "ws://127.0.0.1:0"),
            ("ws://127.0.0.1:0/", "ws://127.0.0.1:0"),
            ("ws://[::1]:80/rooms/living%20room?ping=9&framing=length", "ws://[::1]:80/rooms/living%20room"),
            ("ws://device.example:80?ping=off", "ws://device.example:80"),
        ] {
            assert_eq!(place(text), shown);
        }
        for (text, expected) in [
            ("ws://h", "the port is missing, write ws://HOST:PORT"),
            ("ws://h/path", "the port is missing, write ws://HOST:PORT"),
            ("ws://h:1/a b", "the path has the character ' '; write it percent-encoded, as %20"),
            ("ws://h:1/a#b", "the path has the character '#'; write it percent-encoded, as %23"),
            ("ws://h:1/\u{e4}", "the path has the character '\u{e4}'; write it percent-encoded, as %C3%A4"),
            ("ws://h:1?ping=0", "the option `ping=0` has no such value, write ping=off or ping=SECONDS"),
            ("ws://h:1?ping=1.5", "the option `ping=1.5` has no such value"),
            ("ws://h:1?ping", "the option `ping=` has no such value"),
            ("ws://h:1?framing=stp", "framing=stp does not go over a WebSocket"),
            ("ws://h:1?peer=old", "peer=old does not go over a WebSocket"),
            ("ws://h:1?line=on", "line=on does not go over a WebSocket"),
        ] {
            assert!(reason(text).starts_with(expected), "{text}: {}", reason(text));
        }
        let error = Address::parse("ws://h:1").unwrap().set_old_peer().unwrap_err().to_string();
        assert!(error.starts_with("address `ws://h:1`: peer=old does not go over a WebSocket"), "{error}");
        assert!(Address::parse("tcp://h:1").unwrap().set_old_peer().is_ok());
    }
}
