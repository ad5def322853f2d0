//! `HOST:PORT`, as addresses of several schemes have it.

use std::fmt;

/// A host and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HostPort {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HostPort {
    /// Understands `HOST:PORT` of an address `SCHEME://HOST:PORT`.
    pub(super) fn parse(scheme: &str, place: &str) -> Result<Self, String> {
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| {
                    format!("the bracket of the IPv6 address is not closed, write {scheme}://[::1]:PORT")
                })?;
                (host, after.strip_prefix(':'))
            }
            None => match place.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(format!("an IPv6 address stands in brackets, write {scheme}://[::1]:PORT"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port
            .filter(|port| !port.is_empty())
            .ok_or_else(|| format!("the port is missing, write {scheme}://HOST:PORT"))?;
        let port = port.parse().map_err(|_| format!("the port `{port}` is not a number from 0 to 65535"))?;
        if host.is_empty() {
            return Err(format!(
                "the host is missing, write {scheme}://HOST:PORT, for example {scheme}://127.0.0.1:0"
            ));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
