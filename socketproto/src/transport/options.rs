//! The options of addresses, behind the `?`.

use crate::error::Error;
use crate::frame::Format;
use crate::framing::Framing;

/// How to speak there: the options that addresses of every scheme take.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Options {
    /// None: a listener is told it by the first byte, a client speaks length framing unless its peer is old.
    pub(crate) framing: Option<Framing>,
    /// The format of what is sent before anything was received.
    pub(crate) format: Format,
    /// The peer is one of the Python library: STP, no HELLO.
    pub(crate) old_peer: bool,
    /// The line loses or garbles bytes, as behind a bridge to a serial line: STP, and noise is no error.
    pub(crate) lossy: bool,
    /// The line has no end of connection, and is lossy.
    pub(crate) serial: bool,
    /// Bytes a second of a line that has a rate.
    pub(crate) line_rate: Option<usize>,
}

impl Options {
    /// The options of an own transport's address.
    pub(crate) fn of(address: &str) -> Result<Self, Error> {
        let (_, text) = address.split_once('?').unwrap_or((address, ""));
        Self::parse(text).map_err(|reason| mistake(address, reason))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in each_option(text)? {
            options.set(name, value)?;
        }
        options.check()?;
        Ok(options)
    }

    /// The peer is one of the Python library, at an own transport's address.
    ///
    /// # Errors
    /// [`Error::Address`] where none can be.
    pub(crate) fn set_old_peer(&mut self, address: &str) -> Result<(), Error> {
        self.old_peer = true;
        self.check().map_err(|reason| mistake(address, reason))
    }

    /// Whether they go together. What loses bytes, and peers of the Python library, have STP alone.
    pub(super) fn check(&self) -> Result<(), String> {
        let reason = match self {
            Self { framing: Some(Framing::Length), lossy: true, .. } => {
                "line=on needs STP framing: length framing cannot find the next frame again"
            }
            Self { framing: Some(Framing::Length), old_peer: true, .. } => {
                "a peer of the Python library speaks STP framing alone; leave framing=length out, or peer=old"
            }
            _ => return Ok(()),
        };
        Err(reason.to_owned())
    }

    /// Whether a WebSocket can be spoken on so: one binary message carries one frame, and nothing else tells them apart.
    pub(super) fn check_for_websocket(&self) -> Result<(), String> {
        let option = match self {
            Self { lossy: true, .. } => "line=on",
            Self { old_peer: true, .. } => "peer=old",
            Self { framing: Some(Framing::Stp), .. } => "framing=stp",
            _ => return Ok(()),
        };
        Err(format!(
            "{option} does not go over a WebSocket, where one message is one frame; use tcp://, or leave it out"
        ))
    }

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
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

/// The options behind the `?`, by name and value; each stands there once.
pub(super) fn each_option(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut found = Vec::<(&str, &str)>::new();
    for option in text.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if found.iter().any(|(other, _)| *other == name) {
            return Err(format!("the option `{name}` stands there twice, leave one of them out"));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// What is wrong with an address.
pub(super) fn mistake(address: &str, reason: String) -> Error {
    Error::Address { address: address.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood() {
        let options = Options::of("own://h?framing=stp&format=struct&peer=old").unwrap();
        assert_eq!(
            (options.framing, options.format, options.old_peer),
            (Some(Framing::Stp), Format::Struct, true)
        );
        let options = Options::of("own://h?framing=length&format=json&peer=new").unwrap();
        assert_eq!(
            (options.framing, options.format, options.old_peer),
            (Some(Framing::Length), Format::Json, false)
        );
        assert!(Options::of("own://anything?line=on").unwrap().lossy);
        let error = Options::of("own://anything?baud=9600").unwrap_err().to_string();
        assert!(error.contains("the option `baud` is unknown"), "{error}");
        let error = Options::of("own://anything?line=on&framing=length").unwrap_err().to_string();
        assert!(error.contains("line=on needs STP framing"), "{error}");
        let mut options = Options::of("own://anything?framing=length").unwrap();
        let error = options.set_old_peer("own://anything").unwrap_err().to_string();
        assert!(error.contains("speaks STP framing alone"), "{error}");
    }
}
