//! What the session tells its owner.

use std::fmt;
use std::time::Duration;

use crate::id::Status;
use crate::limits::{Breach, Limit};
use crate::message::{Header, Json, Message};
use crate::secure::{Accepted, Channel, Initiator, Offer, Refused};

/// Names a request of the peer until it is answered.
pub(crate) type RequestId = u64;

/// Names a call of ours until it is over; chosen by who calls.
pub(crate) type CallKey = u64;

/// Something the owner has to do or may want to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// Give the message to the handler; its outcome comes back through `handle_reply`.
    Dispatch(Incoming),
    /// The handler took too long and its caller has been told; what still runs may stop.
    Expired { request: RequestId, handler: usize },
    /// The caller has gone; what still runs may stop, nothing is answered.
    Cancelled { request: RequestId, handler: usize },
    /// A call is over.
    Completed { call: CallKey, outcome: CallOutcome },
    /// Ask the authenticator; its answer comes back through `handle_auth_answer`.
    Ask(AuthQuestion),
    /// The peer has failed to prove the secret; whoever knows its address penalises it. Kept also where it is the end.
    WrongKey,
    /// Calls can be made.
    Ready,
}

/// A message on its way to a handler.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) request: RequestId,
    /// Which handler of the endpoint takes it, and which entry of its table.
    pub(crate) handler: usize,
    pub(crate) entry: usize,
    pub(crate) name: &'static str,
    pub(crate) header: Header,
    pub(crate) data: Json,
}

/// How a call ended.
pub(crate) type CallOutcome = Result<Done, CallFailure>;

/// What a call came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Done {
    /// The peer answered a request.
    Answered(Status, Json),
    /// The transport has taken a message.
    Sent,
    /// A message for `receive`.
    Received(Box<Received>),
    /// This side is trusted.
    Trusted,
}

/// A message for `receive`, and the line that it came on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Received {
    pub(crate) message: Message,
    pub(crate) line: u64,
}

/// Why a call has no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CallFailure {
    TimedOut,
    Lost(CloseReason),
    /// It has not left: its time was over before, or the connection, for this reason.
    Unsent(Option<CloseReason>),
    NotSendable(String),
    UnknownService,
    /// The authentication has failed, or there is none.
    NotTrusted(&'static str),
}

/// What the session asks the one who knows the secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum AuthQuestion {
    /// A new seed.
    Seed,
    /// Does the key prove the secret for this seed? A key that is no text is none.
    Verify { seed: String, key: Option<String> },
    /// The key for this seed.
    Prove { seed: String },
    /// A handshake as the client.
    Offer,
    /// Does this handshake of a client prove a secret?
    Accept(Offer),
}

