//! STP: byte stuffing that finds its way back after noise.
//!
//! | bytes | inside a frame | between frames |
//! | --- | --- | --- |
//! | `:<` | drops the frame, begins one | begins a frame |
//! | `:>` | ends the frame; malformed where it is empty | noise |
//! | `:=` | one `:` | noise |
//! | `::` | drops the frame; the second `:` begins the next pair | the first is noise, likewise |
//! | `:` and another byte | drops the frame | noise |
//! | any other byte | itself | noise |

use std::{fmt, mem};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr_iter};
use tokio_util::codec::Decoder;

use super::{FramingError, Piece};

/// Takes byte-stuffed frames off a stream.
///
/// Each call consumes what it has looked at, so that no byte is looked at twice; an unfinished frame is held in here.
/// After [`FramingError::TooLarge`] the decoder may go on: the frame is dropped, and the next one is found.
pub struct StpDecoder {
    max_frame: usize,
    place: Place,
    /// Whether a `:` has come and its second half has not.
    colon: bool,
    /// What has come of the frame, without stuffing; empty between frames.
    payload: BytesMut,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Inside,
    /// Between frames; nothing has come since the last.
    Between,
    /// Between frames, in bytes that have been reported.
    Noise,
}

impl StpDecoder {
    /// A decoder at the start of a stream.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, place: Place::Between, colon: false, payload: BytesMut::new() }
    }

    /// Sets the limit. A frame that has begun and is above it already fails at its next byte.
    pub fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// The bytes of an unfinished frame held in here, without stuffing.
    pub fn pending(&self) -> usize {
        self.payload.len()
    }

    /// Drops an unfinished frame: what follows up to the next one is noise, and part of the damage.
    pub(super) fn abandon(&mut self) {
        if self.place == Place::Inside {
            self.drop_frame(Place::Noise, "given up");
        }
    }

    /// Keeps no room for frames to come.
    pub(super) fn shrink(&mut self) {
        if self.payload.is_empty() {
            self.payload = BytesMut::new();
        }
    }

    /// Takes bytes without a `:`.
    fn handle_plain(&mut self, bytes: &[u8]) -> Result<Option<Piece>, FramingError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.place {
            Place::Inside => self.append(bytes).map(|()| None),
            Place::Between | Place::Noise => Ok(self.noise()),
        }
    }

    /// Takes the byte behind a `:`.
    fn handle_pair(&mut self, second: u8) -> Result<Option<Piece>, FramingError> {
        self.colon = second == b':';
        match (self.place, second) {
            (Place::Inside, b'=') => self.append(b":").map(|()| None),
            (Place::Inside, b'>') => self.finish(),
            (Place::Inside, b'<') => Ok(Some(self.drop_frame(Place::Inside, "`:<` inside a frame"))),
            (Place::Inside, _) => Ok(Some(self.drop_frame(Place::Noise, "undefined escape"))),
            (_, b'<') => {
                self.place = Place::Inside;
                Ok(None)
            }
            _ => Ok(self.noise()),
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        self.check_limit(self.payload.len().saturating_add(bytes.len()))?;
        if self.payload.capacity().saturating_sub(self.payload.len()) < bytes.len() {
            self.payload.reserve(bytes.len().max(ROOM));
        }
        self.payload.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Piece>, FramingError> {
        // Once more, for the limit may have been lowered since the last byte.
        self.check_limit(self.payload.len())?;
        if self.payload.is_empty() {
            return Ok(Some(self.drop_frame(Place::Between, "`:<:>` holds no frame")));
        }
        self.place = Place::Between;
        Ok(Some(Piece::Frame(self.take_payload())))
    }

    fn check_limit(&mut self, found: usize) -> Result<(), FramingError> {
        if found <= self.max_frame {
            return Ok(());
        }
        self.drop_frame(Place::Noise, "too large");
        Err(FramingError::TooLarge { found, limit: self.max_frame })
    }

    fn drop_frame(&mut self, place: Place, reason: &'static str) -> Piece {
        self.place = place;
        self.payload.clear();
        if self.payload.capacity() > KEPT_PAYLOAD {
            self.payload = BytesMut::new();
        }
        Piece::Broken(reason)
    }

    fn noise(&mut self) -> Option<Piece> {
        match mem::replace(&mut self.place, Place::Noise) {
            Place::Noise => None,
            Place::Between | Place::Inside => Some(Piece::Gap),
        }
    }

    /// The frame in the payload buffer. Of a small buffer it is a part, and what is left serves the frames to come. A
    /// large one is given away whole, so that between frames no connection holds one.
    fn take_payload(&mut self) -> Bytes {
        if self.payload.capacity() > KEPT_PAYLOAD {
            return mem::take(&mut self.payload).freeze();
        }
        self.payload.split().freeze()
    }
}

impl Decoder for StpDecoder {
    type Item = Piece;
    type Error = FramingError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        let mut rest: &[u8] = src;
        let mut outcome = Ok(None);
        while let (Ok(None), Some((first, behind_first))) = (&outcome, rest.split_first()) {
            outcome = if self.colon {
                rest = behind_first;
                self.handle_pair(*first)
            } else {
                let (plain, behind_plain) = split_at_colon(rest);
                match (self.place, behind_plain) {
                    // What JSON is full of. The first half of the pair is the byte that it stands for.
                    (Place::Inside, [b':', b'=', behind_pair @ ..]) => {
                        let with_colon = rest.get(..=plain.len()).unwrap_or_default();
                        rest = behind_pair;
                        self.append(with_colon).map(|()| None)
                    }
                    _ => {
                        self.colon = !behind_plain.is_empty();
                        rest = behind_plain.get(1..).unwrap_or_default();
                        self.handle_plain(plain)
                    }
                }
            };
        }
        let seen = src.len().saturating_sub(rest.len());
        src.advance(seen);
        outcome
    }

    /// An unfinished frame at the end of the stream is dropped in silence.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Piece>, FramingError> {
        self.decode(src)
    }
}

