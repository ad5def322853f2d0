//! Values from JSON: as `serde_json` reads them.

use memchr::memchr;
use serde::de::{DeserializeOwned, Deserializer, Visitor};

use crate::strings::JSON;

/// Texts below this are read by `serde_json` alone: there is little to gain.
const LARGE: usize = 1024;

/// Reads a text that is known to be one JSON value as a type.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    if text.len() < LARGE {
        return serde_json::from_str(text);
    }
    // What is refused is read again: the error then says where it stands.
    T::deserialize(Reader { text }).or_else(|_| serde_json::from_str(text))
}

/// What a string without escapes says.
fn plain_string(text: &str) -> Option<&str> {
    let plain = text.strip_prefix('"')?.strip_suffix('"')?;
    memchr(b'\\', plain.as_bytes()).is_none().then_some(plain)
}

/// Gives a plain string to those who want one, and the text itself to those who want no more; leaves all others to
/// `serde_json`.
struct Reader<'a> {
    text: &'a str,
}

macro_rules! strings {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
            match plain_string(self.text) {
                Some(plain) => visitor.visit_borrowed_str(plain),
                None => serde_json::Deserializer::from_str(self.text).$method(visitor),
            }
        }
    )*};
}

macro_rules! others {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'a>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, serde_json::Error> {
            serde_json::Deserializer::from_str(self.text).$method($($name,)* visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for Reader<'a> {
    type Error = serde_json::Error;

    strings! { deserialize_any deserialize_str deserialize_string }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        match name {
            JSON => visitor.visit_borrowed_str(self.text),
            _ => serde_json::Deserializer::from_str(self.text).deserialize_newtype_struct(name, visitor),
        }
    }

    others! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::net::IpAddr;

    use serde::Deserialize;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;
    use crate::message::Json;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(String);

    #[derive(Debug, Deserialize, PartialEq)]
    enum Kind {
        Unit,
    }

    /// It is read, or refused, as ever.
    #[track_caller]
    fn check<T: DeserializeOwned + Debug + PartialEq>(text: &str) {
        let (found, expected) = (read::<T>(text), serde_json::from_str::<T>(text));
        let told = |error: serde_json::Error| error.to_string();
        assert_eq!(found.map_err(told), expected.map_err(told));
    }

    #[test]
    fn strings_of_any_length_are_what_they_say_whatever_they_are_read_as() {
        for length in [0, 1, LARGE - 3, LARGE - 2, LARGE, 3 * LARGE] {
            for end in ["", "é", "\\n", "\\\"", "\\\\", "\\u00e9"] {
                let text = format!("\"{}{end}\"", "x".repeat(length));
                check::<String>(&text);
                check::<Box<str>>(&text);
                check::<Option<String>>(&text);
                check::<Wrapped>(&text);
                check::<Option<Wrapped>>(&text);
                check::<Value>(&text);
                check::<Json>(&text);
                check::<Kind>(&text);
                check::<IpAddr>(&text);
                check::<Vec<u8>>(&text);
                check::<u32>(&text);
                check::<bool>(&text);
                check::<char>(&text);
                check::<()>(&text);
                check::<(String, String)>(&text);
                assert!(read::<IgnoredAny>(&text).is_ok());
            }
        }
    }

    #[test]
    fn a_large_value_that_is_no_string_is_read_as_ever() {
        let list = vec!["x".repeat(100); 100];
        check::<Vec<String>>(&serde_json::to_string(&list).unwrap());
        check::<String>(&serde_json::to_string(&list).unwrap());
    }

    #[test]
    fn an_unknown_variant_is_told_as_one() {
        let text = format!("\"{}\"", "x".repeat(LARGE));
        assert!(read::<Kind>(&text).unwrap_err().to_string().starts_with("unknown variant"));
        assert_eq!(read::<Kind>("\"Unit\"").unwrap(), Kind::Unit);
    }
}
