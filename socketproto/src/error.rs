//! What can go wrong at the public surface: who caused it, and what to do.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Fault;
use crate::id::{DataId, ServiceId, Status};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who caused an error.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// This program: an argument, a setting, a value that cannot be sent.
    Local,
    /// The program on the other side.
    Peer,
    /// What lies between: the network, the operating system, time.
    Transport,
}

/// The operation an error speaks of, as `read data request (10) of setpoint (data 2) at tcp://127.0.0.1:4000`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Operation {
    /// The service id of the request.
    pub service_id: ServiceId,
    /// The application's name of the service (`add_named_service`), where it has one.
    pub service_name: Option<Arc<str>>,
    /// The data id of the request.
    pub data_id: DataId,
    /// The name of the datum, where the caller or its endpoint (`add_data`) knows it.
    pub name: Option<Arc<str>>,
    /// The address of the peer.
    pub peer: Arc<str>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service_name {
            Some(name) => write!(f, "{name} ({}) of ", self.service_id.value())?,
            None => write!(f, "{} of ", self.service_id)?,
        }
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.data_id)?,
            None => write!(f, "{}", self.data_id)?,
        }
        write!(f, " at {}", self.peer)
    }
}

/// What went wrong.
///
/// ```
/// use socketproto::{Cause, Client};
///
/// # async fn demo() {
/// let error = Client::connect("tcp://127.0.0.1").await.unwrap_err();
/// assert_eq!(error.cause(), Cause::Local);
/// assert_eq!(error.to_string(), "address `tcp://127.0.0.1`: the port is missing, write tcp://HOST:PORT");
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(demo());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer answered a status other than okay.
    #[error("{operation}: {fault}{}", hint(fault.status()))]
    Fault {
        /// What was asked.
        operation: Box<Operation>,
        /// What the peer's handler said.
        fault: Fault,
    },
    /// The answer did not come in time; whether the request was executed is unknown, unless it had not been sent.
    #[error("{operation}: {} within {timeout:?}{}", if *sent { "no answer" } else { "not sent" }, late(*sent))]
    TimedOut {
        /// What was asked.
        operation: Box<Operation>,
        /// How long the caller waited.
        timeout: Duration,
        /// Whether the request had been sent; else nothing has happened, and it may be made again.
        sent: bool,
    },
    /// The connection ended before the answer; whether the request was executed is unknown, unless it had not been sent.
    #[error(
        "{operation}: {}: {reason}",
        if *sent { "connection lost, outcome unknown" } else { "not sent, the connection has ended" }
    )]
    ConnectionLost {
        /// What was asked.
        operation: Box<Operation>,
        /// Why the connection ended.
        reason: Box<str>,
        /// Whether the request had been sent; else nothing has happened, and it may be made again.
        sent: bool,
    },
    /// The answer does not fit the type the caller expects.
    #[error("{operation}: the answer does not fit the expected type: {source}")]
    Decode {
        /// What was asked.
        operation: Box<Operation>,
        /// The place and the reason.
        source: serde_json::Error,
    },
    /// The request's data cannot be written as JSON.
    #[error("{operation}: the data cannot be written as JSON: {source}")]
    Encode {
        /// What was asked.
        operation: Box<Operation>,
        /// The reason.
        source: serde_json::Error,
    },
    /// The request is larger than the peer takes, or nests too deep.
    #[error("{operation}: not sent: {reason}")]
    NotSendable {
        /// What was asked.
        operation: Box<Operation>,
        /// The limit and the size found.
        reason: Box<str>,
    },
    /// A message could not be sent in time: the connection was not ready, or the line took too little. Whether any of it
    /// arrived is unknown.
    #[error("{operation}: not sent within {timeout:?}: the connection was not ready, or took too little")]
    NotSent {
        /// What was to be sent.
        operation: Box<Operation>,
        /// How long it waited.
        timeout: Duration,
    },
    /// The service id is no request of a declared service, so no answer could be told from other messages.
    #[error("{operation}: the service is not declared; declare its response id with `.add_service({}, ..)`", operation.service_id.value())]
    UnknownService {
        /// What was asked.
        operation: Box<Operation>,
    },
    /// Nobody answered at the address.
    #[error("cannot connect to {address}: {source}{}", is_running(source))]
    Connect {
        /// The address as given.
        address: Box<str>,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Somebody answered at the address, but both sides could not come together: TLS failed, most often for a
    /// certificate, or there is no WebSocket.
    #[error("no connection to {address}: {reason}")]
    Handshake {
        /// The address as given.
        address: Box<str>,
        /// What failed, and the remedy.
        reason: Box<str>,
    },
    /// The connection ended before it was ready.
    #[error("connection to {address} ended before it was ready: {reason}")]
    NotReady {
        /// The address as given.
        address: Box<str>,
        /// Why it ended.
        reason: Box<str>,
    },
    /// The server does not take the key, or did not answer the authentication.
    #[error("authentication at {address} failed: {reason}")]
    AuthenticationFailed {
        /// The address as given.
        address: Box<str>,
        /// What the server said, and the remedy.
        reason: Box<str>,
    },
    /// The server does not take the secret, or does not know it. Whoever answered has proved nothing, so this is a hint: it
    /// may as well be somebody in between. Both sides need the same secret under the same key id.
    #[error("no secure connection to {address}: {reason}")]
    WrongSecret {
        /// The address as given.
        address: Box<str>,
        /// What is known, and the remedy.
        reason: Box<str>,
    },
    /// This side speaks Legacy, and the server says that it knows secure mode: it gets no key.
    #[error("{address}: {reason}")]
    PeerCanDoSecure {
        /// The address as given.
        address: Box<str>,
        /// The remedy.
        reason: Box<str>,
    },
    /// The peer does not answer what every new peer knows: HELLO, or the handshake of secure mode.
    #[error("{address}: {reason}; towards a peer of the Python library use `.old_peer()` or `?peer=old`")]
    PeerTooOld {
        /// The address as given.
        address: Box<str>,
        /// What it does not answer.
        reason: Box<str>,
    },
    /// The listener cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address as given.
        address: Box<str>,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The address cannot be understood.
    #[error("address `{address}`: {reason}")]
    Address {
        /// The address as given.
        address: Box<str>,
        /// What is wrong, and how it should look.
        reason: Box<str>,
    },
    /// A setting that is not allowed.
    #[error("{setting}: {reason}")]
    Config {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong, and the remedy.
        reason: Box<str>,
    },
    /// The service id belongs to the framework.
    #[error(
        "{service_id} is reserved for the framework; ids below 0xFFFF0000 other than 0, 1, 8 and 9 are free"
    )]
    ReservedSid {
        /// The id.
        service_id: ServiceId,
    },
    /// The request service id is in use.
    #[error("{service_id} cannot become a request id: it is in use, or equal to its response id")]
    RequestSidExists {
        /// The id.
        service_id: ServiceId,
    },
    /// The response service id is in use.
    #[error("{service_id} cannot become a response id: it is in use")]
    ResponseSidExists {
        /// The id.
        service_id: ServiceId,
    },
    /// Two handlers for one datum.
    #[error("{key} is served twice: by {first} and by {second}; move one with `.service_at(SHIFT, ..)`")]
    DuplicateHandler {
        /// The service and data id.
        key: Box<str>,
        /// The handler that was there.
        first: Box<str>,
        /// The handler that came second.
        second: Box<str>,
    },
    /// A wait that would block the thread of connections and handlers, which has to do what is waited for.
    #[error(
        "waiting here would never end, for this thread runs connections and handlers; wait on a thread of your own, or \
         await the async twin"
    )]
    WouldDeadlock,
    /// The endpoint, or the runtime it lived on, has ended.
    #[error("the endpoint has been shut down")]
    ShutDown,
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Random(Box<str>),
}

