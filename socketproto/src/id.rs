//! The numbers on the wire and their names: services, data, statuses, authentication states.
//!
//! Each number stands here once; logs, errors and documentation take the names from here (protocol.md section 1).

use std::fmt;

/// A service id (SID): the kind of communication, for example "read request".
///
/// ```
/// use socketproto::ServiceId;
///
/// assert_eq!(ServiceId::READ_REQUEST.value(), 10);
/// assert_eq!(ServiceId::READ_REQUEST.to_string(), "read data request (10)");
/// assert_eq!(ServiceId::new(40).to_string(), "service 40");
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServiceId(u32);

impl ServiceId {
    /// 0: asks for a seed (data id 0) or proves a key (data id 1).
    pub const AUTH_REQUEST: Self = Self(0);
    /// 1: answers [`Self::AUTH_REQUEST`].
    pub const AUTH_RESPONSE: Self = Self(1);
    /// 8: exchanges the channel name.
    pub const CHANNEL_NAME_REQUEST: Self = Self(8);
    /// 9: answers [`Self::CHANNEL_NAME_REQUEST`].
    pub const CHANNEL_NAME_RESPONSE: Self = Self(9);
    /// 10: reads a datum.
    pub const READ_REQUEST: Self = Self(10);
    /// 11: answers [`Self::READ_REQUEST`].
    pub const READ_RESPONSE: Self = Self(11);
    /// 20: writes a datum.
    pub const WRITE_REQUEST: Self = Self(20);
    /// 21: answers [`Self::WRITE_REQUEST`].
    pub const WRITE_RESPONSE: Self = Self(21);
    /// 30: executes a command.
    pub const EXECUTE_REQUEST: Self = Self(30);
    /// 31: answers [`Self::EXECUTE_REQUEST`].
    pub const EXECUTE_RESPONSE: Self = Self(31);
    /// `0xFFFF_0000`: introduces an endpoint to its peer (protocol.md 7.1).
    pub const HELLO_REQUEST: Self = Self(0xFFFF_0000);
    /// `0xFFFF_0001`: answers [`Self::HELLO_REQUEST`].
    pub const HELLO_RESPONSE: Self = Self(0xFFFF_0001);
    /// `0xFFFF_0002`: asks a silent peer whether it is still there (protocol.md 7.3).
    pub const HEARTBEAT_REQUEST: Self = Self(0xFFFF_0002);
    /// `0xFFFF_0003`: answers [`Self::HEARTBEAT_REQUEST`].
    pub const HEARTBEAT_RESPONSE: Self = Self(0xFFFF_0003);
    /// `0xFFFF_0008`: ends a call; one way (protocol.md 7.6).
    pub const CANCEL: Self = Self(0xFFFF_0008);
    /// The first id that belongs to the framework; all from here up are reserved.
    pub const FRAMEWORK: Self = Self(0xFFFF_0000);

    /// The request and response ids that exist without being declared.
    pub const BUILT_IN: [(Self, Self); 3] = [
        (Self::READ_REQUEST, Self::READ_RESPONSE),
        (Self::WRITE_REQUEST, Self::WRITE_RESPONSE),
        (Self::EXECUTE_REQUEST, Self::EXECUTE_RESPONSE),
    ];

    /// The id of this number.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number of this id.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Whether only the framework may use this id: 0, 1, 8, 9 and all from `0xFFFF_0000`.
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0 | 1 | 8 | 9) || self.0 >= Self::FRAMEWORK.0
    }

    /// The seed library's name of this id, where it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::AUTH_REQUEST => "authentication request",
            Self::AUTH_RESPONSE => "authentication response",
            Self::CHANNEL_NAME_REQUEST => "channel name request",
            Self::CHANNEL_NAME_RESPONSE => "channel name response",
            Self::READ_REQUEST => "read data request",
            Self::READ_RESPONSE => "read data response",
            Self::WRITE_REQUEST => "write data request",
            Self::WRITE_RESPONSE => "write data response",
            Self::EXECUTE_REQUEST => "execute request",
            Self::EXECUTE_RESPONSE => "execute response",
            Self::HELLO_REQUEST => "hello request",
            Self::HELLO_RESPONSE => "hello response",
            Self::HEARTBEAT_REQUEST => "heartbeat request",
            Self::HEARTBEAT_RESPONSE => "heartbeat response",
            Self::CANCEL => "cancel",
            _ => return None,
        })
    }
}

