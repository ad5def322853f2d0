//! The limits of an endpoint, each with its reason (protocol.md section 8).

use std::time::Duration;

/// Stands for "never": a time that no program waits for and that every clock can show, 100 years. Times come from settings
/// and callers, so they may be absurd.
pub(crate) const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// KiB in bytes.
const KIB: usize = 1024;
/// MiB in bytes.
const MIB: usize = 1024 * KIB;

/// What one endpoint takes from a peer before it says no. The defaults are safe on an open network.
///
/// ```
/// use socketproto::Limits;
///
/// let mut limits = Limits::default();
/// limits.max_frame = 64 * 1024;
/// assert_eq!(limits.max_in_flight, 256);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one frame, unstuffed: 8 MiB; at least 512, at most 2^28 - 1, so that the first byte of a length tells the framing
    /// (protocol.md section 3). A peer that sends more is disconnected.
    pub max_frame: usize,
    /// Bytes of one frame of a peer that has yet to authenticate: 4 KiB. More disconnects it.
    pub untrusted_max_frame: usize,
    /// Bytes read ahead from a peer that has yet to authenticate: 16 KiB. More disconnects it.
    pub untrusted_buffered: usize,
    /// Bytes unsent to a peer that has yet to authenticate: 16 KiB. More disconnects it.
    pub untrusted_unsent: usize,
    /// Time from accept to the first byte, the handshake of TLS included: 10 s. A client's handshake may take as long.
    pub first_byte_timeout: Duration,
    /// Time from accept, and from the begin of a login, to trust, where a secret is set: 10 s.
    pub trust_timeout: Duration,
    /// The same for a peer that may stay without trust, since there are public data: 60 s from its last public request.
    pub public_idle_timeout: Duration,
    /// Requests of one peer that run at once: 256. More are parked in order.
    pub max_in_flight: usize,
    /// Bytes of parked requests: 16 MiB, each counted with 1 KiB on top. More disconnects the peer.
    pub max_parked: usize,
    /// Bytes unsent to one peer: 24 MiB. A reply that does not fit becomes status 2.
    pub max_unsent: usize,
    /// Messages of one service and datum that wait for `receive`: 64. With more, the oldest of them is dropped.
    pub max_buffered_per_datum: usize,
    /// Messages of one connection that wait for `receive`: 1,024. With more, the oldest is dropped.
    pub max_buffered: usize,
    /// Bytes of the messages of one connection that wait for `receive`, beside one of [`Limits::max_frame`]: 256 KiB,
    /// each counted with 256 bytes on top. With more, the oldest are dropped.
    pub max_buffered_bytes: usize,
    /// Bytes that all connections of an endpoint hold together, being received, parked, buffered or unsent: 256 MiB. From 80 % on
    /// connections that hold more than 256 KiB take no requests; from 95 % on the largest is disconnected.
    pub max_memory: usize,
    /// Time without progress while bytes wait to be sent: 30 s; then the peer is a slow reader and is disconnected.
    pub write_timeout: Duration,
    /// Time without a byte after which a peer is pinged, where both sides can: 15 s. Proxies and firewalls that forget idle
    /// lines mostly do so after 60 s or more, and brokers of MQTT and AMQP expect a sign of life about once a minute; of
    /// two pings in half of that one may get lost. [`Duration::MAX`] here and below: never.
    pub heartbeat_interval: Duration,
    /// Time without a byte, pings included, after which a peer is taken for dead and disconnected: 45 s, three times the
    /// interval above (MQTT allows one and a half, AMQP two); at least twice.
    pub heartbeat_timeout: Duration,
    /// Time a handler may take: 30 s; then its caller gets status 2.
    pub handler_timeout: Duration,
    /// Damaged or malformed frames a peer may send at once: 32, refilled by one a second. More disconnects it.
    pub protocol_errors: u32,
    /// Connections of one listener: 10,000, or the descriptors the process may open less 64, where those are fewer.
    /// More are refused at accept. One that is idle costs a descriptor and about 4 KiB of memory, and no thread.
    pub max_connections: usize,
    /// Connections from one address: 256, loopback exempt. More are refused at accept.
    pub max_connections_per_address: usize,
}

impl Limits {
    /// The most [`Limits::max_frame`] can be: a first byte up to 0x0F says length framing.
    pub const MAX_MAX_FRAME: usize = (1 << 28) - 1;
    /// The least [`Limits::max_frame`] can be: room for the framework's own messages.
    pub const MIN_MAX_FRAME: usize = 512;
    /// Bytes that each parked request costs beside its data.
    pub(crate) const PARKED_OVERHEAD: usize = KIB;
    /// Bytes that each message which waits for `receive` costs beside its data.
    pub(crate) const BUFFERED_OVERHEAD: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 8 * MIB,
            untrusted_max_frame: 4 * KIB,
            untrusted_buffered: 16 * KIB,
            untrusted_unsent: 16 * KIB,
            first_byte_timeout: Duration::from_secs(10),
            trust_timeout: Duration::from_secs(10),
            public_idle_timeout: Duration::from_secs(60),
            max_in_flight: 256,
            max_parked: 16 * MIB,
            max_unsent: 24 * MIB,
            max_buffered_per_datum: 64,
            max_buffered: 1024,
            max_buffered_bytes: 256 * KIB,
            max_memory: 256 * MIB,
            write_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(45),
            handler_timeout: Duration::from_secs(30),
            protocol_errors: 32,
            max_connections: 10_000,
            max_connections_per_address: 256,
        }
    }
}
