//! One message: its ids, its status, and its data as JSON text.
//!
//! The data stay the text that came over the wire until their consumer asks for a type, so that numbers of any size,
//! unknown keys and float digits pass through unchanged and nothing is parsed twice.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytestring::ByteString;
use serde::de::{DeserializeOwned, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::id::{DataId, ServiceId, Status};
use crate::strings::{self, JSON, skip_value};

/// The largest message id: 2^53 - 1, which every JSON library can hold (protocol.md section 1).
pub const MAX_MESSAGE_ID: u64 = (1 << 53) - 1;

/// A JSON value, kept as its text. Cloning shares the bytes.
///
/// ```
/// use socketproto::Json;
///
/// let range: Json = Json::encode(&[5, 30])?;
/// assert_eq!(range.as_str(), "[5,30]");
/// assert_eq!(range.decode::<(u8, u8)>()?, (5, 30));
/// assert!(Json::from_text("{oops").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Json {
    /// The text, or what it came in: a part of a shared text would count its holders once more.
    text: ByteString,
    start: usize,
    end: usize,
}

impl Json {
    /// `null`.
    pub const NULL: Self = Self { text: ByteString::from_static("null"), start: 0, end: 4 };

    /// Takes a text that is one JSON value.
    ///
    /// # Errors
    /// Where the text is not exactly one JSON value.
    pub fn from_text(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        if skip_value(text.as_bytes()) != Some(&[]) {
            // White space is around it, or it is none.
            serde_json::from_str::<&RawValue>(&text)?;
        }
        Ok(Self::from_valid(text))
    }

    /// Writes a value as JSON. A float that is not finite becomes null.
    ///
    /// # Errors
    /// What the value's `Serialize` reports, for example a map whose keys are no strings.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        // A serialiser writes UTF-8.
        String::from_utf8(strings::write(value)?).map(Self::from_valid).map_err(serde::ser::Error::custom)
    }

    /// Reads the value as a type.
    ///
    /// # Errors
    /// Where the data do not fit the type; the text names the place.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        strings::read(self.as_str())
    }

    /// Reads the value as a type that is an object on the wire: serde would take a list of its fields as well.
    pub(crate) fn decode_object<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.as_str().starts_with('{') {
            self.decode()
        } else {
            Err(serde::de::Error::custom("expected an object"))
        }
    }

    /// The JSON text.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Copies what a serialiser has written; null where that is no UTF-8, which none writes.
    pub(crate) fn from_written(text: &[u8]) -> Self {
        str::from_utf8(text).map_or(Self::NULL, Self::from_valid)
    }

    /// A copy with memory of its own: the text may be a slice of a large frame and of what was read with it, which are
    /// held as long as it is.
    pub(crate) fn detached(&self) -> Self {
        Self::from_valid(self.as_str())
    }

    /// Takes a text that is known to be one JSON value.
    #[inline]
    pub(crate) fn from_valid(text: impl Into<ByteString>) -> Self {
        let text = text.into();
        let end = text.len();
        Self { text, start: 0, end }
    }

    /// Takes a part that is known to be one JSON value.
    #[inline]
    pub(crate) fn part_of(text: ByteString, part: Range<usize>) -> Self {
        Self { text, start: part.start, end: part.end }
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::NULL
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Shows the size alone: payloads stay out of logs (protocol.md section 8).
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.as_str().len())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(JSON, &Text(self.as_str()))
    }
}

/// The text of a [`Json`] on its way into another.
struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serde_json::from_str::<&RawValue>(self.0).map_err(S::Error::custom)?.serialize(serializer)
        } else {
            // It is put down as it is, by the writer that knows the name.
            serializer.serialize_str(trim(self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(JSON, TextVisitor)
    }
}

/// Takes a [`Json`] out of another.
struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Json::from_valid(String::from(Box::<str>::from(raw))))
    }

    /// The text as it is, from the reader that knows the name.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json, E> {
        Json::from_text(trim(text)).map_err(E::custom)
    }
}

/// A value without the white space around it, which is none of it where it stands in another.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// What stands around the data of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Header {
    /// The kind of communication.
    pub service_id: ServiceId,
    /// Which datum.
    pub data_id: DataId,
    /// 0 in requests, the outcome in responses.
    pub status: Status,
    /// Pairs a response with its request (protocol.md 7.2); 1 to [`MAX_MESSAGE_ID`].
    pub message_id: Option<u64>,
}