/// What the authenticator answers.
#[derive(Debug)]
pub(crate) enum AuthAnswer {
    /// A seed; none where there are no random numbers.
    Seed(Option<String>),
    Verdict(bool),
    Key(String),
    /// A handshake; none where there are no random numbers.
    Offered(Option<Box<(Initiator, Offer)>>),
    /// Its answer, and what follows it, unless it does not prove the secret; none where there are no random numbers.
    Accepted(Option<Result<Box<(Channel, Accepted)>, Refused>>),
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CloseReason {
    /// There is none yet.
    NotConnected,
    /// The peer closed it.
    Peer,
    /// This side closed it.
    Local,
    /// The transport failed.
    Transport(String),
    /// The peer does not keep the rules of the transport.
    Violation(String),
    /// Both sides are there, and cannot come together; where it lasts, until somebody changes something.
    Handshake {
        reason: String,
        lasting: bool,
    },
    /// The server speaks TLS.
    TlsServer,
    /// It answers as a web server.
    HttpServer,
    /// The first byte starts no framing that is taken here.
    UnknownFraming(u8),
    FrameTooLarge {
        found: usize,
        limit: usize,
        setting: &'static str,
    },
    BufferTooLarge {
        found: usize,
        limit: usize,
        setting: &'static str,
    },
    /// The line was not there in time.
    HandshakeTimeout(Duration),
    /// Nothing came.
    FirstByteTimeout(Duration),
    /// No trust in time.
    TrustTimeout {
        setting: Limit,
        limit: Duration,
    },
    /// A frame has begun and does not end.
    FrameTimeout {
        found: usize,
        limit: Duration,
        /// What gives it one second more.
        rate: usize,
    },
    /// Bytes waited and none left.
    WriteTimeout(Duration),
    /// No byte came, although it was asked for.
    HeartbeatTimeout(Duration),
    TooManyProtocolErrors(u32),
    /// More frames than a peer without trust may send.
    TooManyFrames(u32),
    /// The peer has guessed often enough.
    TooManyWrongKeys(u32),
    /// What every new peer knows was not answered.
    PeerTooOld(&'static str),
    /// The server does not prove the secret, or refuses this side's proof.
    WrongSecret,
    /// A client of the lower level meets a server that knows the higher one.
    PeerCanDoSecure,
    /// The client's handshake was none, or did not prove the secret.
    HandshakeRefused(&'static str),
    /// A client said more than a handshake begins with.
    BytesBehindOffer,
    /// A record was changed, or is none.
    BadRecord,
    /// The line has ended, and nobody who proved the secret said that it would; what the line itself said.
    Truncated(String),
    /// The peer closed it, and said why.
    Said(String),
    /// The client's authentication failed.
    AuthenticationFailed(&'static str),
    /// The HELLO is our own.
    Echo,
    /// The peer says HELLO as another than before, on a line that has no end of connection.
    PeerRestarted,
    /// The peer on such a line ends the session, for this reason; the line goes on.
    PeerLeft(String),
    /// Nobody has answered on such a line; whether it echoes.
    NoAnswer {
        echoes: bool,
    },
    /// All connections together hold too much, and this one most.
    MemoryExceeded {
        held: usize,
        limit: usize,
    },
    /// The application could not make the connection's own service.
    ServiceFailed,
    /// The application wants another line.
    Reconnect,
}

impl CloseReason {
    /// The limit that was exceeded, where one was.
    pub(crate) fn breach(&self) -> Option<Breach> {
        let breach = match *self {
            Self::FrameTooLarge { found, limit, setting } => {
                Breach::new(Limit::named(setting).unwrap_or(Limit::MaxFrame), found, limit)
            }
            Self::BufferTooLarge { found, limit, setting } => {
                Breach::new(Limit::named(setting).unwrap_or(Limit::MaxUnsent), found, limit)
            }
            Self::HandshakeTimeout(limit) | Self::FirstByteTimeout(limit) => {
                Breach::late(Limit::FirstByteTimeout, limit)
            }
            Self::TrustTimeout { setting, limit } => Breach::late(setting, limit),
            Self::FrameTimeout { limit, .. } => Breach::late(Limit::FrameTimeout, limit),
            Self::WriteTimeout(limit) => Breach::late(Limit::WriteTimeout, limit),
            Self::HeartbeatTimeout(limit) => Breach::late(Limit::HeartbeatTimeout, limit),
            Self::TooManyProtocolErrors(limit) => {
                Breach::new(Limit::ProtocolErrors, limit.saturating_add(1), limit)
            }
            Self::TooManyFrames(limit) => Breach::new(Limit::UntrustedFrames, limit.saturating_add(1), limit),
            Self::MemoryExceeded { held, limit } => Breach::new(Limit::MaxMemory, held, limit),
            // Each key has been counted.
            _ => return None,
        };
        Some(breach.with_detail(self.to_string()))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected yet"),
            Self::Peer => f.write_str("closed by the peer"),
            Self::PeerLeft(reason) if reason.is_empty() => f.write_str("closed by the peer"),
            Self::Local => f.write_str("closed by this side"),
            Self::Transport(error) | Self::Violation(error) | Self::Handshake { reason: error, .. } => {
                f.write_str(error)
            }
            Self::TlsServer => f.write_str("the server takes TLS alone: connect with tls://"),
            Self::HttpServer => f.write_str(
                "a web server answers there: is it the right port? Where it gives a WebSocket, connect with ws://",
            ),
            Self::UnknownFraming(0x16) => f.write_str("the client speaks TLS, which is not taken here"),
            Self::UnknownFraming(byte) => {
                write!(f, "the first byte, 0x{byte:02x}, starts neither STP nor length framing")
            }
            Self::FrameTooLarge { found, limit, setting } => {
                write!(f, "a frame of {found} bytes exceeds {setting} of {limit}")
            }
            Self::BufferTooLarge { found, limit, setting } => {
                write!(f, "{found} bytes exceed {setting} of {limit}")
            }
            Self::HandshakeTimeout(limit) => {
                write!(f, "the line's handshake took longer than first_byte_timeout of {limit:?}")
            }
            Self::FirstByteTimeout(limit) => {
                write!(f, "no first byte within first_byte_timeout of {limit:?}")
            }
            Self::TrustTimeout { setting, limit } => {
                write!(f, "not authenticated within {} of {limit:?}", setting.name())
            }
            Self::FrameTimeout { found, limit, rate } => write!(
                f,
                "a frame of which {found} bytes have come takes longer than frame_timeout of {limit:?} and \
                 min_frame_rate of {rate} allow"
            ),
            Self::WriteTimeout(limit) => {
                write!(f, "slow reader: no byte could be sent within write_timeout of {limit:?}")
            }
            Self::HeartbeatTimeout(limit) => write!(
                f,
                "the peer is silent: no byte came within heartbeat_timeout of {limit:?}, though it was pinged"
            ),
            Self::TooManyProtocolErrors(limit) => {
                write!(f, "more damaged or malformed frames than protocol_errors of {limit}")
            }
            Self::TooManyFrames(limit) => {
                write!(f, "more frames before authentication than untrusted_frames of {limit}")
            }
            Self::TooManyWrongKeys(limit) => write!(f, "as many wrong keys as wrong_keys of {limit}"),
            Self::PeerTooOld(reason) | Self::HandshakeRefused(reason) => f.write_str(reason),
            Self::WrongSecret => f.write_str(
                "the server does not take this secret, or does not know it: both sides need the same one under the same \
                 key id (whoever answered has proved nothing)",
            ),
            Self::PeerCanDoSecure => f.write_str(
                "the server knows secure mode, so it is not one to send a key to: connect without `Level::Legacy`",
            ),
            Self::BytesBehindOffer => f.write_str("bytes behind the first message of a handshake"),
            Self::BadRecord => f.write_str("a record does not open: it was changed on its way, or is none"),
            Self::Truncated(said) => {
                let said = if said.is_empty() { String::new() } else { format!(" ({said}, which anybody can say)") };
                write!(
                    f,
                    "the line ended without a word of the peer: it was cut by somebody in between, or the peer has died{said}"
                )
            }
            Self::Said(reason) | Self::PeerLeft(reason) => write!(f, "closed by the peer: {reason}"),
            Self::AuthenticationFailed(reason) => f.write_str(reason),
            Self::MemoryExceeded { held, limit } => write!(
                f,
                "all connections together come close to max_memory of {limit}, and this one holds most of it, \
                 {held} bytes"
            ),
            Self::ServiceFailed => {
                f.write_str("the service of this connection could not be made: its closure panicked")
            }
            Self::Reconnect => f.write_str("closed by this side, to connect again"),
            Self::Echo => f.write_str("the line echoes: the peer's HELLO is our own"),
            Self::PeerRestarted => f.write_str("the peer has restarted"),
            Self::NoAnswer { echoes: false } => f.write_str(
                "nobody answers on the line: does the peer run, are baud rate and parity the same at both ends, are \
                 the wires crossed; a peer of the Python library needs `peer=old`",
            ),
            Self::NoAnswer { echoes: true } => f.write_str(
                "nobody answers on the line, and it echoes what this side sends: say `echo=on` in the address",
            ),
        }
    }
}

/// What was counted on one connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counters {
    /// Frames that were no message.
    pub(crate) malformed: u64,
    /// Frames whose checksum was wrong.
    pub(crate) checksum: u64,
    /// Messages refused or dropped for want of trust.
    pub(crate) gated: u64,
    /// Records that did not open on a line that loses some.
    pub(crate) unopened: u64,
    /// Answers to calls that were over.
    pub(crate) late: u64,
    /// Messages that nobody takes.
    pub(crate) unhandled: u64,
    /// Handlers that took too long.
    pub(crate) expired: u64,
    /// Messages that waited for `receive` until there was no room.
    pub(crate) overflowed: u64,
}

/// Counts one more.
#[inline]
pub(super) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
