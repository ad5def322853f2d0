//! One message as the bytes of one frame, and back (protocol.md section 2).
//!
//! ```text
//! Message  --encode-->  Format::Json    {"data_id":2,"service_id":10,"status":0,"data":..}  CRC-32
//!                       Format::Struct  status  service_id  data_id  ..  XOR
//! Message  <--decode--  either; the first byte tells which
//! ```
//!
//! This module knows nothing of streams: where a frame ends is the matter of [`crate::framing`]. The data of a
//! decoded message are a slice of the frame they came in, not a copy.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod envelope;
mod json;
mod layout;
mod structured;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::message::{Header, Json, Message};
use crate::strings::is_space;

pub use text::nests_deeper;

/// The two layouts of a frame; the protocol has no others.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two formats")]
pub enum Format {
    /// A JSON object and its CRC-32: `pure_json_protocol`.
    #[default]
    Json,
    /// Three numbers, the data as JSON and an XOR: `struct_json_protocol`, deprecated. It has no place for a
    /// message id.
    Struct,
}

/// How deep JSON may nest, the envelope included: data nest up to one less, in both formats (protocol.md section 8).
///
/// A deeper text is refused before it is parsed: readers of JSON recurse, and their stack is finite.
pub const MAX_NESTING: usize = 127;

/// What a frame held.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain data")]
pub struct Decoded {
    /// The message.
    pub message: Message,
    /// The layout it came in; its response has the same.
    pub format: Format,
    /// Whether `NaN`, `Infinity` or `-Infinity` stood in the text and was replaced by null.
    pub non_finite: bool,
}

/// Why a frame is no message.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is whole, but not what the protocol allows. The text says what was found; it shows nothing of the
    /// data.
    #[error("malformed frame: {0}")]
    Malformed(Cow<'static, str>),
    /// The text is malformed in that it nests too deep.
    #[error("malformed frame: the JSON text nests deeper than {limit}")]
    TooDeep {
        /// How deep it may nest: in a JSON frame the envelope counts, a struct frame has none.
        limit: usize,
    },
    /// The frame was damaged on its way.
    #[error("the checksum of the {format} frame does not fit")]
    Checksum {
        /// What stands around the data, where that much can still be read. It may be damaged too.
        envelope: Option<Header>,
        /// The layout the frame seems to have.
        format: Format,
    },
}

/// Why a message has no frame.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The peer would refuse the data.
    #[error("the data nest deeper than {limit}")]
    TooDeep {
        /// How deep data may nest.
        limit: usize,
    },
    /// The struct format has no place for the id.
    #[error("a struct frame cannot carry the message id {found}")]
    MessageIdInStruct {
        /// The id in the header.
        found: u64,
    },
    /// The peer would refuse the id.
    #[error("expected a message id from 1 to 2^53 - 1, found {found}")]
    MessageIdOutOfRange {
        /// The id in the header.
        found: u64,
    },
}

/// Reads one frame. A frame that begins with `{`, after white space or not, is JSON; with a zero byte, struct.
///
/// # Errors
/// [`FrameError::Checksum`] comes before all else that may be wrong with a frame.
#[inline]
pub fn decode(frame: Bytes) -> Result<Decoded, FrameError> {
    decode_within(MAX_NESTING, frame)
}

/// The same, where JSON may nest so deep, the envelope included.
#[inline]
pub(crate) fn decode_within(nesting: usize, frame: Bytes) -> Result<Decoded, FrameError> {
    match frame.first() {
        None => Err(malformed("an empty frame")),
        Some(0) => structured::decode(around(nesting), frame),
        Some(first) if frame.iter().find(|byte| !is_space(**byte)) != Some(&b'{') => {
            Err(malformed(format!("expected a frame to begin with `{{` or 0x00, found {first:#04x}")))
        }
        Some(_) => json::decode(nesting, frame),
    }
}

/// Appends one frame to `out`. The data are one JSON value, as [`Json`] holds it.
///
/// ```
/// use bytes::BytesMut;
/// use socketproto::frame::{self, Format};
/// use socketproto::{Json, Message};
///
/// let message = Message::new(20, 2, Json::encode(&22.5)?);
/// let mut out = BytesMut::new();
/// frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out)?;
/// assert!(out.starts_with(br#"{"data_id":2,"service_id":20,"status":0,"data":22.5}"#));
/// assert_eq!(frame::decode(out.freeze())?.message, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the peer would refuse the frame, or the format cannot hold the message. `out` is then as before.
pub fn encode(format: Format, header: &Header, data: &str, out: &mut BytesMut) -> Result<(), EncodeError> {
    encode_within(MAX_NESTING, format, header, data.as_bytes(), out)
}

