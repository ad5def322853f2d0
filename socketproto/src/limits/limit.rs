//! The limits one by one: what is counted under which name.

/// Makes the list of limits: each with its name, which is that of its setting in [`Limits`](crate::Limits), and what became
/// of whoever exceeded it, for logs.
macro_rules! limits {
    ($($limit:ident = $name:literal, $outcome:literal;)*) => {
        /// A limit that can be exceeded.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Limit {
            $($limit,)*
        }

        impl Limit {
            pub(crate) const ALL: [Self; [$($name),*].len()] = [$(Self::$limit),*];

            /// The name of its setting; kinds of bad frames have none, and a name of their own.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$limit => $name,)*
                }
            }

            /// What happened, in a log.
            pub(crate) fn outcome(self) -> &'static str {
                match self {
                    $(Self::$limit => $outcome,)*
                }
            }
        }
    };
}

limits! {
    MaxFrame = "max_frame", "frame too large";
    MaxNesting = "max_nesting", "data nest too deep: malformed frame dropped, or data not sent";
    UntrustedMaxFrame = "untrusted_max_frame", "frame too large of a peer without trust";
    UntrustedFrames = "untrusted_frames", "too many frames of a peer without trust";
    UntrustedBuffered = "untrusted_buffered", "too many bytes of a peer without trust";
    UntrustedUnsent = "untrusted_unsent", "a peer without trust does not read its answers";
    FirstByteTimeout = "first_byte_timeout", "nothing came, or the handshake took too long";
    TrustTimeout = "trust_timeout", "not authenticated in time";
    PublicIdleTimeout = "public_idle_timeout", "neither authenticated nor active in time";
    FrameTimeout = "frame_timeout", "the frame came too slowly";
    WrongKeys = "wrong_keys", "the peer's key is wrong";
    EnforcedPenalty = "enforced_penalty", "connection refused: its address sent wrong keys";
    MaxUntrusted = "max_untrusted", "connection refused: too many have yet to authenticate";
    MaxUntrustedPerAddress = "max_untrusted_per_address", "connection refused: too many of its address have yet to authenticate";
    MaxInFlight = "max_in_flight", "request parked";
    MaxParked = "max_parked", "too many requests parked";
    MaxUnsent = "max_unsent", "too many bytes unsent";
    UnsentMark = "unsent_mark", "requests set aside until answers have left";
    MaxBufferedPerDatum = "max_buffered_per_datum", "too many messages of a datum wait for `receive`, the oldest are dropped";
    MaxBuffered = "max_buffered", "too many messages wait for `receive`, the oldest are dropped";
    MaxBufferedBytes = "max_buffered_bytes", "messages that wait for `receive` are too large, the oldest are dropped";
    MaxMemory = "max_memory", "all connections together hold too much";
    WriteTimeout = "write_timeout", "slow reader";
    HeartbeatTimeout = "heartbeat_timeout", "the peer is silent";
    HandlerTimeout = "handler_timeout", "the handler took too long";
    ProtocolErrors = "protocol_errors", "too many bad frames";
    Malformed = "malformed", "malformed frame dropped";
    Checksum = "checksum", "frame with a wrong checksum dropped";
    MaxConnections = "max_connections", "connection refused: too many";
    MaxConnectionsPerAddress = "max_connections_per_address", "connection refused: too many from its address";
    AcceptBackoff = "accept_backoff", "cannot accept";
}

impl Limit {
    /// The limit of a setting.
    pub(crate) fn named(setting: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == setting)
    }

    /// Whether to exceed it is the ordinary course of things under load: it holds somebody up, and nobody loses by it.
    pub(crate) fn is_ordinary(self) -> bool {
        matches!(self, Self::MaxInFlight | Self::UnsentMark)
    }
}
