//! Values as JSON: as `serde_json` writes them, byte for byte.

use serde::{Serialize, Serializer};
use serde_json::ser::CompactFormatter;

use crate::strings::{JSON, skip_plain};

/// Writes a value as JSON.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    // As much as `serde_json` begins with: most values are small.
    let mut out = Vec::with_capacity(128);
    append(value, &mut out)?;
    Ok(out)
}

/// Appends a value as JSON. After an error a part of it may stand there.
pub(crate) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    value.serialize(Writer { out, other: &mut None, is_json: false })
}

/// Writes strings by itself and leaves all else to `serde_json`, with what stands inside it.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    other: &'a mut Option<Json<'a>>,
    /// What comes is JSON already.
    is_json: bool,
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>>;
type Compound<'a> = serde_json::ser::Compound<'a, &'a mut Vec<u8>, CompactFormatter>;

impl<'a> Writer<'a> {
    fn other(self) -> &'a mut Json<'a> {
        self.other.insert(serde_json::Serializer::new(self.out))
    }
}

/// Appends a string as JSON.
fn append_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len().saturating_add(2));
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let behind = skip_plain(rest);
        // By length: to look for what is behind as a suffix would read all of it again at each escape.
        let plain = rest.len().saturating_sub(behind.len());
        out.extend_from_slice(rest.get(..plain).unwrap_or_default());
        let Some((special, after)) = behind.split_first() else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digit = |value: u8| DIGITS.get(usize::from(value & 0xf)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(*control)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// What is left to `serde_json`.
macro_rules! others {
    ($($method:ident($($name:ident: $type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<$ok, serde_json::Error> {
            self.other().$method($($name),*)
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    fn is_human_readable(&self) -> bool {
        !self.is_json
    }

    fn serialize_str(self, text: &str) -> Result<(), serde_json::Error> {
        if self.is_json {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            append_string(text, self.out);
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), serde_json::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        value.serialize(Self { is_json: name == JSON, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        self.other().serialize_newtype_variant(name, index, variant, value)
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), serde_json::Error> {
        self.other().collect_str(value)
    }

    others! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_u128(value: u128) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_bytes(value: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(length: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(length: usize) -> Self::SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str,
            index: u32,
            variant: &'static str,
            length: usize
        ) -> Self::SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> Self::SerializeStruct;
        serialize_struct_variant(
            name: &'static str,
            index: u32,
            variant: &'static str,
            length: usize
        ) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use serde::ser::Error;
    use serde_json::value::RawValue;

    use super::*;
    use crate::frame::tests::value;

    #[track_caller]
    fn check<T: Serialize + ?Sized>(value: &T) {
        let mut out = b"before".to_vec();
        let written = append(value, &mut out).map_err(|error| error.to_string());
        match serde_json::to_string(value) {
            Ok(expected) => {
                assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
                assert_eq!(written, Ok(()));
            }
            Err(error) => assert_eq!(written, Err(error.to_string())),
        }
    }

    #[derive(Serialize)]
    enum Kind {
        Unit,
        Newtype(String),
        Tuple(u8, String),
        Struct { text: String },
    }

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Serialize)]
    struct Empty;

    #[test]
    fn every_kind_of_value_is_written_as_ever() {
        let text = || "a \"quoted\" text\n".to_owned();
        for byte in 0..0x80_u8 {
            check(&format!("{}{}{}", "x".repeat(byte.into()), char::from(byte), text()));
            check(&char::from(byte));
        }
        check(&(true, -1_i8, -2_i16, -3_i32, i64::MIN, i128::MIN, 1_u8, 2_u16, 3_u32, u64::MAX, u128::MAX));
        check(&true);
        check(&i128::MIN);
        check(&u64::MAX);
        for number in [0.1, -0.0, 1e300, f64::NAN, f64::INFINITY] {
            check(&number);
            check(&(number as f32));
        }
        check(&());
        check(&Empty);
        check(&None::<String>);
        check(&Some(text()));
        check(&Wrapped(Some(Wrapped(text()))));
        check(&[Kind::Unit, Kind::Newtype(text()), Kind::Tuple(1, text()), Kind::Struct { text: text() }]);
        check(&Kind::Unit);
        check(&Kind::Newtype(text()));
        check(&Kind::Tuple(1, text()));
        check(&Kind::Struct { text: text() });
        check(&BTreeMap::from([(1, text())]));
        check(&BTreeMap::from([((1, 2), text())]));
        check(&Ipv4Addr::LOCALHOST);
        check(serde_json::from_str::<&RawValue>("[ 1.10 ]").unwrap());
        check(&Some(serde_json::from_str::<&RawValue>("\"\\u0041\"").unwrap()));
        check(b"bytes".as_slice());
    }

    /// Were each escape to cost what is behind it, this would take minutes.
    #[test]
    fn a_text_of_nothing_but_escapes_costs_what_it_is_long() {
        check(&"\n\"".repeat(2 << 20));
    }

    #[test]
    fn an_error_of_the_value_is_told() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(S::Error::custom("no"))
            }
        }
        check(&Refuses);
        check(&Some(Wrapped(Refuses)));
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_ever(text: String, long in r#"[ -~\x00-\x1fé"\\]{0,300}"#) {
            check(&text);
            check(&long);
        }

        #[test]
        fn any_value_is_written_as_ever(value in value()) {
            check(&value);
        }
    }
}