/// A data id (DID): which datum or command among those of one service.
///
/// ```
/// use socketproto::DataId;
///
/// let setpoint: DataId = 2.into();
/// assert_eq!(setpoint.to_string(), "data 2");
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DataId(u32);

impl DataId {
    /// 0, of the authentication service: the seed.
    pub const AUTH_SEED: Self = Self(0);
    /// 1, of the authentication service: the key.
    pub const AUTH_KEY: Self = Self(1);
    /// 2, of the authentication service: the handshake of secure mode (protocol.md 5.2).
    pub const AUTH_SECURE: Self = Self(2);
    /// 0, of the channel name service.
    pub const CHANNEL_NAME: Self = Self(0);
    /// 0, of the cancellation.
    pub const CANCEL: Self = Self(0);
    /// 0, of HELLO.
    pub const HELLO: Self = Self(0);
    /// 0, of the heartbeat.
    pub const HEARTBEAT: Self = Self(0);

    /// The id of this number.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number of this id.
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// The outcome a message carries: 0 in requests, the result in responses.
///
/// 0 to 6 are the protocol's; 7 up to [`Status::MAX`] are the application's.
///
/// ```
/// use socketproto::Status;
///
/// assert_eq!(Status::AUTHENTICATION_REQUIRED.to_string(), "authentication required (3)");
/// assert_eq!(Status::new(7).unwrap().to_string(), "status 7");
/// assert!(Status::new(1 << 24).is_none());
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Status(u32);

impl Status {
    /// 0: it worked.
    pub const OKAY: Self = Self(0);
    /// 1: nobody handles the request; it was buffered.
    pub const BUFFERING_UNHANDLED_REQUEST: Self = Self(1);
    /// 2: the handler failed.
    pub const CALLBACK_ERROR: Self = Self(2);
    /// 3: the peer has to authenticate first.
    pub const AUTHENTICATION_REQUIRED: Self = Self(3);
    /// 4: no such service or datum.
    pub const SERVICE_OR_DATA_UNKNOWN: Self = Self(4);
    /// 5: the request arrived damaged.
    pub const CHECKSUM_ERROR: Self = Self(5);
    /// 6: the operation is not permitted on this datum.
    pub const OPERATION_NOT_PERMITTED: Self = Self(6);
    /// The first status that belongs to the application.
    pub const APPLICATION: Self = Self(7);
    /// The largest status: 2^24 - 1, so that a struct frame begins with a zero byte.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The status of this number; none above [`Status::MAX`].
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number of this status.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Whether this is [`Status::OKAY`].
    pub const fn is_okay(self) -> bool {
        self.0 == 0
    }

    /// The protocol's name of this status; none for the application's.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::OKAY => "okay",
            Self::BUFFERING_UNHANDLED_REQUEST => "buffering unhandled request",
            Self::CALLBACK_ERROR => "callback error",
            Self::AUTHENTICATION_REQUIRED => "authentication required",
            Self::SERVICE_OR_DATA_UNKNOWN => "service or data unknown",
            Self::CHECKSUM_ERROR => "checksum error",
            Self::OPERATION_NOT_PERMITTED => "operation not permitted",
            _ => return None,
        })
    }
}

