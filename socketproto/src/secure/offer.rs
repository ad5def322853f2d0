//! The data of both handshake messages.

use serde::{Deserialize, Serialize};

/// The one suite of this version: `Noise_NNpsk0_25519_ChaChaPoly_SHA256`.
pub(crate) const SUITE: &str = "NNpsk0-25519-CCP-SHA256";

/// The most bytes of a key id.
pub(crate) const MAX_KID: usize = 64;

/// What the client offers, (0, 2).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Offer {
    /// In the order of its preference.
    pub(crate) suites: Vec<String>,
    /// Which of the server's secrets is meant.
    pub(crate) kid: String,
    /// Noise message 1, in base64.
    pub(crate) m: String,
}

/// What the server answers, (1, 2).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Accepted {
    pub(crate) suite: String,
    /// Noise message 2, in base64.
    pub(crate) m: String,
}

impl Offer {
    /// Whether it is one that can be answered, if its secret is known.
    pub(crate) fn is_acceptable(&self) -> bool {
        self.kid.len() <= MAX_KID && self.suites.iter().any(|suite| suite == SUITE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_without_our_suite_or_with_a_long_key_id_is_none() {
        let offer = |suites: &[&str], kid: usize| Offer {
            suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
            kid: "k".repeat(kid),
            m: String::new(),
        };
        assert!(offer(&[SUITE], 64).is_acceptable());
        assert!(offer(&["other", SUITE], 0).is_acceptable());
        assert!(!offer(&[SUITE], 65).is_acceptable());
        assert!(!offer(&["other"], 0).is_acceptable());
        assert!(!offer(&[], 0).is_acceptable());
    }
}
