//! Secure mode: an encrypted, mutually authenticated channel from the shared secret alone (protocol.md 5.2).
//!
//! ```text
//!  secret, kid ──psk──▶ handshake ──▶ Channel: seals and opens records
//! ```
//! No I/O, no clock, and no randomness: the 32 random bytes that a handshake needs are handed in.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

#[cfg(feature = "secure")]
mod channel;
#[cfg(feature = "secure")]
mod handshake;
mod offer;
#[cfg(feature = "secure")]
mod psk;
#[cfg(all(test, feature = "secure"))]
mod tests;
#[cfg(not(feature = "secure"))]
mod without;

#[cfg(feature = "secure")]
pub(crate) use channel::Channel;
#[cfg(feature = "secure")]
pub(crate) use handshake::{Initiator, initiate, respond};
pub(crate) use offer::{Accepted, MAX_KID, Offer, SUITE};
#[cfg(feature = "secure")]
pub(crate) use psk::{Material, Psk, derive};
#[cfg(not(feature = "secure"))]
pub(crate) use without::*;

/// Random bytes of a handshake: the private key that serves it alone.
pub(crate) const RANDOM: usize = 32;

/// Bytes that a record's tag adds to its plaintext.
pub(crate) const TAG: usize = 16;

/// The most that a record's ciphertext has (the Noise Protocol Framework, section 3).
pub(crate) const MAX_RECORD: usize = 65_535;

/// What a record holds: the first byte of its plaintext.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A piece of the stream of frames.
    Data = 0,
    /// The handshake is over for the sender; the first record of each side.
    Finished = 1,
    /// The sender ends the connection; the body says why.
    Close = 2,
}

impl Kind {
    /// What a first byte means.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::Data, Self::Finished, Self::Close].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The other side does not know the secret, or somebody changed what was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it does not prove the secret")]
pub(crate) struct Refused;