/// How far the authentication of a connection has come (protocol.md 5.1).
///
/// ```
/// use socketproto::AuthState;
///
/// assert_eq!(AuthState::Trusted.value(), 4);
/// assert_eq!(AuthState::default().to_string(), "Untrusted Connection");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these five states")]
pub enum AuthState {
    /// 0: nothing has been proved.
    #[default]
    Untrusted = 0,
    /// 1: the client asked for a seed.
    SeedRequested = 1,
    /// 2: the server sent a seed.
    SeedTransferred = 2,
    /// 3: the client sent its key.
    KeyTransferred = 3,
    /// 4: the key was right.
    Trusted = 4,
}

/// How well a shared secret protects a connection (protocol.md section 5).
///
/// ```
/// use socketproto::{Call, Fault, Level};
///
/// /// For `ServerBuilder::authorize`: what an old peer may not do.
/// fn judge(call: &Call<()>) -> Result<(), Fault> {
///     match call.level() {
///         Some(Level::Secure) => Ok(()),
///         _ => Err(Fault::not_permitted("in secure mode alone")),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Level {
    /// Challenge and response (5.1), as the Python library does it: it proves the client to the server, once. Everything is in
    /// clear, can be changed on its way, and one login that was listened to can be searched for the secret.
    Legacy,
    /// Both sides have proved the secret to each other, and all is encrypted (5.2).
    Secure,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Secure => "secure",
        })
    }
}

impl AuthState {
    /// The number of this state, as in the seed library.
    pub const fn value(self) -> u32 {
        self as u32
    }

    /// The seed library's name of this state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untrusted => "Untrusted Connection",
            Self::SeedRequested => "Seed was requested",
            Self::SeedTransferred => "Seed has been sent",
            Self::KeyTransferred => "Key has been sent",
            Self::Trusted => "Trusted Connection",
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "service {}", self.0),
        }
    }
}

impl fmt::Display for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data {}", self.0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl fmt::Display for AuthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `Debug` is `Display`: a log line is read by people.
macro_rules! debug_as_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(ServiceId, DataId, Status);

impl From<u32> for ServiceId {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<u32> for DataId {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

/// One service id or several, where a function takes either: `10`, `[10, 20]`, a slice or a vector.
///
/// ```
/// use socketproto::{ServiceId, ServiceIds};
///
/// assert_eq!([10, 20].into_service_ids(), [ServiceId::READ_REQUEST, ServiceId::WRITE_REQUEST]);
/// assert_eq!(30.into_service_ids(), [ServiceId::EXECUTE_REQUEST]);
/// ```
pub trait ServiceIds {
    /// The ids in order.
    fn into_service_ids(self) -> Vec<ServiceId>;
}

impl ServiceIds for u32 {
    fn into_service_ids(self) -> Vec<ServiceId> {
        vec![self.into()]
    }
}

impl ServiceIds for ServiceId {
    fn into_service_ids(self) -> Vec<ServiceId> {
        vec![self]
    }
}

impl<T: Into<ServiceId>, const N: usize> ServiceIds for [T; N] {
    fn into_service_ids(self) -> Vec<ServiceId> {
        self.map(Into::into).into()
    }
}

impl<T: Into<ServiceId> + Copy> ServiceIds for &[T] {
    fn into_service_ids(self) -> Vec<ServiceId> {
        self.iter().map(|service_id| (*service_id).into()).collect()
    }
}

impl<T: Into<ServiceId>> ServiceIds for Vec<T> {
    fn into_service_ids(self) -> Vec<ServiceId> {
        self.into_iter().map(Into::into).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ids_are_those_of_section_1() {
        for id in [0, 1, 8, 9, 0xFFFF_0000, 0xFFFF_0005, u32::MAX] {
            assert!(ServiceId::new(id).is_reserved(), "{id}");
        }
        for id in [2, 7, 10, 11, 20, 21, 30, 31, 40, 0xFFFE_FFFF] {
            assert!(!ServiceId::new(id).is_reserved(), "{id}");
        }
    }

    #[test]
    fn a_status_ends_below_two_to_the_24() {
        assert_eq!(Status::new(0x00FF_FFFF), Some(Status::MAX));
        assert_eq!(Status::new(0x0100_0000), None);
    }
}