/// The same, where JSON may nest so deep, the envelope included, and for data that a serialiser has written, which is
/// UTF-8.
#[inline]
pub(crate) fn encode_within(
    nesting: usize,
    format: Format,
    header: &Header,
    data: &[u8],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let limit = around(nesting);
    if nests_deeper(data, limit) {
        return Err(EncodeError::TooDeep { limit });
    }
    match format {
        Format::Json => json::encode(header, data, out),
        Format::Struct => structured::encode(header, data, out),
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Struct => "struct",
        })
    }
}

/// Reads a JSON text under the rules both formats share: UTF-8, nesting, and the bare words of Python's `json`. `read`
/// gives what stands around the data, and where they are; true beside the data says that there were such words.
#[inline]
fn parse<T>(
    text: Bytes,
    nesting: usize,
    read: impl Fn(&str) -> Result<(T, Option<Range<usize>>), serde_json::Error>,
) -> Result<(T, Json, bool), FrameError> {
    let text = ByteString::try_from(text).map_err(|error| malformed(error.to_string()))?;
    if nests_deeper(text.as_bytes(), nesting) {
        return Err(FrameError::TooDeep { limit: nesting });
    }
    let error = match read(&text) {
        Ok((around, data)) => return Ok((around, part(text, data), false)),
        Err(error) => error,
    };
    match text::replace_non_finite(&text) {
        None => Err(malformed(error.to_string())),
        Some(text) => match read(&text) {
            Ok((around, data)) => Ok((around, part(text.into(), data), true)),
            Err(error) => Err(malformed(error.to_string())),
        },
    }
}

#[inline]
fn part(text: ByteString, data: Option<Range<usize>>) -> Json {
    data.map_or(Json::NULL, |data| Json::part_of(text, data))
}

/// Where a part of the text is.
fn range_of(part: &str, text: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start.saturating_add(part.len())
}

fn malformed(reason: impl Into<Cow<'static, str>>) -> FrameError {
    FrameError::Malformed(reason.into())
}

