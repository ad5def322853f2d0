//! The JSON frame.
//!
//! | bytes | what |
//! | --- | --- |
//! | n, at least 2 | the text of an object with the keys `data_id`, `service_id`, `status`, `data`, `message_id` |
//! | 4 | CRC-32 (IEEE 802.3) of that text, big-endian |
//!
//! ```text
//! {"data_id":2,"service_id":20,"status":0,"data":22.5}  d2 6f fa 0a
//! ```

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::Error;

use super::envelope::{DATA_ID, Envelope, SERVICE_ID, is_message_id};
use super::{Decoded, EncodeError, Format, FrameError, layout, malformed, parse};
use crate::message::{Header, Message};

#[inline]
pub(super) fn decode(nesting: usize, mut frame: Bytes) -> Result<Decoded, FrameError> {
    let Some((text, checksum)) = frame.split_last_chunk().filter(|(text, _)| text.len() >= MIN_TEXT) else {
        let length = frame.len();
        return Err(malformed(format!("expected a JSON frame of 6 bytes or more, found {length}")));
    };
    let sound = crc32fast::hash(text) == u32::from_be_bytes(*checksum);
    let length = text.len();
    frame.truncate(length);

    let parsed = parse(frame, nesting, read);
    if !sound {
        let envelope = parsed.ok().map(|(header, ..)| header);
        return Err(FrameError::Checksum { envelope, format: Format::Json });
    }
    let (header, data, non_finite) = parsed?;
    Ok(Decoded { message: Message::from_parts(header, data), format: Format::Json, non_finite })
}

#[inline]
pub(super) fn encode(header: &Header, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    if let Some(found) = header.message_id.filter(|id| !is_message_id(*id)) {
        return Err(EncodeError::MessageIdOutOfRange { found });
    }
    let start = out.len();
    out.reserve(data.len().saturating_add(MAX_ENVELOPE));
    layout::write(header, data, out);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.put_u32(checksum);
    Ok(())
}

#[inline]
fn read(text: &str) -> Result<(Header, Option<Range<usize>>), serde_json::Error> {
    let Envelope { data_id, service_id, status, data, message_id } =
        layout::read(text.as_bytes()).map_or_else(|| Envelope::parse(text), Ok)?;
    let data_id = data_id.ok_or_else(|| serde_json::Error::missing_field(DATA_ID))?;
    let service_id = service_id.ok_or_else(|| serde_json::Error::missing_field(SERVICE_ID))?;
    let header = Header { service_id, data_id, status: status.unwrap_or_default(), message_id };
    Ok((header, data))
}

/// `{}`.
const MIN_TEXT: usize = 2;

