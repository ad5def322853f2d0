//! The limits of an endpoint, each with its reason (protocol.md section 8).

mod breach;
mod counts;
mod limit;

use std::time::Duration;

#[cfg(test)]
pub(crate) use breach::Amount;
pub(crate) use breach::Breach;
pub use counts::LimitCounts;
pub(crate) use counts::Tally;
pub(crate) use limit::Limit;

/// Stands for "never": a time that no program waits for and that every clock can show, 100 years. Times come from settings
/// and callers, so they may be absurd.
pub(crate) const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// KiB in bytes.
const KIB: usize = 1024;
/// MiB in bytes.
const MIB: usize = 1024 * KIB;

/// What one endpoint takes from a peer before it says no. The defaults are safe on an open network.
///
/// How often each was exceeded is told by [`Server::limit_counts`](crate::Server::limit_counts) and
/// [`Client::limit_counts`](struct@crate::Client#method.limit_counts). Each field says its default, why it is that, and where it
/// comes from: a section of docs/protocol.md, or the RFC behind it.
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
    /// Bytes of one frame, unstuffed: 8 MiB; at least 512, at most 2^28 - 1. A peer that sends more is disconnected.
    ///
    /// Large enough for a picture, small enough that one of a few connections cannot fill the memory. The most is what keeps
    /// the first byte of a length apart from other framings. Section 3 and 8.
    pub max_frame: usize,
    /// Levels of JSON, the envelope included: 127; at least 3, at most 127. Deeper frames are malformed, and nothing deeper is
    /// sent.
    ///
    /// Readers of JSON recurse and their stack is finite: `serde_json` takes 127 levels. Section 8; RFC 8259, section 9.
    pub max_nesting: usize,
    /// Bytes of one frame of a peer that has yet to authenticate: 4 KiB. More disconnects it.
    ///
    /// HELLO and a login have some hundred bytes. Section 8.
    pub untrusted_max_frame: usize,
    /// Frames of a peer that has yet to authenticate: 64 at once. More disconnect it. On a serial line, whose rate is their
    /// bound, there may be more.
    ///
    /// A login takes six; cheap frames must not cost the one who has to answer them. Section 8.
    pub untrusted_frames: u32,
    /// Frames by which [`Limits::untrusted_frames`] is refilled: 4 a second.
    ///
    /// Whoever reads public data now and then stays. Section 8.
    pub untrusted_frame_rate: u32,
    /// Bytes read ahead from a peer that has yet to authenticate: 16 KiB. More disconnects it.
    ///
    /// Room for what comes behind a key whose verdict is awaited. Section 8.
    pub untrusted_buffered: usize,
    /// Bytes unsent to a peer that has yet to authenticate: 16 KiB. More disconnects it.
    ///
    /// Who asks without reading must not make others hold the answers. Section 8.
    pub untrusted_unsent: usize,
    /// Time from accept to the first byte, the handshake of TLS included: 10 s. A client's handshake may take as long.
    ///
    /// Several round trips of the slowest networks; a silent connection holds a descriptor. Section 8.
    pub first_byte_timeout: Duration,
    /// Time from accept, and from the begin of a login, to trust, where a secret is set: 10 s.
    ///
    /// Two round trips and a hash. Section 8.
    pub trust_timeout: Duration,
    /// The same for a peer that may stay without trust, since there are public data: 60 s from its last public request.
    ///
    /// What looks once a minute need not connect anew each time. Section 8.
    pub public_idle_timeout: Duration,
    /// Time of one frame from its first byte to its last: 10 s, and one second more for each
    /// [`Limits::min_frame_rate`] bytes that have come. Slower ones disconnect the peer; on a line that loses bytes the frame is
    /// dropped instead.
    ///
    /// Further bytes do not begin it anew, so nobody holds a frame for ever by sending a byte at a time. While this side does
    /// not read, the time stands still. Section 8.
    pub frame_timeout: Duration,
    /// Bytes of a frame that give it one second more: 1,024, which is 1 KiB/s; 0 gives frames any time. On a serial line it is
    /// half its rate instead.
    ///
    /// What a modem of 14.4 kbit/s carries. Section 8.
    pub min_frame_rate: usize,
    /// Wrong keys of one connection, logins that do not open included: 3. With the last of them it is closed; a serial line is
    /// not.
    ///
    /// A program has the secret or has not; nobody types it. Section 8.
    pub wrong_keys: u32,
    /// What a wrong key costs its address (IPv6: its /64, which is what a host has): 5 s. Penalties of one address add up, and
    /// go by with the time. Lines without an address have none, nor has loopback unless
    /// [`penalize_loopback`](crate::ServerBuilder::penalize_loopback) is said.
    ///
    /// In the long run one guess in 5 s. Section 8; RFC 4291, section 2.5.4.
    pub wrong_key_penalty: Duration,
    /// From this penalty on connections of the address are refused at accept: 15 s.
    ///
    /// So one mistake, and its repetition, cost nothing, and those who share the address get in. Section 8.
    pub enforced_penalty: Duration,
    /// The most a penalty adds up to: 600 s.
    ///
    /// Whoever gets the address next is not kept out for days. Section 8.
    pub max_penalty: Duration,
    /// Addresses with a penalty that are remembered: 65,536. With more, the penalty that ends first is forgotten.
    ///
    /// Some 10 MB at most, whoever comes from however many addresses. Section 8.
    pub max_penalized: usize,
    /// Connections of one listener that have yet to authenticate, where a secret is set: 256. More are refused at accept.
    ///
    /// Strangers must not take the places of all others. Section 8.
    pub max_untrusted: usize,
    /// The same from one address (IPv6: its /64), loopback exempt: 16. More are refused at accept.
    ///
    /// One host must not take the places of all other strangers. Section 8.
    pub max_untrusted_per_address: usize,
    /// Requests of one peer that run at once: 256. More are parked in order. At least 1.
    ///
    /// Enough that a caller on a long line never waits for the next answer. Section 8.1.
    pub max_in_flight: usize,
    /// Bytes of parked requests: 16 MiB, each counted with 1 KiB on top. More disconnects the peer.
    ///
    /// Two of the largest frames: what may be on its way while a peer learns that it has to wait. Section 8.1.
    pub max_parked: usize,
    /// Bytes unsent to one peer: 24 MiB. A reply that does not fit becomes status 2.
    ///
    /// Three of the largest frames. Section 8.1.
    pub max_unsent: usize,
    /// Bytes unsent to one peer with which its requests are set aside, in order, until some have left: 1 MiB.
    ///
    /// A peer that reads its answers slowly does not make this side hold them all. Section 8.1.
    pub unsent_mark: usize,
    /// Messages of one service and datum that wait for `receive`: 64. With more, the oldest of them is dropped.
    ///
    /// What is news is the latest. Section 8.
    pub max_buffered_per_datum: usize,
    /// Messages of one connection that wait for `receive`: 1,024. With more, the oldest is dropped.
    ///
    /// Sixteen data, each with all it may have. Section 8.
    pub max_buffered: usize,
    /// Bytes of the messages of one connection that wait for `receive`, beside one of [`Limits::max_frame`]: 256 KiB,
    /// each counted with 256 bytes on top. With more, the oldest are dropped.
    ///
    /// All of the messages above, where they are empty. Section 8.
    pub max_buffered_bytes: usize,
    /// Bytes that all connections of an endpoint hold together, being received, parked, buffered or unsent: 256 MiB. From 80 % on
    /// connections that hold more than 256 KiB take no requests; from 95 % on the largest is disconnected.
    ///
    /// Many connections must not hold together what each may hold alone. Section 8.
    pub max_memory: usize,
    /// Time without progress while bytes wait to be sent: 30 s; then the peer is a slow reader and is disconnected.
    ///
    /// TCP sends a lost segment five times in it (RFC 6298). Section 8.
    pub write_timeout: Duration,
    /// Time without a byte after which a peer is pinged, where both sides can: 15 s. Proxies and firewalls that forget idle
    /// lines mostly do so after 60 s or more, and brokers of MQTT and AMQP expect a sign of life about once a minute; of
    /// two pings in half of that one may get lost. [`Duration::MAX`] here and below: never.
    pub heartbeat_interval: Duration,
    /// Time without a byte, pings included, after which a peer is taken for dead and disconnected: 45 s, three times the
    /// interval above (MQTT allows one and a half, AMQP two); at least twice.
    pub heartbeat_timeout: Duration,
    /// Time a handler may take: 30 s; then its caller gets status 2.
    ///
    /// Three times what a caller waits unless it says otherwise. Section 8.
    pub handler_timeout: Duration,
    /// Damaged or malformed frames a peer may send at once: 32. More disconnects it; a line that loses bytes stays.
    ///
    /// A peer of another version may send some; one that sends nothing else costs more than it is worth. Section 8.
    pub protocol_errors: u32,
    /// Errors by which [`Limits::protocol_errors`] is refilled: 1 a second.
    ///
    /// A connection of months may see some every day. Section 8.
    pub protocol_error_rate: u32,
    /// Connections of one listener: 10,000, or the descriptors the process may open less 64, where those are fewer.
    /// More are refused at accept. One that is idle costs a descriptor and about 4 KiB of memory, and no thread.
    ///
    /// 40 MB of memory at rest. Section 8.
    pub max_connections: usize,
    /// Connections from one address: 256, loopback exempt. More are refused at accept.
    ///
    /// One host, or those behind one router, must not take all places. Section 8.
    pub max_connections_per_address: usize,
    /// Wait after an error of accept, doubled with each further one: 10 ms; more than 0.
    ///
    /// Descriptors that are short now are free soon. Section 8.
    pub accept_backoff: Duration,
    /// The most that [`Limits::accept_backoff`] is doubled to: 1 s.
    ///
    /// What a client waits for a listener without giving up. Section 8.
    pub max_accept_backoff: Duration,
}