/// Shows the state and the size: payloads stay out of logs.
impl fmt::Debug for StpDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StpDecoder")
            .field("max_frame", &self.max_frame)
            .field("place", &self.place)
            .field("colon", &self.colon)
            .field("pending", &self.pending())
            .finish()
    }
}

/// Appends one frame to `out`, stuffed.
pub(super) fn stuff(frame: &[u8], out: &mut BytesMut) {
    // A small one at its largest; counting costs more than the room.
    let colons = if frame.len() < SMALL { frame.len() } else { memchr_iter(b':', frame).count() };
    out.reserve(frame.len().saturating_add(colons).saturating_add(START.len()).saturating_add(END.len()));
    out.put_slice(START);
    let mut start = 0;
    for colon in memchr_iter(b':', frame) {
        let end = colon.saturating_add(1);
        out.put_slice(frame.get(start..end).unwrap_or_default());
        out.put_u8(b'=');
        start = end;
    }
    out.put_slice(frame.get(start..).unwrap_or_default());
    out.put_slice(END);
}

/// The bytes before the first `:`, and those from it on.
#[inline]
fn split_at_colon(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr(b':', bytes).unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

const START: &[u8] = b":<";
const END: &[u8] = b":>";

/// Room for a few small frames: a new buffer for each would cost more than the frame.
const ROOM: usize = 1024;

/// Bytes of a frame below which its colons are not counted.
const SMALL: usize = 1024;

/// The payload buffer that is kept between frames at most: most messages are smaller, and 10,000 connections hold
/// 40 MB.
const KEPT_PAYLOAD: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::tests::however_split;

    /// The pieces in `stream`, as text: however it is split in two, and byte by byte.
    fn check(stream: impl AsRef<[u8]>, expected: &str) {
        however_split(stream.as_ref(), |reads| {
            assert_eq!(pieces(reads.iter().copied()), expected, "{reads:?}");
        });
    }

    fn pieces<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut decoder = StpDecoder::new(LIMIT);
        let mut src = BytesMut::new();
        let mut found = Vec::new();
        for read in reads {
            src.extend_from_slice(read);
            loop {
                found.push(match decoder.decode(&mut src) {
                    Ok(None) => break,
                    Ok(Some(Piece::Frame(frame))) => format!("({})", frame.escape_ascii()),
                    Ok(Some(Piece::Gap)) => "gap".into(),
                    Ok(Some(Piece::Broken(_))) => "broken".into(),
                    Err(error) => {
                        assert!(matches!(error, FramingError::TooLarge { limit: LIMIT, .. }));
                        "too-large".into()
                    }
                });
            }
            assert!(src.is_empty(), "every byte is consumed when it is first looked at");
            assert!(decoder.pending() <= LIMIT);
        }
        found.join(" ")
    }

    const LIMIT: usize = 8;

    #[test]
    fn frames_follow_each_other() {
        check("", "");
        check(":<a:>", "(a)");
        check(":<a:>:<b:>", "(a) (b)");
        check(":<a", "");
        check(":<a:", "");
        check(b":<\x00\xff\n:>", r"(\x00\xff\n)");
    }

    #[test]
    fn a_stuffed_colon_is_one_colon() {
        check(":<:=:>", "(:)");
        check(":<a:=b:>", "(a:b)");
        check(":<:=:=:>", "(::)");
        check(":<:=<:=>:==:>", "(:<:>:=)");
        check(":<<>=:>", "(<>=)");
    }

    #[test]
    fn bytes_between_frames_are_one_gap() {
        check("x", "gap");
        check("xyz\n:<a:>", "gap (a)");
        check(":<a:>xyz:<b:>", "(a) gap (b)");
        check(":<a:>x:<b:>y:<c:>", "(a) gap (b) gap (c)");
        check(":<a:>xyz:x:yz:<b:>", "(a) gap (b)");
    }

    #[test]
    fn pairs_between_frames_are_noise() {
        check(":", "");
        check(":=", "gap");
        check(":>", "gap");
        check(":x:<a:>", "gap (a)");
        check(":<a:>:>:<b:>", "(a) gap (b)");
        check(":<a:>:=:<b:>", "(a) gap (b)");
    }

    #[test]
    fn a_start_inside_a_frame_drops_the_earlier_part() {
        check(":<a:<b:>", "broken (b)");
        check(":<:<b:>", "broken (b)");
        check(":<a:<b:<c:>", "broken broken (c)");
    }

    #[test]
    fn an_undefined_escape_drops_the_frame() {
        check(":<a:b", "broken");
        check(":<a:bc:>:<d:>", "broken (d)");
        check(":<a:bc:=:>xyz:<d:>", "broken (d)");
        check(":<a:\0:<d:>", "broken (d)");
    }

    #[test]
    fn the_second_of_two_colons_begins_a_pair() {
        check("::<a:>", "gap (a)");
        check(":::<a:>", "gap (a)");
        check(":<a::<b:>", "broken (b)");
        check(":<a:::<b:>", "broken (b)");
        check(":<a::>:<b:>", "broken (b)");
        check(":<a::=b:>:<c:>", "broken (c)");
    }

    #[test]
    fn an_empty_frame_is_malformed() {
        check(":<:>", "broken");
        check(":<:>:<a:>", "broken (a)");
        check(":<:>x:<a:>", "broken gap (a)");
    }

    #[test]
    fn the_limit_holds_for_the_frame_without_stuffing() {
        check(":<12345678:>", "(12345678)");
        check(":<123456789:>", "too-large");
        check(":<:=:=:=:=:=:=:=:=:>", "(::::::::)");
        check(":<:=:=:=:=:=:=:=:=:=:>", "too-large");
        check(":<123456789", "too-large");
    }

    #[test]
    fn after_a_frame_above_the_limit_the_next_is_found() {
        check(":<123456789abc:=de:>xyz:<a:>", "too-large (a)");
        check(":<123456789:<a:>", "too-large (a)");
    }

    #[test]
    fn a_lowered_limit_holds_for_a_frame_that_has_begun() {
        for rest in [":>", "x", ":="] {
            let mut decoder = StpDecoder::new(LIMIT);
            assert!(decoder.decode(&mut BytesMut::from(":<12345")).unwrap().is_none());
            decoder.set_max_frame(4);
            assert!(decoder.decode(&mut BytesMut::from(rest)).is_err(), "{rest}");
        }
    }

    #[test]
    fn a_large_frame_leaves_no_large_buffer() {
        for end in [":>", ":<", ":x", "::", "too large"] {
            let mut decoder = StpDecoder::new(1 << 20);
            assert!(decoder.decode(&mut BytesMut::from(":<")).unwrap().is_none());
            assert!(decoder.decode(&mut BytesMut::zeroed(1 << 20)).unwrap().is_none());
            assert_eq!(decoder.pending(), 1 << 20);
            let _ = decoder.decode(&mut BytesMut::from(end));
            assert_eq!(decoder.pending(), 0, "{end}");
            assert!(decoder.payload.capacity() <= KEPT_PAYLOAD, "{end}");
            decoder.shrink();
            assert_eq!(decoder.payload.capacity(), 0, "{end}");
        }
    }

    #[test]
    fn behind_a_frame_that_was_given_up_the_next_is_found() {
        let mut decoder = StpDecoder::new(LIMIT);
        let mut src = BytesMut::from(":<123");
        assert!(decoder.decode(&mut src).unwrap().is_none());
        decoder.abandon();
        assert_eq!(decoder.pending(), 0);
        src.extend_from_slice(b"45:>x:<a:>");
        assert_eq!(decoder.decode(&mut src).unwrap(), Some(Piece::Frame("a".into())));
        decoder.abandon();
        src.extend_from_slice(b"x");
        assert_eq!(decoder.decode(&mut src).unwrap(), Some(Piece::Gap), "between frames nothing changes");
    }

    #[test]
    fn debug_shows_no_payload() {
        let mut decoder = StpDecoder::new(LIMIT);
        decoder.decode(&mut BytesMut::from(":<hidden")).unwrap();
        assert!(!format!("{decoder:?}").contains("104"));
        assert!(!format!("{decoder:?}").contains("hidden"));
    }
}
