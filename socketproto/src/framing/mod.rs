//! Frames on a byte stream (protocol.md section 3).
//!
//! ```text
//! frame --Framer-->  Stp     ':<'  frame, each ':' as ':='  ':>'
//!                    Length  u32 length  frame
//! bytes --Deframer-->  Piece::Frame | Piece::Gap | Piece::Broken, in order
//! ```
//!
//! This module knows nothing of messages: what a frame says is the matter of [`crate::frame`]. A connection owns one
//! [`Deframer`] and one [`Framer`]; both are tokio-util codecs and work on any split of the stream. A listener that
//! has yet to find out which framing its peer speaks asks [`detect`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod detect;
mod framer;
mod length;
mod stp;

use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

pub use detect::{Detected, detect};
pub use framer::Framer;
pub use length::LengthDecoder;
pub use stp::StpDecoder;

/// The largest frame that any limit may allow: with it the first byte of a length is at most 0x0F, which [`detect`]
/// relies on.
pub const MAX_FRAME: usize = (1 << 28) - 1;

/// The two ways to put frames on a stream; the protocol has no others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two framings")]
pub enum Framing {
    /// Byte-stuffed and self-synchronising: serial lines and old peers.
    Stp,
    /// A length before each frame: new peers.
    Length,
}

/// What a decoder finds on a stream.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Piece {
    /// The bytes of one frame; none at all is possible with length framing.
    Frame(Bytes),
    /// Bytes that belong to no frame; reported once, at the first of them. STP alone has gaps.
    Gap,
    /// A frame was begun and dropped, with what is wrong with it. The bytes from there to the next frame are part of
    /// the damage and no gap. STP alone drops frames.
    Broken(&'static str),
}

/// Why no further frame comes from a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A frame exceeds the limit in force.
    #[error("a frame of {found} bytes or more exceeds the limit of {limit}")]
    TooLarge {
        /// Its length: with length framing as declared, with STP as far as it came.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the frames off a stream, in either framing.
///
/// The limit holds for the frame without its framing. Memory grows with the bytes that came, never with a length that
/// was declared; the cost of a byte does not depend on how the stream was split.
#[derive(Debug)]
pub struct Deframer(Inner);

#[derive(Debug)]
enum Inner {
    Stp(StpDecoder),
    Length(LengthDecoder),
}

impl Deframer {
    /// A decoder at the start of a stream.
    pub fn new(framing: Framing, max_frame: usize) -> Self {
        Self(match framing {
            Framing::Stp => Inner::Stp(StpDecoder::new(max_frame)),
            Framing::Length => Inner::Length(LengthDecoder::new(max_frame)),
        })
    }

    /// Sets the limit. It holds at once, also for a frame that has begun.
    #[inline]
    pub fn set_max_frame(&mut self, max_frame: usize) {
        match &mut self.0 {
            Inner::Stp(decoder) => decoder.set_max_frame(max_frame),
            Inner::Length(decoder) => decoder.set_max_frame(max_frame),
        }
    }

    /// Keeps no room for frames to come.
    pub(crate) fn shrink(&mut self) {
        match &mut self.0 {
            Inner::Stp(decoder) => decoder.shrink(),
            Inner::Length(_) => {}
        }
    }

    /// Drops an unfinished frame: what follows up to the next one is noise. With length framing nothing is held in here, and
    /// no next one could be found.
    pub(crate) fn drop_frame(&mut self) {
        match &mut self.0 {
            Inner::Stp(decoder) => decoder.abandon(),
            Inner::Length(_) => {}
        }
    }

    /// How many bytes of the frame that begins with `src` have yet to come, where its length is known.
    pub(crate) fn missing(&self, src: &[u8]) -> Option<usize> {
        match &self.0 {
            Inner::Stp(_) => None,
            Inner::Length(decoder) => decoder.missing(src),
        }
    }

    /// The bytes of an unfinished frame held in here, never more than the limit. With length framing they wait in the
    /// read buffer instead, and this is 0.
    pub fn pending(&self) -> usize {
        match &self.0 {
            Inner::Stp(decoder) => decoder.pending(),
            Inner::Length(_) => 0,
        }
    }
}

impl Decoder for Deframer {
    type Item = Piece;
    type Error = FramingError;

    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        match &mut self.0 {
            Inner::Stp(decoder) => decoder.decode(src),
            Inner::Length(decoder) => decoder.decode(src),
        }
    }

    /// An unfinished frame at the end of the stream is dropped in silence.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        self.decode(src)
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stp => "stp",
            Self::Length => "length",
        })
    }
}