/// How deep data nest at most: the envelope around them is one level.
#[inline]
fn around(nesting: usize) -> usize {
    nesting.saturating_sub(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::id::Status;
    use crate::message::{Json, MAX_MESSAGE_ID};

    pub(crate) fn header(service: u32, data: u32, status: u32, message_id: Option<u64>) -> Header {
        let status = Status::new(status).unwrap();
        Header { service_id: service.into(), data_id: data.into(), status, message_id }
    }

    /// What came of a frame, on one line.
    pub(crate) fn show(outcome: Result<Decoded, FrameError>) -> String {
        match outcome {
            Ok(Decoded { message, non_finite, .. }) => {
                let non_finite = if non_finite { ", non-finite" } else { "" };
                format!("{}: {}{non_finite}", show_header(message.header()), message.json())
            }
            Err(FrameError::Checksum { envelope: None, format }) => format!("{format} checksum"),
            Err(FrameError::Checksum { envelope: Some(header), format }) => {
                format!("{format} checksum: {}", show_header(&header))
            }
            Err(error) => error.to_string(),
        }
    }

    fn show_header(header: &Header) -> String {
        let Header { service_id, data_id, status, message_id } = header;
        let message_id = message_id.map(|id| format!(" message {id}")).unwrap_or_default();
        let (service_id, data_id, status) = (service_id.value(), data_id.value(), status.value());
        format!("service {service_id} data {data_id} status {status}{message_id}")
    }

    /// Any message that `format` can hold.
    pub(crate) fn message(format: Format) -> impl Strategy<Value = Message> {
        let message_id = match format {
            Format::Json => proptest::option::of(1..=MAX_MESSAGE_ID).boxed(),
            Format::Struct => Just(None).boxed(),
        };
        (any::<u32>(), any::<u32>(), 0..=Status::MAX.value(), message_id, value()).prop_map(
            |(service, data, status, message_id, value)| {
                Message::from_parts(header(service, data, status, message_id), Json::encode(&value).unwrap())
            },
        )
    }

    pub(crate) fn format() -> impl Strategy<Value = Format> {
        prop_oneof![Just(Format::Json), Just(Format::Struct)]
    }

    pub(crate) fn encoded(format: Format, message: &Message) -> Bytes {
        let mut out = BytesMut::new();
        encode(format, message.header(), message.json().as_str(), &mut out).unwrap();
        out.freeze()
    }

    /// Any JSON value, with a fondness for the characters that mean something in a frame.
    pub(crate) fn value() -> impl Strategy<Value = Value> {
        let text = || prop_oneof![any::<String>(), r#"[:<>=\[\]{}"\\NaN\n]{0,12}"#];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((text(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// JSON of this depth.
    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    proptest! {
        #[test]
        fn a_message_survives_its_frame(
            (format, message) in format().prop_flat_map(|format| (Just(format), message(format))),
        ) {
            let decoded = decode(encoded(format, &message)).unwrap();
            prop_assert_eq!(decoded.message.json().as_str(), message.json().as_str());
            prop_assert_eq!(decoded.message, message);
            prop_assert_eq!(decoded.format, format);
            prop_assert!(!decoded.non_finite);
        }

        #[test]
        fn a_flipped_bit_never_makes_another_message(
            (format, message) in format().prop_flat_map(|format| (Just(format), message(format))),
            at: prop::sample::Index,
            bit in 0_u32..8,
        ) {
            let mut frame = encoded(format, &message).to_vec();
            *at.get_mut(&mut frame) ^= 1_u8 << bit;
            prop_assert!(decode(frame.into()).is_err());
        }

        #[test]
        fn garbage_never_panics(frame: Vec<u8>, json: bool) {
            let mut frame = frame;
            if json {
                frame.insert(0, b'{');
                frame.extend(crc32fast::hash(&frame).to_be_bytes());
            } else {
                frame.insert(0, 0);
                frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
            }
            let _ = decode(frame.into());
        }

        #[test]
        fn sealed_json_of_any_characters_never_panics(text in r#"\{[\[\]{}",:\\0-9a-zNI é-]{0,40}"#) {
            let frame = [text.as_bytes(), &crc32fast::hash(text.as_bytes()).to_be_bytes()].concat();
            let _ = decode(frame.into());
        }

    }

    #[test]
    fn every_bit_of_a_frame_matters() {
        let message = Message::new(20, 2, Json::from_text(r#"{"a":[1,"x:"]}"#).unwrap());
        for format in [Format::Json, Format::Struct] {
            let frame = encoded(format, &message);
            for bit in 0..frame.len() * 8 {
                let mut frame = frame.to_vec();
                frame[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(frame.into()).is_err(), "{format}, bit {bit}");
            }
        }
    }

    #[test]
    fn data_nest_126_deep_and_no_deeper() {
        for format in [Format::Json, Format::Struct] {
            let mut out = BytesMut::from("before");
            let error = encode(format, &header(1, 1, 0, None), &nested(127), &mut out);
            assert_eq!(error, Err(EncodeError::TooDeep { limit: 126 }));
            assert_eq!(out, "before");

            let deepest = Message::new(1, 1, Json::from_text(nested(126)).unwrap());
            assert_eq!(decode(encoded(format, &deepest)).unwrap().message, deepest);
        }
    }

    #[test]
    fn what_nests_deeper_is_malformed() {
        let text = |depth| format!(r#"{{"data_id":2,"service_id":10,"x":{}}}"#, nested(depth));
        let json =
            |depth| [text(depth).as_bytes(), &crc32fast::hash(text(depth).as_bytes()).to_be_bytes()].concat();
        let structured = |depth: usize| {
            let mut frame = [&[0; 12], nested(depth).as_bytes()].concat();
            frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
            frame
        };
        assert_eq!(show(decode(json(126).into())), "service 10 data 2 status 0: null");
        assert!(show(decode(structured(126).into())).starts_with("service 0 data 0 status 0: [["));
        for depth in [127, 128, 1_000_000] {
            let shown = show(decode(json(depth).into()));
            assert_eq!(shown, "malformed frame: the JSON text nests deeper than 127");
            let shown = show(decode(structured(depth).into()));
            assert_eq!(shown, "malformed frame: the JSON text nests deeper than 126");
        }
    }

    #[test]
    fn other_first_bytes_are_malformed() {
        for frame in ["", " ", "x", " x", " \0", "\x01", "\u{feff}{}1234"] {
            assert!(show(decode(Bytes::from(frame))).starts_with("malformed"), "{frame:?}");
        }
    }
}
