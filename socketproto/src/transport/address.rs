//! Addresses: `SCHEME://PLACE?OPTION=VALUE&..`.

use std::fmt;

use crate::error::Error;
use crate::frame::Format;
use crate::framing::Framing;

/// An address, understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    /// A listener's framing; none where the first byte tells it.
    pub(crate) framing: Option<Framing>,
    /// The format of what is sent before anything was received.
    pub(crate) format: Format,
    /// The peer is one of the Python library: STP, no HELLO.
    pub(crate) old_peer: bool,
    /// The line loses or garbles bytes, as behind a bridge to a serial line: STP, and noise is no error.
    pub(crate) lossy: bool,
}

/// Where to listen or connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Memory { name: String },
}

impl Address {
    /// Understands an address.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| Error::Address { address: text.into(), reason: reason.into() })
    }
}

fn parse(text: &str) -> Result<Address, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("the scheme is missing, write tcp://HOST:PORT or mem://NAME".to_owned());
    };
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let place = match scheme {
        "tcp" => tcp(place)?,
        "mem" => Place::Memory { name: place.to_owned() },
        _ => return Err(format!("the scheme `{scheme}` is unknown; this version has tcp and mem")),
    };
    let mut address = Address { place, framing: None, format: Format::Json, old_peer: false, lossy: false };
    for option in options.split('&').filter(|option| !option.is_empty()) {
        set_option(&mut address, option)?;
    }
    if address.lossy && address.framing == Some(Framing::Length) {
        return Err("line=on needs STP framing: length framing cannot find the next frame again".to_owned());
    }
    Ok(address)
}

fn tcp(place: &str) -> Result<Place, String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or("the bracket of the IPv6 address is not closed, write tcp://[::1]:PORT")?;
            (host, after.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("an IPv6 address stands in brackets, write tcp://[::1]:PORT".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.filter(|port| !port.is_empty()).ok_or("the port is missing, write tcp://HOST:PORT")?;
    let port = port.parse().map_err(|_| format!("the port `{port}` is not a number from 0 to 65535"))?;
    if host.is_empty() {
        return Err("the host is missing, write tcp://HOST:PORT, for example tcp://127.0.0.1:0".to_owned());
    }
    Ok(Place::Tcp { host: host.to_owned(), port })
}

fn set_option(address: &mut Address, option: &str) -> Result<(), String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match (name, value) {
        ("framing", "stp") => address.framing = Some(Framing::Stp),
        ("framing", "length") => address.framing = Some(Framing::Length),
        ("format", "json") => address.format = Format::Json,
        ("format", "struct") => address.format = Format::Struct,
        ("peer", "old") => address.old_peer = true,
        ("peer", "new") => address.old_peer = false,
        ("line", "on") => address.lossy = true,
        ("line", "off") => address.lossy = false,
        ("framing", _) => return Err(wrong_value(option, "framing=stp or framing=length")),
        ("format", _) => return Err(wrong_value(option, "format=json or format=struct")),
        ("peer", _) => return Err(wrong_value(option, "peer=old or peer=new")),
        ("line", _) => return Err(wrong_value(option, "line=on or line=off")),
        _ => return Err(format!("the option `{name}` is unknown; there are framing, format, peer and line")),
    }
    Ok(())
}

fn wrong_value(option: &str, expected: &str) -> String {
    format!("the option `{option}` has no such value, write {expected}")
}

/// The address of the place alone, as a URL.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Memory { name } => write!(f, "mem://{name}"),
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

    #[test]
    fn options_are_understood() {
        let address = Address::parse("tcp://h:1?framing=stp&format=struct&peer=old").unwrap();
        assert_eq!(
            (address.framing, address.format, address.old_peer),
            (Some(Framing::Stp), Format::Struct, true)
        );
        let address = Address::parse("tcp://h:1?framing=length&format=json&peer=new").unwrap();
        assert_eq!(
            (address.framing, address.format, address.old_peer),
            (Some(Framing::Length), Format::Json, false)
        );
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
        ];
        for (text, expected) in cases {
            assert!(reason(text).starts_with(expected), "{text}: {}", reason(text));
        }
    }
}