/// Shows the size of a frame alone: payloads stay out of logs.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "Frame({} bytes)", frame.len()),
            Self::Gap => f.write_str("Gap"),
            Self::Broken(reason) => write!(f, "Broken({reason:?})"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;
    use tokio_util::codec::Encoder;

    use super::*;
    use crate::frame::tests::{encoded, format, message};
    use crate::frame::{self, Format};
    use crate::message::Message;

    /// Reads a stream split in two at each place, and byte by byte.
    pub(crate) fn however_split(stream: &[u8], check: impl Fn(&[&[u8]])) {
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            check(&[first, second]);
        }
        check(&stream.chunks(1).collect::<Vec<_>>());
    }

    fn framing() -> impl Strategy<Value = Framing> {
        prop_oneof![Just(Framing::Stp), Just(Framing::Length)]
    }

    /// Several messages, all in one format.
    fn messages() -> impl Strategy<Value = (Format, Vec<Message>)> {
        format().prop_flat_map(|format| (Just(format), proptest::collection::vec(message(format), 1..5)))
    }

    fn stream(framing: Framing, frames: impl IntoIterator<Item = Bytes>) -> BytesMut {
        let mut out = BytesMut::new();
        let mut framer = Framer::new(framing);
        for frame in frames {
            framer.encode(&frame, &mut out).unwrap();
        }
        out
    }

    /// The pieces of a stream that comes in these reads, up to the first error.
    fn pieces<'a>(decoder: &mut Deframer, reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece> {
        let mut src = BytesMut::new();
        let mut found = Vec::new();
        for read in reads {
            src.extend_from_slice(read);
            loop {
                match decoder.decode(&mut src) {
                    Ok(Some(piece)) => found.push(piece),
                    Ok(None) => break,
                    Err(_) => return found,
                }
            }
            assert!(decoder.pending() <= LIMIT);
        }
        assert!(decoder.decode_eof(&mut src).unwrap().is_none());
        found
    }

    /// Cuts a stream at these places, wherever they fall.
    fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        places.sort_unstable();
        let mut reads = Vec::new();
        let mut start = 0;
        for place in places {
            reads.push(&stream[start..place]);
            start = place;
        }
        reads.push(&stream[start..]);
        reads
    }

    const LIMIT: usize = 1 << 20;

    proptest! {
        #[test]
        fn messages_survive_every_split_of_their_stream(
            framing in framing(),
            (format, sent) in messages(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut out = BytesMut::new();
            let mut framer = Framer::new(framing);
            for message in &sent {
                let length = framer
                    .frame(&mut out, |out| frame::encode(format, message.header(), message.json().as_str(), out))
                    .unwrap();
                prop_assert_eq!(length, encoded(format, message).len());
            }
            let bytewise: Vec<&[u8]> = out.chunks(1).collect();
            for reads in [cut(&out, &cuts), bytewise] {
                let found = pieces(&mut Deframer::new(framing, LIMIT), reads);
                let received: Vec<Message> = found
                    .into_iter()
                    .map(|piece| match piece {
                        Piece::Frame(frame) => frame::decode(frame).unwrap().message,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                prop_assert_eq!(&received, &sent);
            }
        }

        #[test]
        fn any_bytes_survive_every_split_of_their_stream(
            framing in framing(),
            frames in proptest::collection::vec(proptest::collection::vec(symbol(), 1..30), 1..5),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            let out = stream(framing, frames.clone());
            let found = pieces(&mut Deframer::new(framing, LIMIT), cut(&out, &cuts));
            prop_assert_eq!(found, frames.into_iter().map(Piece::Frame).collect::<Vec<_>>());
        }

        #[test]
        fn garbage_never_panics_and_holds_no_more_than_the_limit(
            framing in framing(),
            limit in 0_usize..20,
            garbage in proptest::collection::vec(symbol(), 0..200),
        ) {
            let mut decoder = Deframer::new(framing, limit);
            let mut src = BytesMut::new();
            for byte in garbage {
                src.put_u8(byte);
                while let Ok(Some(piece)) = decoder.decode(&mut src) {
                    if let Piece::Frame(frame) = piece {
                        prop_assert!(frame.len() <= limit);
                    }
                }
                prop_assert!(decoder.pending() <= limit);
            }
        }

        #[test]
        fn the_split_of_garbage_changes_nothing(
            garbage in proptest::collection::vec(symbol(), 1..200),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let whole = pieces(&mut Deframer::new(Framing::Stp, LIMIT), [garbage.as_slice()]);
            let split = pieces(&mut Deframer::new(Framing::Stp, LIMIT), cut(&garbage, &cuts));
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn stp_finds_its_way_back_after_noise(
            noise in proptest::collection::vec(symbol(), 0..50),
            frame in proptest::collection::vec(symbol(), 1..30),
        ) {
            let frame = Bytes::from(frame);
            let clean = stream(Framing::Stp, [frame.clone()]);
            let found = pieces(&mut Deframer::new(Framing::Stp, LIMIT), [&noise[..], &clean[..]]);
            prop_assert_eq!(found.last(), Some(&Piece::Frame(frame)));
        }

        #[test]
        fn a_flipped_bit_on_the_stream_never_makes_another_message(
            framing in framing(),
            sent in proptest::collection::vec(message(Format::Json), 1..5),
            at: prop::sample::Index,
            bit in 0_u32..8,
        ) {
            let mut out = stream(framing, sent.iter().map(|message| encoded(Format::Json, message)));
            *at.get_mut(&mut out[..]) ^= 1_u8 << bit;
            for piece in pieces(&mut Deframer::new(framing, LIMIT), [&out[..]]) {
                if let Piece::Frame(frame) = piece
                    && let Ok(decoded) = frame::decode(frame)
                {
                    prop_assert!(sent.contains(&decoded.message));
                }
            }
        }
    }

    /// Any byte, those that mean something to a framing more often.
    fn symbol() -> impl Strategy<Value = u8> {
        prop_oneof![
            4 => Just(b':'),
            2 => prop_oneof![Just(b'<'), Just(b'>'), Just(b'='), Just(0), Just(1)],
            2 => any::<u8>(),
        ]
    }

    #[test]
    fn a_mebibyte_byte_by_byte_is_one_frame() {
        let frame = Bytes::from(":a:=b".repeat(LIMIT / 5));
        for framing in [Framing::Stp, Framing::Length] {
            let out = stream(framing, [frame.clone()]);
            let found = pieces(&mut Deframer::new(framing, LIMIT), out.chunks(1));
            assert!(found == [Piece::Frame(frame.clone())], "{framing}");
        }
    }

    #[test]
    fn debug_shows_no_payload() {
        assert_eq!(format!("{:?}", Piece::Frame("hidden".into())), "Frame(6 bytes)");
    }
}