impl Limits {
    /// The most [`Limits::max_frame`] can be: a first byte up to 0x0F says length framing.
    pub const MAX_MAX_FRAME: usize = (1 << 28) - 1;
    /// The least [`Limits::max_frame`] can be: room for the framework's own messages.
    pub const MIN_MAX_FRAME: usize = 512;
    /// The most [`Limits::max_nesting`] can be: what `serde_json` reads.
    pub const MAX_MAX_NESTING: usize = 127;
    /// The least [`Limits::max_nesting`] can be: HELLO has a list in an object, in the envelope.
    pub const MIN_MAX_NESTING: usize = 3;
    /// Bytes that each parked request costs beside its data.
    pub(crate) const PARKED_OVERHEAD: usize = KIB;
    /// Bytes that each message which waits for `receive` costs beside its data.
    pub(crate) const BUFFERED_OVERHEAD: usize = 256;

    /// Whether an endpoint can run with them.
    ///
    /// # Errors
    /// The setting that is wrong, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let Self { max_frame, max_nesting, max_in_flight, accept_backoff, .. } = self;
        let Self { heartbeat_interval, heartbeat_timeout, .. } = self;
        let mistake = if *max_frame > Self::MAX_MAX_FRAME {
            let most = Self::MAX_MAX_FRAME;
            ("limits.max_frame", format!("{max_frame} exceeds {most}, the most that length framing can say"))
        } else if *max_frame < Self::MIN_MAX_FRAME {
            let least = Self::MIN_MAX_FRAME;
            (
                "limits.max_frame",
                format!("{max_frame} is below {least}: not even HELLO and the login would fit"),
            )
        } else if *max_nesting > Self::MAX_MAX_NESTING {
            let most = Self::MAX_MAX_NESTING;
            (
                "limits.max_nesting",
                format!("{max_nesting} exceeds {most}, the most that readers of JSON take"),
            )
        } else if *max_nesting < Self::MIN_MAX_NESTING {
            let least = Self::MIN_MAX_NESTING;
            ("limits.max_nesting", format!("{max_nesting} is below {least}: not even HELLO would fit"))
        } else if *max_in_flight == 0 {
            ("limits.max_in_flight", "0 would let no request run".to_owned())
        } else if heartbeat_interval.is_zero() {
            (
                "limits.heartbeat_interval",
                "0 would ping all the time; Duration::MAX, here and in heartbeat_timeout, never".to_owned(),
            )
        } else if *heartbeat_timeout < heartbeat_interval.saturating_mul(2) {
            (
                "limits.heartbeat_timeout",
                format!(
                    "{heartbeat_timeout:?} is less than twice heartbeat_interval of {heartbeat_interval:?}: no ping could \
                     be answered in time"
                ),
            )
        } else if accept_backoff.is_zero() {
            ("limits.accept_backoff", "0 would try again without a pause".to_owned())
        } else {
            return Ok(());
        };
        Err(mistake)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 8 * MIB,
            max_nesting: Self::MAX_MAX_NESTING,
            untrusted_max_frame: 4 * KIB,
            untrusted_frames: 64,
            untrusted_frame_rate: 4,
            untrusted_buffered: 16 * KIB,
            untrusted_unsent: 16 * KIB,
            first_byte_timeout: Duration::from_secs(10),
            trust_timeout: Duration::from_secs(10),
            public_idle_timeout: Duration::from_secs(60),
            frame_timeout: Duration::from_secs(10),
            min_frame_rate: KIB,
            wrong_keys: 3,
            wrong_key_penalty: Duration::from_secs(5),
            enforced_penalty: Duration::from_secs(15),
            max_penalty: Duration::from_secs(600),
            max_penalized: 65_536,
            max_untrusted: 256,
            max_untrusted_per_address: 16,
            max_in_flight: 256,
            max_parked: 16 * MIB,
            max_unsent: 24 * MIB,
            unsent_mark: MIB,
            max_buffered_per_datum: 64,
            max_buffered: 1024,
            max_buffered_bytes: 256 * KIB,
            max_memory: 256 * MIB,
            write_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_timeout: Duration::from_secs(45),
            handler_timeout: Duration::from_secs(30),
            protocol_errors: 32,
            protocol_error_rate: 1,
            max_connections: 10_000,
            max_connections_per_address: 256,
            accept_backoff: Duration::from_millis(10),
            max_accept_backoff: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings that say how a limit of another name is refilled, grows or ends; what is counted is that limit.
    const REFINING: [(&str, Limit); 8] = [
        ("untrusted_frame_rate", Limit::UntrustedFrames),
        ("min_frame_rate", Limit::FrameTimeout),
        ("wrong_key_penalty", Limit::WrongKeys),
        ("max_penalty", Limit::EnforcedPenalty),
        ("protocol_error_rate", Limit::ProtocolErrors),
        ("max_accept_backoff", Limit::AcceptBackoff),
        ("max_penalized", Limit::EnforcedPenalty),
        ("heartbeat_interval", Limit::HeartbeatTimeout),
    ];

