//! What an endpoint gives each of its sessions.

use std::sync::Arc;

use crate::frame::Format;
use crate::framing::Framing;
use crate::limits::Limits;
use crate::session::dispatch::Dispatch;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Connects, starts the exchanges of protocol.md section 4, proves the secret.
    Client,
    /// Accepts.
    Server,
}

/// What an endpoint gives each of its sessions.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) role: Role,
    /// 16 hex digits, new at every start of the endpoint.
    pub(crate) session: Arc<str>,
    pub(crate) channel_name: Option<Arc<str>>,
    /// Whether a secret is set; the secret itself is the authenticator's.
    pub(crate) secret: bool,
    /// Client: whether it is proved by secure mode; server: whether it can be (protocol.md 5.2).
    pub(crate) secure: bool,
    /// Client: whether it is proved by a key; server: whether it can be (protocol.md 5.1).
    pub(crate) legacy: bool,
    /// Client: whether even a seed is answered that says of its server that it knows secure mode: for tests of it.
    pub(crate) ignore_sentinel: bool,
    /// Server: whether a certificate that the line has proved is taken for the secret.
    pub(crate) trust_certificates: bool,
    /// Client: whether to authenticate at once; else being trusted is no part of being ready.
    pub(crate) auto_auth: bool,
    /// Client: whether another line follows when one is lost; calls then wait for it.
    pub(crate) reconnect: bool,
    /// Client: whether the peer is new, so that it answers HELLO.
    pub(crate) hello: bool,
    /// None: told by the first byte.
    pub(crate) framing: Option<Framing>,
    /// The format used before the first valid frame came.
    pub(crate) format: Format,
    /// The line loses or garbles bytes: damage is counted, never the end.
    pub(crate) lossy: bool,
    /// The line has no end of connection (protocol.md section 4), and is lossy.
    pub(crate) serial: bool,
    /// Bytes a second of a line that has a rate.
    pub(crate) line_rate: Option<usize>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) dispatch: Arc<Dispatch>,
}

impl Config {
    /// Whether records are payloads of STP, so that they may be lost, and one session takes the place of another on one
    /// line (protocol.md section 4).
    pub(super) fn rekeys(&self, framing: Option<Framing>) -> bool {
        self.secure && framing == Some(Framing::Stp)
    }
}
