//! What a connection speaks, told from its first byte.
//!
//! | first byte | what |
//! | --- | --- |
//! | `:` | STP |
//! | 0x00 to 0x0F | length framing: no frame is longer than 2^28 - 1 |
//! | 0x16 | a TLS ClientHello |
//! | `G` | the GET of a WebSocket upgrade |

use super::Framing;

/// What the other side began to speak. Whether it is welcome is the listener's decision.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these ways to begin")]
pub enum Detected {
    /// Frames, in clear.
    Framing(Framing),
    /// A TLS handshake; frames follow inside it.
    Tls,
    /// An HTTP request.
    WebSocket,
}

/// Tells what a connection speaks by its first byte; none means to close without an answer.
///
/// ```
/// use socketproto::framing::{Detected, Framing, detect};
///
/// assert_eq!(detect(b':'), Some(Detected::Framing(Framing::Stp)));
/// assert_eq!(detect(b'P'), None);
/// ```
pub const fn detect(first: u8) -> Option<Detected> {
    match first {
        b':' => Some(Detected::Framing(Framing::Stp)),
        0x00..=0x0F => Some(Detected::Framing(Framing::Length)),
        0x16 => Some(Detected::Tls),
        b'G' => Some(Detected::WebSocket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::MAX_FRAME;

    #[test]
    fn every_first_byte_has_one_meaning() {
        for first in u8::MIN..=u8::MAX {
            let expected = match first {
                0x3A => Some(Detected::Framing(Framing::Stp)),
                0..16 => Some(Detected::Framing(Framing::Length)),
                0x16 => Some(Detected::Tls),
                0x47 => Some(Detected::WebSocket),
                _ => None,
            };
            assert_eq!(detect(first), expected, "{first:#04x}");
        }
    }

    #[test]
    fn the_largest_length_is_still_taken_for_one() {
        let length = u32::try_from(MAX_FRAME).unwrap();
        assert_eq!(detect(length.to_be_bytes()[0]), Some(Detected::Framing(Framing::Length)));
        assert_eq!(detect((length + 1).to_be_bytes()[0]), None);
    }
}
