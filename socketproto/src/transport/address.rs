//! Addresses: `SCHEME://PLACE?OPTION=VALUE&..`.

use std::fmt;

use crate::error::Error;
use crate::frame::Format;
use crate::framing::Framing;
use crate::transport::host::HostPort;
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

/// How to speak there: the options that addresses of every scheme take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Options {
    /// A listener's framing; none where the first byte tells it.
    pub(crate) framing: Option<Framing>,
    /// The format of what is sent before anything was received.
    pub(crate) format: Format,
    /// The peer is one of the Python library: STP, no HELLO.
    pub(crate) old_peer: bool,
    /// The line loses or garbles bytes, as behind a bridge to a serial line: STP, and noise is no error.
    pub(crate) lossy: bool,
    /// The line has no end of connection, and is lossy.
    pub(crate) serial: bool,
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
        self.place.check(&self.options).map_err(|reason| mistake(&self.place.to_string(), reason))
    }
}

fn mistake(address: &str, reason: String) -> Error {
    Error::Address { address: address.into(), reason: reason.into() }
}

fn parse(text: &str) -> Result<Address, String> {
    let (place, options) = text.split_once('?').unwrap_or((text, ""));
    let mut place = Place::parse(place)?;
    let mut options = Options::parse(options, |name, value| place.set_option(name, value))?;
    place.check(&options)?;
    place.imply(&mut options);
    Ok(Address { place, options })
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
            #[cfg(not(feature = "tls"))]
            "tls" => Err(needs_feature(scheme, "tls")),
            #[cfg(feature = "websocket")]
            "ws" => websocket::Place::parse(scheme, place).map(Self::WebSocket),
            #[cfg(all(feature = "websocket", feature = "tls"))]
            "wss" => websocket::Place::parse(scheme, place).map(Self::WebSocket),
            #[cfg(all(feature = "websocket", not(feature = "tls")))]
            "wss" => Err(needs_feature(scheme, "tls")),
            #[cfg(not(feature = "websocket"))]
            "ws" | "wss" => Err(needs_feature(scheme, "websocket")),
            "mem" => Ok(Self::Memory { name: place.to_owned() }),
            #[cfg(all(unix, feature = "serial"))]
            "serial" => Serial::parse(place).map(Self::Serial),
            #[cfg(all(unix, not(feature = "serial")))]
            "serial" => Err(needs_feature(scheme, "serial")),
            #[cfg(not(unix))]
            "serial" => Err("the scheme `serial` needs a Unix system in this version".to_owned()),
            #[cfg(all(unix, feature = "unix"))]
            "unix" => SocketPath::parse(place).map(Self::Unix),
            #[cfg(all(unix, feature = "unix"))]
            "systemd" => Ok(Self::Systemd(Descriptor::parse(place))),
            #[cfg(not(all(unix, feature = "unix")))]
            "unix" | "systemd" if cfg!(unix) => Err(needs_feature(scheme, "unix")),
            #[cfg(not(all(unix, feature = "unix")))]
            "unix" | "systemd" => Err(format!("the scheme `{scheme}` is for Unix systems, use tcp")),
            _ => Err(format!(
                "the scheme `{scheme}` is unknown; there are tcp, tls, ws, wss, unix, systemd, serial and mem"
            )),
        }
    }

    /// Whether TLS belongs to the scheme.
    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            #[cfg(feature = "websocket")]
            Self::WebSocket(place) => place.is_tls(),
            Self::Tcp(_) | Self::Memory { .. } => false,
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) | Self::Systemd(_) => false,
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(_) => false,
        }
    }

    /// Whether a listener there can take TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn can_take_tls(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Tls(_) => true,
            #[cfg(feature = "websocket")]
            Self::WebSocket(_) => true,
            Self::Memory { .. } => false,
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) | Self::Systemd(_) => false,
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(_) => false,
        }
    }

    /// Takes an option of this scheme alone; false where it has no such option.
    fn set_option(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let _ = (name, value);
        match self {
            Self::Tcp(_) | Self::Memory { .. } => Ok(false),
            #[cfg(feature = "tls")]
            Self::Tls(_) => Ok(false),
            #[cfg(feature = "websocket")]
            Self::WebSocket(place) => place.set_option(name, value),
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(serial) => serial.set_option(name, value),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(place) => place.set_option(name, value),
            #[cfg(all(unix, feature = "unix"))]
            Self::Systemd(_) => Ok(false),
        }
    }

    /// What the options of every scheme cannot say of this one.
    fn check(&self, options: &Options) -> Result<(), String> {
        let _ = options;
        match self {
            Self::Tcp(_) | Self::Memory { .. } => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(_) => Ok(()),
            #[cfg(feature = "websocket")]
            Self::WebSocket(_) => websocket::Place::check(options),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix(_) | Self::Systemd(_) => Ok(()),
            #[cfg(all(unix, feature = "serial"))]
            Self::Serial(_) => Ok(()),
        }
    }

    /// Sets what a scheme leaves no choice in.
    fn imply(&self, options: &mut Options) {
        let _ = &options;
        #[cfg(all(unix, feature = "serial"))]
        if let Self::Serial(_) = self {
            options.framing = Some(Framing::Stp);
            (options.lossy, options.serial) = (true, true);
        }
    }
}

