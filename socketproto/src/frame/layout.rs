//! The object of a JSON frame in the layout this side writes: the keys in one order, no white space.
//!
//! ```text
//! {"data_id":2,"service_id":20,"status":0,"data":22.5,"message_id":7}
//! ```
//!
//! A peer that writes so is read without a look at each key.

use bytes::{BufMut, BytesMut};

use super::envelope::{Envelope, is_message_id};
use super::scan;
use crate::id::{DataId, ServiceId, Status};
use crate::message::Header;

/// Appends the object; equal messages have equal bytes in every language.
pub(super) fn write(header: &Header, data: &[u8], out: &mut BytesMut) {
    put_number(out, DATA_ID, header.data_id.value());
    put_number(out, SERVICE_ID, header.service_id.value());
    put_number(out, STATUS, header.status.value());
    out.put_slice(DATA.as_bytes());
    out.put_slice(data);
    if let Some(id) = header.message_id {
        put_number(out, MESSAGE_ID, id);
    }
    out.put_slice(END.as_bytes());
}

/// Reads the object; none where it has another layout, or is none.
pub(super) fn read(text: &str) -> Option<Envelope<'_>> {
    let (data_id, rest) = number(text.strip_prefix(DATA_ID)?)?;
    let (service_id, rest) = number(rest.strip_prefix(SERVICE_ID)?)?;
    let (status, rest) = number(rest.strip_prefix(STATUS)?)?;
    let rest = rest.strip_prefix(DATA)?;
    let behind = scan::skip_value(rest.as_bytes())?.len();
    let (data, rest) = rest.split_at_checked(rest.len().checked_sub(behind)?)?;
    let (message_id, rest) = match rest.strip_prefix(MESSAGE_ID) {
        Some(rest) => number(rest).map(|(id, rest)| (Some(id), rest))?,
        None => (None, rest),
    };
    if rest != END || message_id.is_some_and(|id| !is_message_id(id)) {
        return None;
    }
    Some(Envelope {
        data_id: Some(DataId::new(u32::try_from(data_id).ok()?)),
        service_id: Some(ServiceId::new(u32::try_from(service_id).ok()?)),
        status: Some(Status::new(u32::try_from(status).ok()?)?),
        data: Some(data),
        message_id,
    })
}

/// A number as JSON writes it, and what comes behind; none above all that a field takes.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take(MAX_DIGITS).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    let is_canonical = digits.len() == 1 || !digits.starts_with('0');
    // What is left of a longer number fits nothing that may come behind one.
    let value = digits.bytes().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    (is_canonical && !digits.is_empty()).then_some((value, rest))
}

fn put_number(out: &mut BytesMut, key: &str, number: impl itoa::Integer) {
    out.put_slice(key.as_bytes());
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The bytes of an object around its data at most.
pub(super) const MAX_AROUND: usize = DATA_ID.len()
    + SERVICE_ID.len()
    + STATUS.len()
    + DATA.len()
    + MESSAGE_ID.len()
    + END.len()
    + (10 + 10 + 8 + MAX_DIGITS);

/// Digits of the longest number, a message id.
const MAX_DIGITS: usize = 16;

const DATA_ID: &str = "{\"data_id\":";
const SERVICE_ID: &str = ",\"service_id\":";
const STATUS: &str = ",\"status\":";
const DATA: &str = ",\"data\":";
const MESSAGE_ID: &str = ",\"message_id\":";
const END: &str = "}";
