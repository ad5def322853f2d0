//! The struct frame.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | status, big-endian; below 2^24, so that the first byte is zero |
//! | 4 | service id, big-endian |
//! | 4 | data id, big-endian |
//! | n, at least 1 | the JSON text of the data |
//! | 1 | XOR of all bytes before |
//!
//! ```text
//! 00 00 00 00  00 00 00 14  00 00 00 02  22.5  0d
//! ```

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::{Decoded, EncodeError, Format, FrameError, malformed, parse, range_of};
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Message};

/// `nesting` is that of the data.
pub(super) fn decode(nesting: usize, mut frame: Bytes) -> Result<Decoded, FrameError> {
    let Some((checked, header, sound)) = inspect(&frame) else {
        let length = frame.len();
        return Err(malformed(format!("expected a struct frame of 14 bytes or more, found {length}")));
    };
    if !sound {
        return Err(FrameError::Checksum { envelope: header, format: Format::Struct });
    }
    let Some(header) = header else {
        return Err(malformed("expected a status below 2^24"));
    };

    frame.truncate(checked);
    frame.advance(HEADER.min(checked));
    let ((), data, non_finite) = parse(frame, nesting, read)?;
    Ok(Decoded { message: Message::from_parts(header, data), format: Format::Struct, non_finite })
}

pub(super) fn encode(header: &Header, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    if let Some(found) = header.message_id {
        return Err(EncodeError::MessageIdInStruct { found });
    }
    let start = out.len();
    out.reserve(data.len().saturating_add(HEADER).saturating_add(1));
    out.put_u32(header.status.value());
    out.put_u32(header.service_id.value());
    out.put_u32(header.data_id.value());
    out.put_slice(data);
    let checksum = xor(out.get(start..).unwrap_or_default());
    out.put_u8(checksum);
    Ok(())
}

/// How many bytes the checksum covers, the header where its status is in range, and whether the checksum fits. None
/// where the frame is too short to tell.
fn inspect(frame: &[u8]) -> Option<(usize, Option<Header>, bool)> {
    let (checksum, checked) = frame.split_last()?;
    let (status, rest) = checked.split_first_chunk()?;
    let (service_id, rest) = rest.split_first_chunk()?;
    let (data_id, data) = rest.split_first_chunk()?;
    if data.is_empty() {
        return None;
    }
    let header = Status::new(u32::from_be_bytes(*status)).map(|status| Header {
        service_id: ServiceId::new(u32::from_be_bytes(*service_id)),
        data_id: DataId::new(u32::from_be_bytes(*data_id)),
        status,
        message_id: None,
    });
    Some((checked.len(), header, xor(checked) == *checksum))
}

/// The one value in the text, without the white space around it.
fn read(text: &str) -> Result<((), Option<Range<usize>>), serde_json::Error> {
    let raw: &RawValue = serde_json::from_str(text)?;
    Ok(((), Some(range_of(raw.get(), text))))
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// The bytes before the data.
const HEADER: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use crate::frame::tests::{header, show};

    fn sealed(header: [u32; 3], data: impl AsRef<[u8]>) -> Bytes {
        let mut frame = header.map(u32::to_be_bytes).concat();
        frame.extend_from_slice(data.as_ref());
        frame.push(xor(&frame));
        frame.into()
    }

    /// What the frame of a header and a text says, or a part of the reason why it says nothing.
    fn check(header: [u32; 3], data: impl AsRef<[u8]>, expected: &str) {
        let shown = show(frame::decode(sealed(header, data)));
        let found =
            if expected.starts_with("service") { shown == expected } else { shown.contains(expected) };
        assert!(found, "expected {expected}\nfound {shown}");
    }

    #[test]
    fn the_header_is_status_service_data() {
        check([6, 10, 2], "22.5", "service 10 data 2 status 6: 22.5");
        check(
            [0x00FF_FFFF, u32::MAX, u32::MAX],
            "1",
            "service 4294967295 data 4294967295 status 16777215: 1",
        );
        check([0x0100_0000, 1, 1], "1", "found 0x01");
    }

    #[test]
    fn the_text_is_exactly_one_value() {
        check([0, 10, 2], " \t[ 1 ]\r\n", "service 10 data 2 status 0: [ 1 ]");
        check([0, 10, 2], "", "14 bytes or more");
        check([0, 10, 2], " ", "EOF while parsing");
        check([0, 10, 2], "1 2", "trailing characters");
        check([0, 10, 2], "{oops", "key must be a string");
        check([0, 10, 2], b"\"\xff\"", "utf-8");
    }

    #[test]
    fn bare_words_of_python_become_null() {
        check([0, 10, 2], "NaN", "service 10 data 2 status 0: null, non-finite");
        check([0, 10, 2], r#"[-Infinity,"NaN"] "#, r#"service 10 data 2 status 0: [null,"NaN"], non-finite"#);
        check([0, 10, 2], "NaNa", "malformed");
    }

    #[test]
    fn a_damaged_frame_gives_its_header() {
        let check = |data: &str, expected: &str| {
            let mut frame = sealed([1, 10, 2], data).to_vec();
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(show(frame::decode(frame.into())), expected);
        };
        check("22.5", "struct checksum: service 10 data 2 status 1");
        check("oops", "struct checksum: service 10 data 2 status 1");
    }

    #[test]
    fn a_short_frame_is_malformed() {
        for length in 1..14 {
            let shown = show(frame::decode(Bytes::from(vec![0; length])));
            assert!(shown.contains("14 bytes or more"), "{shown}");
        }
    }

    #[test]
    fn a_frame_has_the_layout_of_the_table() {
        let mut out = BytesMut::from("before");
        frame::encode(Format::Struct, &header(20, 2, 0, None), "22.5", &mut out).unwrap();
        assert_eq!(out, &b"before\0\0\0\0\0\0\0\x14\0\0\0\x0222.5\x0d"[..]);
    }

    #[test]
    fn a_message_id_is_not_written() {
        let mut out = BytesMut::from("before");
        let error = frame::encode(Format::Struct, &header(1, 1, 0, Some(7)), "null", &mut out);
        assert_eq!(error, Err(EncodeError::MessageIdInStruct { found: 7 }));
        assert_eq!(out, "before");
    }
}
