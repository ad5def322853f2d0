//! HELLO: what two new peers tell each other about themselves (protocol.md 7.1).

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::message::Json;

/// The features of this version; a feature is used where both sides name it.
const FEATURES: [&str; 3] = [MESSAGE_ID, HEARTBEAT, CANCEL];
const MESSAGE_ID: &str = "message_id";
const HEARTBEAT: &str = "heartbeat";
const CANCEL: &str = "cancel";

/// Calls that may be outstanding before the peer's HELLO says how many it takes (protocol.md 8.1).
pub(super) const WINDOW_BEFORE_HELLO: usize = 64;

/// The data of both messages.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Hello {
    pub(super) session: String,
    #[serde(default)]
    features: Vec<String>,
    max_frame: usize,
    max_in_flight: usize,
}

impl Hello {
    /// What we say.
    pub(super) fn data(session: &str, limits: &Limits) -> Json {
        let hello = Self {
            session: session.to_owned(),
            features: FEATURES.map(str::to_owned).to_vec(),
            max_frame: limits.max_frame,
            max_in_flight: limits.max_in_flight,
        };
        Json::encode(&hello).unwrap_or_default()
    }

    fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|named| named == feature)
    }

    /// What follows for this connection.
    pub(super) fn agree(&self, limits: &Limits) -> Agreement {
        Agreement {
            message_id: self.has(MESSAGE_ID),
            heartbeat: self.has(HEARTBEAT),
            cancel: self.has(MESSAGE_ID) && self.has(CANCEL),
            max_frame: self.max_frame.min(limits.max_frame),
            window: self.max_in_flight.max(1),
        }
    }
}

/// The data of a cancellation (protocol.md 7.6).
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Cancel {
    pub(super) message_id: u64,
}

/// What both sides hold to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Agreement {
    /// Requests carry ids, so that answers may come in any order.
    pub(super) message_id: bool,
    /// A side that hears nothing pings (protocol.md 7.3).
    pub(super) heartbeat: bool,
    /// Calls that are given up are cancelled.
    pub(super) cancel: bool,
    /// The largest frame the peer takes.
    pub(super) max_frame: usize,
    /// The calls it takes at once.
    pub(super) window: usize,
}

impl Agreement {
    /// What holds before HELLO, and for ever with an old peer.
    pub(super) fn unknown(limits: &Limits) -> Self {
        Self {
            message_id: false,
            heartbeat: false,
            cancel: false,
            max_frame: limits.max_frame,
            window: WINDOW_BEFORE_HELLO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(text: &str) -> Option<Agreement> {
        serde_json::from_str::<Hello>(text).ok().map(|hello| hello.agree(&Limits::default()))
    }

    #[test]
    fn a_feature_is_used_where_both_name_it() {
        let some = r#"{"session":"a","features":["later","message_id"],"max_frame":10,"max_in_flight":3}"#;
        let none = Agreement { message_id: false, heartbeat: false, cancel: false, max_frame: 10, window: 1 };
        assert_eq!(agree(some), Some(Agreement { message_id: true, window: 3, ..none }));
        let nothing = r#"{"session":"a","max_frame":10,"max_in_flight":0}"#;
        assert_eq!(agree(nothing), Some(none));
        let others = r#"{"session":"a","features":["cancel","heartbeat"],"max_frame":10,"max_in_flight":1}"#;
        assert_eq!(agree(others), Some(Agreement { heartbeat: true, ..none }));
    }

    #[test]
    fn odd_data_are_refused() {
        for text in ["null", "{}", r#"{"session":1}"#, r#"{"session":"a","max_frame":-1,"max_in_flight":1}"#]
        {
            assert_eq!(agree(text), None, "{text}");
        }
    }

    #[test]
    fn we_say_what_we_take() {
        let data = Hello::data("0123456789abcdef", &Limits::default());
        assert_eq!(
            data.as_str(),
            r#"{"session":"0123456789abcdef","features":["message_id","heartbeat","cancel"],"max_frame":8388608,"max_in_flight":256}"#
        );
    }
}