/// One message, the unit of the protocol (protocol.md section 1). Cloning shares the data.
///
/// ```
/// use socketproto::{Message, Json};
///
/// let message = Message::new(20, 2, Json::encode(&22.5)?);
/// assert_eq!(message.service_id(), 20.into());
/// assert_eq!(message.data::<f64>()?, 22.5);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    header: Header,
    data: Json,
}

impl Message {
    /// A message of status okay, without a message id.
    pub fn new(service_id: impl Into<ServiceId>, data_id: impl Into<DataId>, data: Json) -> Self {
        let header = Header {
            service_id: service_id.into(),
            data_id: data_id.into(),
            status: Status::OKAY,
            message_id: None,
        };
        Self { header, data }
    }

    /// Puts a message together from its parts.
    #[inline]
    pub fn from_parts(header: Header, data: Json) -> Self {
        Self { header, data }
    }

    /// Takes the message apart.
    #[inline]
    pub fn into_parts(self) -> (Header, Json) {
        (self.header, self.data)
    }

    /// What stands around the data.
    #[inline]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The kind of communication.
    pub const fn service_id(&self) -> ServiceId {
        self.header.service_id
    }

    /// Which datum.
    pub const fn data_id(&self) -> DataId {
        self.header.data_id
    }

    /// 0 in requests, the outcome in responses.
    pub const fn status(&self) -> Status {
        self.header.status
    }

    /// Pairs a response with its request, where both peers can.
    pub const fn message_id(&self) -> Option<u64> {
        self.header.message_id
    }

    /// The data as JSON text.
    pub const fn json(&self) -> &Json {
        &self.data
    }

    /// The data as a type.
    ///
    /// # Errors
    /// Where the data do not fit the type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.data.decode()
    }

    /// The data as a type, or this default where there are none: null.
    ///
    /// # Errors
    /// Where there are data and they do not fit the type.
    ///
    /// ```
    /// use socketproto::{Json, Message};
    ///
    /// assert_eq!(Message::new(10, 1, Json::NULL).data_or(5)?, 5);
    /// assert_eq!(Message::new(10, 1, Json::encode(&7)?).data_or(5)?, 7);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn data_or<T: DeserializeOwned>(&self, default: T) -> Result<T, serde_json::Error> {
        if self.data.is_null() { Ok(default) } else { self.data.decode() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_inside_a_type_keeps_its_text() {
        #[derive(Deserialize, Serialize)]
        struct Wrapped {
            inner: Json,
        }
        let text = r#"{"inner":{"big":123456789012345678901234567890,"f":1.10}}"#;
        let wrapped: Wrapped = serde_json::from_str(text).unwrap();
        assert_eq!(wrapped.inner.as_str(), r#"{"big":123456789012345678901234567890,"f":1.10}"#);
        assert_eq!(serde_json::to_string(&wrapped).unwrap(), text);
    }

    #[test]
    fn json_as_a_value_is_its_text_large_or_small() {
        for text in ["1.10", r#""a\u00e9:""#, "[1, {\"a\":\t[]}]", &format!("[\"{}\", 1]", "x".repeat(5000))]
        {
            // White space around it is none of it.
            let json = Json::from_text(format!("\t {text}\r\n")).unwrap();
            assert_eq!(Json::encode(&json).unwrap().as_str(), text);
            assert_eq!(Json::encode(&Some(&json)).unwrap().as_str(), text);
            assert_eq!(Json::encode(&[&json]).unwrap().as_str(), format!("[{text}]"));
            assert_eq!(json.decode::<Json>().unwrap().as_str(), text);
            assert_eq!(json.decode::<Option<Json>>().unwrap().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_text_that_is_no_json_is_refused() {
        for text in ["", "1 2", "{oops", "\"a", "NaN", "[1,]"] {
            assert!(Json::from_text(text).is_err(), "{text}");
        }
        assert_eq!(Json::from_text(" 1\n").unwrap().as_str(), " 1\n");
    }

    #[test]
    fn debug_shows_no_payload() {
        assert_eq!(format!("{:?}", Json::from_text("\"hidden\"").unwrap()), "Json(8 bytes)");
    }

    #[test]
    fn a_float_that_is_not_finite_is_written_as_null() {
        assert!(Json::encode(&f64::NAN).unwrap().is_null());
        assert!(Json::encode(&f64::INFINITY).unwrap().is_null());
    }
}