impl Options {
    /// The options of an own transport's address.
    pub(crate) fn of(address: &str) -> Result<Self, Error> {
        let (_, options) = address.split_once('?').unwrap_or((address, ""));
        Self::parse(options, |_, _| Ok(false)).map_err(|reason| mistake(address, reason))
    }

    /// Understands what stands behind the `?`; `own` is asked first.
    fn parse(text: &str, mut own: impl FnMut(&str, &str) -> Result<bool, String>) -> Result<Self, String> {
        let mut options =
            Self { framing: None, format: Format::Json, old_peer: false, lossy: false, serial: false };
        let mut seen = Vec::new();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if seen.contains(&name) {
                return Err(format!("the option `{name}` stands there twice, leave one of them out"));
            }
            seen.push(name);
            if !own(name, value)? {
                options.set(name, value)?;
            }
        }
        if options.lossy && options.framing == Some(Framing::Length) {
            return Err(
                "line=on needs STP framing: length framing cannot find the next frame again".to_owned()
            );
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("framing", "stp") => self.framing = Some(Framing::Stp),
            ("framing", "length") => self.framing = Some(Framing::Length),
            ("format", "json") => self.format = Format::Json,
            ("format", "struct") => self.format = Format::Struct,
            ("peer", "old") => self.old_peer = true,
            ("peer", "new") => self.old_peer = false,
            ("line", "on") => self.lossy = true,
            ("line", "off") => self.lossy = false,
            ("framing", _) => return Err(wrong_value(name, value, "framing=stp or framing=length")),
            ("format", _) => return Err(wrong_value(name, value, "format=json or format=struct")),
            ("peer", _) => return Err(wrong_value(name, value, "peer=old or peer=new")),
            ("line", _) => return Err(wrong_value(name, value, "line=on or line=off")),
            _ => {
                return Err(format!(
                    "the option `{name}` is unknown; there are framing, format, peer and line"
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn wrong_value(name: &str, value: &str, expected: &str) -> String {
    format!("the option `{name}={value}` has no such value, write {expected}")
}

#[cfg(not(all(feature = "tls", feature = "websocket")))]
fn needs_feature(scheme: &str, feature: &str) -> String {
    format!("the scheme `{scheme}` needs the feature `{feature}` of socketproto")
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

    #[cfg(all(unix, not(feature = "unix")))]
    #[test]
    fn without_the_feature_its_schemes_name_it() {
        for text in ["unix:///run/x.sock", "systemd://"] {
            assert!(reason(text).ends_with("needs the feature `unix` of socketproto"), "{}", reason(text));
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn tls_has_places_as_tcp_has() {
        assert_eq!(place("tls://[::1]:4000?framing=stp"), "tls://[::1]:4000");
        assert_eq!(reason("tls://h"), "the port is missing, write tls://HOST:PORT");
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn a_scheme_whose_feature_is_off_says_which() {
        assert_eq!(reason("tls://h:1"), "the scheme `tls` needs the feature `tls` of socketproto");
    }

    #[test]
    fn options_are_understood() {
        let options = Address::parse("tcp://h:1?framing=stp&format=struct&peer=old").unwrap().options;
        assert_eq!(
            (options.framing, options.format, options.old_peer),
            (Some(Framing::Stp), Format::Struct, true)
        );
        let options = Address::parse("tcp://h:1?framing=length&format=json&peer=new").unwrap().options;
        assert_eq!(
            (options.framing, options.format, options.old_peer),
            (Some(Framing::Length), Format::Json, false)
        );
        assert!(Options::of("own://anything?line=on").unwrap().lossy);
        let error = Options::of("own://anything?baud=9600").unwrap_err().to_string();
        assert!(error.contains("the option `baud` is unknown"), "{error}");
    }

    #[cfg(all(unix, feature = "serial"))]
    #[test]
    fn a_serial_line_implies_how_it_is_spoken_on() {
        let address = Address::parse("serial:///dev/ttyS0?peer=old&line=on&framing=stp&baud=300").unwrap();
        assert_eq!(address.place.to_string(), "serial:///dev/ttyS0?baud=300");
        let Options { framing, old_peer, lossy, serial, .. } = address.options;
        assert_eq!((framing, old_peer, lossy, serial), (Some(Framing::Stp), true, true, true));
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
            ("tcp://h:1?speed=9600", "the option `speed` is unknown"),
            ("tcp://h:1?ping=9", "the option `ping` is unknown"),
            ("tcp://h:1?peer=old&line=on&peer=new", "the option `peer` stands there twice"),
            #[cfg(all(unix, not(feature = "serial")))]
            ("serial:///dev/x", "the scheme `serial` needs the feature `serial`"),
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

    #[cfg(not(feature = "websocket"))]
    #[test]
    fn a_scheme_without_its_feature_says_so() {
        assert_eq!(reason("ws://h:1"), "the scheme `ws` needs the feature `websocket` of socketproto");
    }
}
