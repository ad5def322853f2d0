//! The object of a JSON frame, read key by key.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::range_of;
use crate::id::{DataId, ServiceId, Status};
use crate::message::MAX_MESSAGE_ID;

/// The object of a frame.
#[derive(Default)]
pub(super) struct Envelope {
    pub(super) data_id: Option<DataId>,
    pub(super) service_id: Option<ServiceId>,
    pub(super) status: Option<Status>,
    /// Where the data are in the text, one JSON value.
    pub(super) data: Option<Range<usize>>,
    pub(super) message_id: Option<u64>,
}

impl Envelope {
    /// Reads the object: at once where it has the five keys alone, which all peers write, else with more care.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Self::parse_by::<Known>(text).or_else(|_| Self::parse_by::<Spelt<'_>>(text))
    }

    fn parse_by<'a, K: Deserialize<'a> + Into<Key>>(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let envelope = deserializer.deserialize_map(Keys::<K>(text, PhantomData))?;
        deserializer.end().map(|()| envelope)
    }
}

/// What a key names.
#[derive(Clone, Copy)]
enum Key {
    DataId,
    ServiceId,
    Status,
    Data,
    MessageId,
    Other,
}

impl Key {
    fn of(key: &str) -> Self {
        match key {
            DATA_ID => Self::DataId,
            SERVICE_ID => Self::ServiceId,
            STATUS => Self::Status,
            DATA => Self::Data,
            MESSAGE_ID => Self::MessageId,
            _ => Self::Other,
        }
    }
}

/// One of the five keys; any other is an error.
struct Known(Key);

impl From<Known> for Key {
    fn from(Known(key): Known) -> Self {
        key
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Known;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a known key")
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Known, E> {
                match Key::of(key) {
                    Key::Other => Err(E::invalid_value(Unexpected::Str(""), &self)),
                    known => Ok(Known(known)),
                }
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Any key. Not read as text: one that is not known may be none, such as half a surrogate pair, and is ignored like any
/// other.
#[derive(Deserialize)]
#[serde(transparent)]
struct Spelt<'a>(#[serde(borrow)] &'a RawValue);

impl From<Spelt<'_>> for Key {
    fn from(Spelt(key): Spelt<'_>) -> Self {
        Self::of(&unescaped(key.get()))
    }
}

/// Reads the object that this text is, key by key.
struct Keys<'a, K>(&'a str, PhantomData<K>);

impl<'de, K: Deserialize<'de> + Into<Key>> Visitor<'de> for Keys<'de, K> {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(key) = map.next_key::<K>()? {
            match key.into() {
                Key::DataId => set(&mut envelope.data_id, DATA_ID, map.next_value_seed(DATA_ID_VALUE)?)?,
                Key::ServiceId => {
                    set(&mut envelope.service_id, SERVICE_ID, map.next_value_seed(SERVICE_ID_VALUE)?)?;
                }
                Key::Status => set(&mut envelope.status, STATUS, map.next_value_seed(STATUS_VALUE)?)?,
                Key::Data => {
                    let data = map.next_value::<&RawValue>()?.get();
                    set(&mut envelope.data, DATA, range_of(data, self.0))?;
                }
                Key::MessageId => {
                    set(&mut envelope.message_id, MESSAGE_ID, map.next_value_seed(MESSAGE_ID_VALUE)?)?;
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(envelope)
    }
}

/// The text of a key; empty where it is no text.
fn unescaped(key: &str) -> Cow<'_, str> {
    if key.contains('\\') {
        serde_json::from_str::<String>(key).unwrap_or_default().into()
    } else {
        key.trim_matches('"').into()
    }
}

/// Sets a field once.
fn set<T, E: Error>(field: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

pub(super) const DATA_ID: &str = "data_id";
pub(super) const SERVICE_ID: &str = "service_id";
const STATUS: &str = "status";
const DATA: &str = "data";
const MESSAGE_ID: &str = "message_id";

const DATA_ID_VALUE: Integer<DataId> = Integer {
    expected: "0 to 2^32 - 1 as data_id",
    accept: |value| u32::try_from(value).ok().map(DataId::new),
};
const SERVICE_ID_VALUE: Integer<ServiceId> = Integer {
    expected: "0 to 2^32 - 1 as service_id",
    accept: |value| u32::try_from(value).ok().map(ServiceId::new),
};
const STATUS_VALUE: Integer<Status> = Integer {
    expected: "0 to 2^24 - 1 as status",
    accept: |value| u32::try_from(value).ok().and_then(Status::new),
};
const MESSAGE_ID_VALUE: Integer<u64> = Integer {
    expected: "1 to 2^53 - 1 as message_id",
    accept: |value| is_message_id(value).then_some(value),
};

pub(super) fn is_message_id(value: u64) -> bool {
    (1..=MAX_MESSAGE_ID).contains(&value)
}

/// Reads an integer that `accept` takes; `expected` is its range and its field, for people.
struct Integer<T> {
    expected: &'static str,
    accept: fn(u64) -> Option<T>,
}

impl<'de, T> DeserializeSeed<'de> for Integer<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        // Not `deserialize_u64`: its error shows a string of any length where one stands in place of a number.
        deserializer.deserialize_any(self)
    }
}

impl<T> Visitor<'_> for Integer<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from {}", self.expected)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        (self.accept)(value).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(E::invalid_type(Unexpected::Other("string"), &self))
    }
}