/// The remedy where the operating system says no more than that nobody is there; a transport's own words are left as
/// they are.
fn is_running(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => "; is the server running there?",
        _ if source.get_ref().is_none() => "; is the server running there?",
        _ => "",
    }
}

/// What a time that is over means for the caller.
fn late(sent: bool) -> &'static str {
    if sent {
        ", outcome unknown; a longer time is set by `.timeout(..)`"
    } else {
        ", for the connection was not ready, or its window full; nothing has happened"
    }
}

/// What a status means for the caller, where the status alone does not say it.
fn hint(status: Status) -> &'static str {
    match status {
        Status::CHECKSUM_ERROR => " (the request arrived damaged, outcome unknown)",
        Status::AUTHENTICATION_REQUIRED => {
            " (connect with `.secret(..)`, or call `authenticate` where that is done by hand)"
        }
        _ => "",
    }
}

impl Error {
    /// Who caused the error.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Fault { .. } | Self::Decode { .. } | Self::PeerTooOld { .. } => Cause::Peer,
            Self::AuthenticationFailed { .. } | Self::Handshake { .. } => Cause::Peer,
            Self::WrongSecret { .. } | Self::PeerCanDoSecure { .. } => Cause::Peer,
            Self::TimedOut { .. } | Self::ConnectionLost { .. } | Self::NotReady { .. } => Cause::Transport,
            Self::NotSent { .. } | Self::Connect { .. } | Self::Bind { .. } | Self::Random(_) => {
                Cause::Transport
            }
            _ => Cause::Local,
        }
    }

    /// What the peer's handler said, where it answered at all.
    ///
    /// ```
    /// # async fn demo(client: socketproto::Client) {
    /// if let Err(error) = client.write(2, &99.0).await {
    ///     match error.fault() {
    ///         Some(fault) => println!("refused: {}", fault.message()),
    ///         None => println!("not answered: {error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

/// Inside a handler: the fault of a peer that was called back is passed on, anything else becomes status 2.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Fault { fault, .. } => fault,
            other => Self::callback_error(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation() -> Box<Operation> {
        Box::new(Operation {
            service_id: ServiceId::READ_REQUEST,
            service_name: None,
            data_id: 2.into(),
            name: Some("setpoint".into()),
            peer: "tcp://127.0.0.1:4000".into(),
        })
    }

    #[test]
    fn an_error_names_the_service_the_datum_and_the_peer() {
        let error = Error::Fault { operation: operation(), fault: Fault::not_permitted("5 to 30") };
        assert_eq!(
            error.to_string(),
            "read data request (10) of setpoint (data 2) at tcp://127.0.0.1:4000: operation not permitted (6): 5 to 30"
        );
    }

    #[test]
    fn a_damaged_request_says_that_the_outcome_is_unknown() {
        let error = Error::Fault { operation: operation(), fault: Fault::checksum_error("") };
        assert!(error.to_string().ends_with("outcome unknown)"), "{error}");
    }

    #[test]
    fn a_fault_of_a_called_peer_is_passed_on_by_a_handler() {
        let fault = Fault::custom(7, "out of paper");
        assert_eq!(Fault::from(Error::Fault { operation: operation(), fault: fault.clone() }), fault);
        assert_eq!(Fault::from(Error::ShutDown).status(), Status::CALLBACK_ERROR);
    }
}