/// The bytes around the data at most: the object's, and the checksum.
const MAX_ENVELOPE: usize = layout::MAX_AROUND + 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use crate::frame::tests::{header, show};
    use crate::id::Status;
    use crate::message::MAX_MESSAGE_ID;

    fn sealed(text: impl AsRef<[u8]>) -> Bytes {
        let text = text.as_ref();
        [text, &crc32fast::hash(text).to_be_bytes()].concat().into()
    }

    /// What the frame of `text` says, or a part of the reason why it says nothing.
    fn check(text: impl AsRef<[u8]>, expected: &str) {
        let shown = show(frame::decode(sealed(&text)));
        let found =
            if expected.starts_with("service") { shown == expected } else { shown.contains(expected) };
        assert!(found, "{}\nexpected {expected}\nfound {shown}", text.as_ref().escape_ascii());
    }

    #[test]
    fn keys_come_in_any_order_and_some_may_be_missing() {
        check(r#"{"data_id":2,"service_id":10,"status":6,"data":[1]}"#, "service 10 data 2 status 6: [1]");
        check(r#"{"data":[1],"status":6,"service_id":10,"data_id":2}"#, "service 10 data 2 status 6: [1]");
        check(r#"{"data_id":2,"service_id":10}"#, "service 10 data 2 status 0: null");
        check(r#"{"data_id":2,"service_id":10,"data":null}"#, "service 10 data 2 status 0: null");
        check(r#"{"service_id":10}"#, "missing field `data_id`");
        check(r#"{"data_id":10}"#, "missing field `service_id`");
        check("{}", "missing field");
    }

    #[test]
    fn white_space_is_allowed_and_not_part_of_the_data() {
        check(
            " \t\r\n{ \"data_id\" : 2 ,\n\"service_id\":10,\"data\": [ 1 ] } \n",
            "service 10 data 2 status 0: [ 1 ]",
        );
        check("\x0b{\"data_id\":2,\"service_id\":10}", "found 0x0b");
    }

    #[test]
    fn unknown_keys_are_ignored() {
        check(r#"{"data_id":2,"x":{"data_id":3},"service_id":10,"x":1}"#, "service 10 data 2 status 0: null");
        check(r#"{"data_id":2,"service_id":10,"\ud800":1,"":2}"#, "service 10 data 2 status 0: null");
        check(r#"{"Data_id":2,"service_id":10}"#, "missing field `data_id`");
    }

    #[test]
    fn a_key_given_twice_is_malformed() {
        check(r#"{"data_id":2,"data_id":2,"service_id":10}"#, "duplicate field `data_id`");
        check(r#"{"data_id":2,"service_id":10,"service_id":10}"#, "duplicate field `service_id`");
        check(r#"{"data_id":2,"service_id":10,"status":0,"status":0}"#, "duplicate field `status`");
        check(r#"{"data_id":2,"service_id":10,"data":null,"data":1}"#, "duplicate field `data`");
        check(
            r#"{"data_id":2,"service_id":10,"message_id":1,"message_id":1}"#,
            "duplicate field `message_id`",
        );
        check(r#"{"data_id":2,"service_id":10,"d\u0061ta_id":3}"#, "duplicate field `data_id`");
        check(
            r#"{"data_id":2,"service_id":10,"data":{"a":1,"a":2}}"#,
            r#"service 10 data 2 status 0: {"a":1,"a":2}"#,
        );
    }

    #[test]
    fn numbers_are_in_range() {
        check(
            r#"{"data_id":4294967295,"service_id":4294967295,"status":16777215}"#,
            "service 4294967295 data 4294967295 status 16777215: null",
        );
        check(r#"{"data_id":4294967296,"service_id":10}"#, "an integer from 0 to 2^32 - 1 as data_id");
        check(r#"{"data_id":2,"service_id":4294967296}"#, "an integer from 0 to 2^32 - 1 as service_id");
        check(
            r#"{"data_id":2,"service_id":10,"status":16777216}"#,
            "an integer from 0 to 2^24 - 1 as status",
        );
        check(r#"{"data_id":-1,"service_id":10}"#, "integer `-1`, expected an integer from 0 to 2^32 - 1");
        check(
            r#"{"data_id":2,"service_id":10,"message_id":9007199254740991}"#,
            "service 10 data 2 status 0 message 9007199254740991: null",
        );
        check(
            r#"{"data_id":2,"service_id":10,"message_id":9007199254740992}"#,
            "1 to 2^53 - 1 as message_id",
        );
        check(
            r#"{"data_id":2,"service_id":10,"message_id":1}"#,
            "service 10 data 2 status 0 message 1: null",
        );
        check(r#"{"data_id":2,"service_id":10,"message_id":0}"#, "1 to 2^53 - 1 as message_id");
    }

    #[test]
    fn numbers_are_integers() {
        for other in
            ["1.0", "1e2", "1E0", "null", "true", "\"1\"", "[1]", "{}", "NaN", "99999999999999999999"]
        {
            for key in ["data_id", "service_id", "status", "message_id"] {
                let mut text = String::from("{");
                for required in ["data_id", "service_id"].into_iter().filter(|required| *required != key) {
                    text.push_str(&format!("\"{required}\":1,"));
                }
                check(format!("{text}\"{key}\":{other}}}"), &format!(" as {key} at"));
            }
        }
        check(r#"{"data_id":01,"service_id":10}"#, "invalid number");
    }

    #[test]
    fn a_reason_shows_no_text_of_the_peer() {
        let text = format!(r#"{{"data_id":"{}","service_id":10}}"#, "hidden".repeat(1000));
        let shown = show(frame::decode(sealed(text)));
        assert!(shown.len() < 200 && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn data_keep_their_text() {
        for data in
            [r#""\ud800""#, "123456789012345678901234567890.10", "-0", "1e999", r#""NaN""#, "\"\u{1F600}\""]
        {
            check(
                format!(r#"{{"data_id":2,"service_id":10,"data":{data}}}"#),
                &format!("service 10 data 2 status 0: {data}"),
            );
        }
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        check("[2,10,0,null]", "found 0x5b");
        check("null", "found 0x6e");
        check(r#"{"data_id":2,"service_id":10"#, "EOF while parsing");
        check(r#"{"data_id":2,"service_id":10}}"#, "trailing characters");
        check(r#"{"data_id":2,"service_id":10,}"#, "trailing comma");
        check(r#"{"data_id":2,"service_id":10,"data":}"#, "expected value");
        check(b"{\"data_id\":2,\"service_id\":10,\"data\":\"\xff\"}", "utf-8");
    }

    #[test]
    fn bare_words_of_python_become_null() {
        let check_data = |data: &str, expected: &str| {
            check(format!(r#"{{"data_id":2,"service_id":10,"data":{data}}}"#), expected);
        };
        check_data("NaN", "service 10 data 2 status 0: null, non-finite");
        check_data("[-Infinity,1,Infinity]", "service 10 data 2 status 0: [null,1,null], non-finite");
        check_data(r#"["NaN\"",NaN]"#, r#"service 10 data 2 status 0: ["NaN\"",null], non-finite"#);
        check_data(r#"{"é\\":NaN}"#, r#"service 10 data 2 status 0: {"é\\":null}, non-finite"#);
        check_data("[-1,NaN]", "service 10 data 2 status 0: [-1,null], non-finite");
        for data in ["nan", "-NaN", "1NaN", "NaN1", "NaNNaN", "+Infinity", "Infinit", "\"NaN"] {
            check_data(data, "malformed");
        }
    }

    #[test]
    fn a_frame_has_a_checksum_and_a_text() {
        for frame in ["{", "{}", "{}\0\0\0"] {
            let shown = show(frame::decode(Bytes::from(frame)));
            assert!(shown.contains("6 bytes or more"), "{frame}: {shown}");
        }
    }

    #[test]
    fn a_damaged_frame_gives_its_envelope_where_it_parses() {
        let check = |text: &str, expected: &str| {
            let mut frame = sealed(text).to_vec();
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(show(frame::decode(frame.into())), expected, "{text}");
        };
        check(r#"{"data_id":2,"service_id":10}"#, "json checksum: service 10 data 2 status 0");
        check(r#"{"data_id":2,"service_id":10,"data":NaN}"#, "json checksum: service 10 data 2 status 0");
        check(r#"{"data_id":2,"service_id":10,"data":oops}"#, "json checksum");
        let deep =
            format!(r#"{{"data_id":2,"service_id":10,"data":{}}}"#, "[".repeat(200) + &"]".repeat(200));
        check(&deep, "json checksum");
    }

    /// The expected bytes were made by Python: `json.dumps(.., separators=(",", ":"))` and `zlib.crc32`.
    #[test]
    fn frames_are_those_of_pythons_json() {
        let check = |header: Header, data: &str, text: &str, checksum: u32| {
            let mut out = BytesMut::from("before");
            frame::encode(Format::Json, &header, data, &mut out).unwrap();
            let expected = [b"before", text.as_bytes(), &checksum.to_be_bytes()].concat();
            assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        };
        check(
            header(20, 2, 0, None),
            "22.5",
            r#"{"data_id":2,"service_id":20,"status":0,"data":22.5}"#,
            0xD26F_FA0A,
        );
        check(
            header(10, 2, 0, Some(7)),
            r#"{"a:b":[1,2.5,null],"\u00e9":"x"}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":{"a:b":[1,2.5,null],"\u00e9":"x"},"message_id":7}"#,
            0x82F9_BE29,
        );
    }

    #[test]
    fn the_largest_envelope_fits_what_is_reserved() {
        let mut out = BytesMut::new();
        let header = header(u32::MAX, u32::MAX, Status::MAX.value(), Some(MAX_MESSAGE_ID));
        frame::encode(Format::Json, &header, "", &mut out).unwrap();
        assert_eq!(out.len(), MAX_ENVELOPE);
    }

    #[test]
    fn a_message_id_out_of_range_is_not_written() {
        for found in [0, MAX_MESSAGE_ID + 1, u64::MAX] {
            let mut out = BytesMut::from("before");
            let error = frame::encode(Format::Json, &header(1, 1, 0, Some(found)), "null", &mut out);
            assert_eq!(error, Err(EncodeError::MessageIdOutOfRange { found }));
            assert_eq!(out, "before");
        }
    }

    #[test]
    fn data_are_a_slice_of_the_frame() {
        let frame = sealed(r#"{"data_id":2,"service_id":10,"data":"text"}"#);
        let message = frame::decode(frame.clone()).unwrap().message;
        assert!(frame.as_ptr_range().contains(&message.json().as_str().as_ptr()));
    }
}
