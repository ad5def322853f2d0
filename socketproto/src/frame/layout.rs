//! The object of a JSON frame in the layout this side writes: the keys in one order, no white space.
//!
//! ```text
//! {"data_id":2,"service_id":20,"status":0,"data":22.5,"message_id":7}
//! ```
//!
//! A peer that writes so is read without a look at each key.

use bytes::{BufMut, BytesMut};

use super::envelope::{Envelope, is_message_id};
use crate::id::{DataId, ServiceId, Status};
use crate::message::Header;
use crate::strings::skip_value;

/// Appends the object; equal messages have equal bytes in every language.
#[inline]
pub(super) fn write(header: &Header, data: &[u8], out: &mut BytesMut) {
    put_number(out, DATA_ID, header.data_id.value().into());
    put_number(out, SERVICE_ID, header.service_id.value().into());
    put_number(out, STATUS, header.status.value().into());
    out.put_slice(DATA);
    out.put_slice(data);
    if let Some(id) = header.message_id {
        put_number(out, MESSAGE_ID, id);
    }
    out.put_slice(END);
}

/// Reads the object; none where it has another layout, or is none.
#[inline]
pub(super) fn read(text: &[u8]) -> Option<Envelope> {
    let (data_id, rest) = number(text.strip_prefix(DATA_ID)?)?;
    let (service_id, rest) = number(rest.strip_prefix(SERVICE_ID)?)?;
    let (status, rest) = number(rest.strip_prefix(STATUS)?)?;
    let data = rest.strip_prefix(DATA)?;
    let behind = skip_value(data)?;
    let (message_id, rest) = match behind.strip_prefix(MESSAGE_ID) {
        Some(rest) => number(rest).map(|(id, rest)| (Some(id), rest))?,
        None => (None, behind),
    };
    if rest != END || message_id.is_some_and(|id| !is_message_id(id)) {
        return None;
    }
    Some(Envelope {
        data_id: Some(DataId::new(u32::try_from(data_id).ok()?)),
        service_id: Some(ServiceId::new(u32::try_from(service_id).ok()?)),
        status: Some(Status::new(u32::try_from(status).ok()?)?),
        data: Some(text.len().checked_sub(data.len())?..text.len().checked_sub(behind.len())?),
        message_id,
    })
}

/// A number as JSON writes it, and what comes behind; none above all that a field takes.
#[inline]
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (first, mut rest) = text.split_first()?;
    let mut value = digit(*first)?;
    if value == 0 {
        return Some((0, rest));
    }
    while let Some((digit, after)) = rest.split_first().and_then(|(next, after)| Some((digit(*next)?, after)))
    {
        value = value.checked_mul(10)?.checked_add(digit)?;
        rest = after;
    }
    Some((value, rest))
}

#[inline]
fn digit(byte: u8) -> Option<u64> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[inline]
fn put_number(out: &mut BytesMut, key: &[u8], number: u64) {
    out.put_slice(key);
    match number {
        // Most ids are small, and a byte is put down faster than a text.
        0..10 => out.put_u8(b'0'.saturating_add(number as u8)),
        _ => out.put_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// The bytes of an object around its data at most: the keys, the digits.
pub(super) const MAX_AROUND: usize = DATA_ID.len()
    + SERVICE_ID.len()
    + STATUS.len()
    + DATA.len()
    + MESSAGE_ID.len()
    + END.len()
    + (10 + 10 + 8 + 16);

const DATA_ID: &[u8] = b"{\"data_id\":";
const SERVICE_ID: &[u8] = b",\"service_id\":";
const STATUS: &[u8] = b",\"status\":";
const DATA: &[u8] = b",\"data\":";
const MESSAGE_ID: &[u8] = b",\"message_id\":";
const END: &[u8] = b"}";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::tests::value;
    use crate::message::MAX_MESSAGE_ID;

    /// What is read here is what a reader that looks at each key reads.
    fn check(text: &str) -> bool {
        let Some(found) = read(text.as_bytes()) else { return false };
        let expected = Envelope::parse(text).expect(text);
        assert_eq!(found.data_id, expected.data_id, "{text}");
        assert_eq!(found.service_id, expected.service_id, "{text}");
        assert_eq!(found.status, expected.status, "{text}");
        assert_eq!(found.data, expected.data, "{text}");
        assert_eq!(found.message_id, expected.message_id, "{text}");
        true
    }

    fn text(header: &Header, data: &str) -> String {
        let mut out = BytesMut::new();
        write(header, data.as_bytes(), &mut out);
        String::from_utf8(out.into()).unwrap()
    }

    fn header() -> impl Strategy<Value = Header> {
        let number = || prop_oneof![0..12_u32, Just(u32::MAX), any::<u32>()];
        let message_id = prop::option::of(prop_oneof![1..12_u64, Just(MAX_MESSAGE_ID), 1..=MAX_MESSAGE_ID]);
        (number(), number(), 0..=Status::MAX.value(), message_id).prop_map(
            |(service_id, data_id, status, message_id)| Header {
                service_id: service_id.into(),
                data_id: data_id.into(),
                status: Status::new(status).unwrap(),
                message_id,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_at_once(header in header(), value in value()) {
            prop_assert!(check(&text(&header, &value.to_string())));
        }

        #[test]
        fn damage_is_no_other_message(
            header in header(),
            value in value(),
            at: prop::sample::Index,
            removed in 0..3_usize,
            put in r#"[\[\]{}",:\\0-9datserv_i\x00 -]{0,3}"#,
        ) {
            let mut text: Vec<char> = text(&header, &value.to_string()).chars().collect();
            let at = at.index(text.len());
            text.splice(at..text.len().min(at + removed), put.chars());
            check(&text.into_iter().collect::<String>());
        }
    }

    #[test]
    fn other_layouts_are_left_to_the_other_reader() {
        for text in [
            r#"{"data_id":2,"service_id":10,"status":0}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":1 }"#,
            r#"{"data_id": 2,"service_id":10,"status":0,"data":1}"#,
            r#"{"service_id":10,"data_id":2,"status":0,"data":1}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":1,"message_id":7,"data":2}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":1},"message_id":7}"#,
            r#"{"data_id":02,"service_id":10,"status":0,"data":1}"#,
            r#"{"data_id":4294967296,"service_id":10,"status":0,"data":1}"#,
            r#"{"data_id":18446744073709551618,"service_id":10,"status":0,"data":1}"#,
            r#"{"data_id":2,"service_id":10,"status":16777216,"data":1}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":1,"message_id":0}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":1,"message_id":9007199254740992}"#,
            r#"{"data_id":,"service_id":10,"status":0,"data":1}"#,
            r#"{"data_id":2,"service_id":10,"status":0,"data":}"#,
        ] {
            assert!(!check(text), "{text}");
        }
    }
}