    /// Kinds of bad frames, which are limited together by `protocol_errors`.
    const KINDS_OF_ERRORS: [Limit; 2] = [Limit::Malformed, Limit::Checksum];

    /// The names of the fields, as their derived `Debug` writes them.
    fn settings() -> Vec<String> {
        let shown = format!("{:?}", Limits::default());
        let fields = shown.strip_prefix("Limits { ").and_then(|rest| rest.strip_suffix(" }")).unwrap();
        fields.split(", ").map(|field| field.split_once(": ").unwrap().0.to_owned()).collect()
    }

    #[test]
    fn every_setting_has_a_count_and_every_count_a_setting() {
        let settings = settings();
        for setting in &settings {
            let named = Limit::named(setting).is_some();
            let refines = REFINING.iter().any(|(name, _)| name == setting);
            assert!(named != refines, "{setting}");
        }
        for limit in Limit::ALL {
            let has_setting = settings.iter().any(|setting| setting == limit.name());
            assert!(has_setting != KINDS_OF_ERRORS.contains(&limit), "{}", limit.name());
        }
    }

    #[test]
    fn limits_that_cannot_hold_are_told_from_those_on_the_border() {
        let check = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().err().map(|(setting, _)| setting)
        };
        assert_eq!(check(|_| {}), None);
        assert_eq!(check(|limits| limits.max_frame = 512), None);
        assert_eq!(check(|limits| limits.max_frame = 511), Some("limits.max_frame"));
        assert_eq!(check(|limits| limits.max_frame = (1 << 28) - 1), None);
        assert_eq!(check(|limits| limits.max_frame = 1 << 28), Some("limits.max_frame"));
        assert_eq!(check(|limits| limits.max_nesting = 3), None);
        assert_eq!(check(|limits| limits.max_nesting = 2), Some("limits.max_nesting"));
        assert_eq!(check(|limits| limits.max_nesting = 128), Some("limits.max_nesting"));
        assert_eq!(check(|limits| limits.max_in_flight = 1), None);
        assert_eq!(check(|limits| limits.max_in_flight = 0), Some("limits.max_in_flight"));
        assert_eq!(check(|limits| limits.accept_backoff = Duration::from_nanos(1)), None);
        assert_eq!(check(|limits| limits.accept_backoff = Duration::ZERO), Some("limits.accept_backoff"));
    }
}
