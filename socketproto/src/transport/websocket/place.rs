//! `ws://HOST:PORT/PATH`, and the same with `wss`.

use std::fmt;
use std::time::Duration;

use crate::transport::host::HostPort;
use crate::transport::options::wrong_value;

/// A line that is silent for this time is pinged: proxies often cut one that is silent for 60 s.
pub(super) const PING: Duration = Duration::from_secs(30);

/// The path unless one is said.
pub(super) const ROOT: &str = "/";

/// A WebSocket inside TLS.
const WSS: &str = "wss";

/// Where a WebSocket is, and how it is kept alive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    scheme: &'static str,
    pub(crate) host: HostPort,
    /// Begins with a slash.
    pub(super) path: String,
    /// After which silence a ping is sent; none where it never is.
    pub(super) ping: Option<Duration>,
}

impl Place {
    /// Understands `HOST:PORT/PATH` of an address `SCHEME://HOST:PORT/PATH`.
    pub(crate) fn parse(scheme: &str, text: &str) -> Result<Self, String> {
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let host = HostPort::parse(scheme, host)?;
        if let Some(character) = path.chars().find(|c| !c.is_ascii_graphic() || "#\"<>\\^`{|}".contains(*c)) {
            let encoded: String = character.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            return Err(format!(
                "the path has the character {character:?}; write it percent-encoded, as {encoded}"
            ));
        }
        let scheme = if scheme == WSS { WSS } else { "ws" };
        let path = if path.is_empty() { ROOT } else { path }.to_owned();
        Ok(Self { scheme, host, path, ping: Some(PING) })
    }

    /// `ws` or `wss`.
    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether it is inside TLS.
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
    if path == ROOT { "" } else { path }
}
