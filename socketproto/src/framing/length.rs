//! Length framing.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | n, big-endian; at most the limit in force |
//! | n | the frame |

use bytes::{Buf, BufMut, BytesMut};
use tokio_util::codec::Decoder;

use super::{FramingError, Piece};

/// Takes frames with a length before each off a stream, without a copy.
///
/// An unfinished frame waits in the read buffer, which grows as the bytes come. A declared length above the limit is
/// an error, again at each call: nothing behind it can be found.
#[derive(Debug)]
pub struct LengthDecoder {
    max_frame: usize,
}

impl LengthDecoder {
    /// A decoder at the start of a stream.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame }
    }

    /// Sets the limit, also for a frame that has begun.
    pub fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// How many bytes of the frame that begins with `src` have yet to come; none where its length has not come, is
    /// above the limit, or the frame is there.
    pub(super) fn missing(&self, src: &[u8]) -> Option<usize> {
        let (prefix, body) = src.split_first_chunk()?;
        let length = declared(*prefix);
        length.checked_sub(body.len()).filter(|missing| *missing > 0 && length <= self.max_frame)
    }
}

impl Decoder for LengthDecoder {
    type Item = Piece;
    type Error = FramingError;

    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        let Some((prefix, body)) = src.split_first_chunk() else {
            return Ok(None);
        };
        let length = declared(*prefix);
        if length > self.max_frame {
            return Err(FramingError::TooLarge { found: length, limit: self.max_frame });
        }
        if body.len() < length {
            return Ok(None);
        }
        src.advance(PREFIX);
        Ok(Some(Piece::Frame(src.split_to(length).freeze())))
    }

    /// An unfinished frame at the end of the stream is dropped in silence.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        self.decode(src)
    }
}

/// Appends one frame to `out`; see [`Framer::frame`](super::Framer::frame).
#[inline]
pub(super) fn frame<E>(
    out: &mut BytesMut,
    payload: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<usize, E> {
    let start = out.len();
    out.put_bytes(0, PREFIX);
    if let Err(error) = payload(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = out.len().saturating_sub(start).saturating_sub(PREFIX);
    if let Some(prefix) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *prefix = encode(length);
    }
    Ok(length)
}

/// Appends one frame to `out`.
pub(super) fn put(frame: &[u8], out: &mut BytesMut) {
    out.reserve(frame.len().saturating_add(PREFIX));
    out.put_slice(&encode(frame.len()));
    out.put_slice(frame);
}

fn declared(prefix: [u8; PREFIX]) -> usize {
    // A u32 that does not fit is above any limit.
    usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX)
}

fn encode(length: usize) -> [u8; PREFIX] {
    // What does not fit is refused by every receiver.
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// The bytes of a length.
const PREFIX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::tests::however_split;

    /// The pieces in `stream`, as text: however it is split in two, and byte by byte. It ends at the first error.
    fn check(stream: impl AsRef<[u8]>, expected: &str) {
        however_split(stream.as_ref(), |reads| {
            assert_eq!(pieces(reads.iter().copied()), expected, "{reads:?}");
        });
    }

    fn pieces<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut decoder = LengthDecoder::new(LIMIT);
        let mut src = BytesMut::new();
        let mut found = Vec::new();
        for read in reads {
            src.extend_from_slice(read);
            while found.last().is_none_or(|last| last != "too-large") {
                found.push(match decoder.decode(&mut src) {
                    Ok(None) => break,
                    Ok(Some(Piece::Frame(frame))) => format!("({})", frame.escape_ascii()),
                    Ok(Some(piece)) => panic!("{piece:?}"),
                    Err(_) => "too-large".into(),
                });
            }
        }
        found.join(" ")
    }

    const LIMIT: usize = 8;

    #[test]
    fn frames_follow_each_other() {
        check("", "");
        check(b"\0\0\0\x01a", "(a)");
        check(b"\0\0\0\x01a\0\0\0\x02bc", "(a) (bc)");
        check(b"\0\0\0\x02a", "");
        check(b"\0\0\0", "");
    }

    #[test]
    fn a_frame_may_be_empty() {
        check(b"\0\0\0\0\0\0\0\x01a", "() (a)");
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_body() {
        check(b"\0\0\0\x0812345678", "(12345678)");
        check(b"\0\0\0\x09", "too-large");
        check(b"\xff\xff\xff\xff", "too-large");
        check(b"\0\0\0\x01a\x7b\0\0\0", "(a) too-large");
    }

    #[test]
    fn a_refused_length_stays_refused() {
        let mut decoder = LengthDecoder::new(LIMIT);
        let mut src = BytesMut::from(&b"\0\0\0\x09"[..]);
        for _ in 0..3 {
            let error = decoder.decode(&mut src).unwrap_err();
            assert_eq!(error.to_string(), "a frame of 9 bytes or more exceeds the limit of 8");
        }
    }

    #[test]
    fn the_limit_in_force_is_the_one_set_last() {
        let mut decoder = LengthDecoder::new(LIMIT);
        let mut src = BytesMut::from(&b"\0\0\0\x0512345"[..]);
        decoder.set_max_frame(4);
        assert!(decoder.decode(&mut src).is_err());
        decoder.set_max_frame(5);
        assert_eq!(decoder.decode(&mut src).unwrap(), Some(Piece::Frame("12345".into())));
    }

    #[test]
    fn a_frame_is_not_copied() {
        let mut src = BytesMut::from(&b"\0\0\0\x05123451234"[..]);
        let body = src[PREFIX..].as_ptr();
        let Ok(Some(Piece::Frame(frame))) = LengthDecoder::new(LIMIT).decode(&mut src) else { panic!() };
        assert_eq!(frame.as_ptr(), body);
    }

    #[test]
    fn what_is_missing_of_a_frame_is_known() {
        let decoder = LengthDecoder::new(LIMIT);
        let check = |src: &[u8], expected| assert_eq!(decoder.missing(src), expected, "{src:?}");
        check(b"", None);
        check(b"\0\0\0", None);
        check(b"\0\0\0\x02", Some(2));
        check(b"\0\0\0\x02a", Some(1));
        check(b"\0\0\0\x02ab", None);
        check(b"\0\0\0\x02abc", None);
        check(b"\0\0\0\x09a", None);
    }

    #[test]
    fn a_declared_length_allocates_nothing() {
        let mut src = BytesMut::from(&b"\x0f\xff\xff\xff"[..]);
        let before = src.capacity();
        assert!(LengthDecoder::new(usize::MAX).decode(&mut src).unwrap().is_none());
        assert_eq!(src.capacity(), before);
    }
}
