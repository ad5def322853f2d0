//! `ws://HOST:PORT/PATH`, and the same with `wss`.

use std::fmt;
use std::time::Duration;

use crate::framing::Framing;
use crate::transport::Options;
use crate::transport::address::wrong_value;
use crate::transport::host::HostPort;

/// A line that is silent for this time is pinged: proxies often cut one that is silent for 60 s.
const PING: Duration = Duration::from_secs(30);

/// A WebSocket inside TLS.
const WSS: &str = "wss";

/// Where a WebSocket is, and how it is kept alive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    scheme: &'static str,
    pub(super) host: HostPort,
    /// Begins with a slash.
    pub(super) path: String,
    /// After which silence a ping is sent; none where it never is.
    pub(super) ping: Option<Duration>,
}

impl Place {
    /// At the root of a listener.
    pub(crate) fn new(host: HostPort) -> Self {
        Self { scheme: "ws", host, path: "/".to_owned(), ping: Some(PING) }
    }

    /// Understands `HOST:PORT/PATH` of an address `SCHEME://HOST:PORT/PATH`.
    pub(crate) fn parse(scheme: &str, text: &str) -> Result<Self, String> {
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let mut place = Self::new(HostPort::parse(scheme, host)?);
        if let Some(character) = path.chars().find(|c| !c.is_ascii_graphic() || "#\"<>\\^`{|}".contains(*c)) {
            let encoded: String = character.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            return Err(format!(
                "the path has the character {character:?}; write it percent-encoded, as {encoded}"
            ));
        }
        if scheme == WSS {
            place.scheme = WSS;
        }
        if !path.is_empty() {
            place.path = path.to_owned();
        }
        Ok(place)
    }

    /// `ws` or `wss`.
    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether it is inside TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == WSS
    }

    /// Takes an option of this scheme; false where it has no such option.
    pub(crate) fn set_option(&mut self, name: &str, value: &str) -> Result<bool, String> {
        const LONGEST: u64 = 86_400;
        if name != "ping" {
            return Ok(false);
        }
        self.ping = match (value, value.parse()) {
            ("off", _) => None,
            (_, Ok(seconds @ 1..=LONGEST)) => Some(Duration::from_secs(seconds)),
            _ => return Err(wrong_value(name, value, "ping=off or ping=SECONDS, 1 to 86400")),
        };
        Ok(true)
    }

    /// One binary message carries one frame, so there is nothing that tells frames apart in another way.
    pub(crate) fn check(options: &Options) -> Result<(), String> {
        let option = match options {
            Options { lossy: true, .. } => "line=on",
            Options { old_peer: true, .. } => "peer=old",
            Options { framing: Some(Framing::Stp), .. } => "framing=stp",
            _ => return Ok(()),
        };
        Err(format!(
            "{option} does not go over a WebSocket, where one message is one frame; use tcp://, or leave it out"
        ))
    }

    /// The URL that a request is made of.
    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, shown(&self.path))
    }
}

/// A path as addresses show it.
pub(super) fn shown(path: &str) -> &str {
    if path == "/" { "" } else { path }
}
