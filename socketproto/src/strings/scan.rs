//! Where a JSON value ends, and that it is one (RFC 8259), in one pass that builds nothing.
//!
//! A general reader spends most of its time on what is not asked here: texts, numbers, errors with their places. What
//! this one refuses is read again by that one, which says why.

use crate::strings::{is_space, skip_steps, special_bytes};

/// What is left of the text behind the value it begins with; none where it begins with no value, or with one that nests
/// deeper than 128. White space before the value is none of it.
#[inline]
pub(crate) fn skip_value(text: &[u8]) -> Option<&[u8]> {
    let mut open = Containers::default();
    let mut rest = text;
    loop {
        // A value begins.
        rest = match rest.split_first()? {
            (b'"', after) => skip_string(after)?,
            (b'{', after) => match skip_space(after).split_first()? {
                (b'}', after) => after,
                (b'"', after) => {
                    open.push(true)?;
                    rest = skip_key(after)?;
                    continue;
                }
                _ => return None,
            },
            (b'[', after) => match skip_space(after).strip_prefix(b"]") {
                Some(after) => after,
                None => {
                    open.push(false)?;
                    rest = skip_space(after);
                    continue;
                }
            },
            (b'-' | b'0'..=b'9', _) => skip_number(rest)?,
            (b't', after) => after.strip_prefix(b"rue")?,
            (b'f', after) => after.strip_prefix(b"alse")?,
            (b'n', after) => after.strip_prefix(b"ull")?,
            _ => return None,
        };
        // A value has ended, and perhaps what it stands in.
        loop {
            let Some(is_object) = open.last() else { return Some(rest) };
            match skip_space(rest).split_first()? {
                (b',', after) if is_object => {
                    rest = skip_key(skip_space(after).strip_prefix(b"\"")?)?;
                    break;
                }
                (b',', after) => {
                    rest = skip_space(after);
                    break;
                }
                (b'}', after) if is_object => rest = after,
                (b']', after) if !is_object => rest = after,
                _ => return None,
            }
            open.pop();
        }
    }
}

/// The objects and arrays around a place: a bit for each.
#[derive(Default)]
struct Containers {
    depth: u32,
    objects: u128,
}

impl Containers {
    fn push(&mut self, is_object: bool) -> Option<()> {
        if self.depth == u128::BITS {
            return None;
        }
        self.depth = self.depth.saturating_add(1);
        self.objects = self.objects << 1 | u128::from(is_object);
        Some(())
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }
}

/// Behind a key, given what is behind its opening quote, and the colon.
#[inline]
fn skip_key(text: &[u8]) -> Option<&[u8]> {
    let rest = skip_space(skip_string(text)?).strip_prefix(b":")?;
    Some(skip_space(rest))
}

/// Behind a string, given what is behind its opening quote. Eight bytes at a time: most strings are short.
#[inline]
fn skip_string(text: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut words) = (text, 0_usize);
    while let Some((word, after)) = rest.split_first_chunk() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special == 0 {
            words = words.saturating_add(1);
            rest = if words % SHORT == 0 { skip_steps(after) } else { after };
            continue;
        }
        rest = match rest.get(special.trailing_zeros() as usize / 8..)? {
            [b'"', after @ ..] => return Some(after),
            [b'\\', escaped @ ..] => skip_escape(escaped)?,
            _ => return None,
        };
    }
    loop {
        rest = match rest.split_first()? {
            (b'"', after) => return Some(after),
            (b'\\', escaped) => skip_escape(escaped)?,
            (0..0x20, _) => return None,
            (_, after) => after,
        };
    }
}

fn skip_escape(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'u', digits @ ..] => {
            let (digits, after) = digits.split_at_checked(4)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(after)
        }
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => Some(after),
        _ => None,
    }
}

/// Eight bytes times this are the most that a short string has.
const SHORT: usize = 8;

#[inline]
fn skip_number(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    rest = rest.strip_prefix(b"0").map_or_else(|| skip_digits(rest), Some)?;
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = skip_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = skip_digits(match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        })?;
    }
    Some(rest)
}

/// Behind one digit or more.
#[inline]
fn skip_digits(text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if at == 0 { None } else { text.get(at..) }
}

#[inline]
fn skip_space(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'\t' | b'\n' | b'\r', ..] => {
            let at = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
            text.get(at..).unwrap_or_default()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::frame::tests::value;

    /// A general reader takes what this one takes, and refuses what it refuses.
    fn check(text: &str) {
        let found = skip_value(text.as_bytes()).map(|rest| &text[..text.len() - rest.len()]);
        if let Some(value) = found {
            let read = serde_json::from_str::<&RawValue>(value).map(RawValue::get);
            assert_eq!(read.ok(), Some(value), "{text}");
        }
        let first = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().next();
        if let Some(Ok(value)) = first.filter(|_| !text.starts_with([' ', '\t', '\n', '\r'])) {
            assert_eq!(found, Some(value.get()), "{text}");
        }
    }

    #[test]
    fn values_end_where_they_end() {
        for text in [
            "",
            " ",
            "1",
            "-",
            "-1",
            "-01",
            "01",
            "0",
            "-0.5e+7",
            "1.",
            "1.e1",
            ".5",
            "1e",
            "1e+",
            "1E5",
            "1e-05x",
            "true",
            "tru",
            "truex",
            "false",
            "fals",
            "null",
            "nul",
            "nulll",
            "NaN",
            "Infinity",
            "-Infinity",
            r#""""#,
            r#"""#,
            r#""a"#,
            r#""a\"#,
            r#""\"""#,
            r#""\u12"#,
            r#""\u12g4""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"\u{1f}\"",
            "\"\u{7f}é\"",
            "[]",
            "[ ]",
            "[",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]]",
            "]",
            "[}",
            "{]",
            "{}",
            "{ }",
            "{",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1]"#,
            r#"[1}"#,
            r#"{1:1}"#,
            r#"{ "a" : [ 1 , { "b" : null } ] } ,"#,
            r#"{"a":1}{"#,
            r#"{"a":1,"a":[[],{}],"":"}"}"#,
        ] {
            check(text);
        }
    }

    #[test]
    fn strings_of_any_length_end_at_their_quote() {
        for length in [0, 1, 7, 8, 9, 16, 63, 64, 65, 72, 137, 205] {
            for special in ["", "\\n", "\n", "\\\"", "\\"] {
                for at in 0..=length {
                    let plain = "x".repeat(length);
                    check(&format!("\"{}{special}{}\" behind\"", &plain[..at], &plain[at..]));
                }
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(skip_value(nested(128).as_bytes()), Some(&[][..]));
        assert_eq!(skip_value(nested(129).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn every_value_is_one(value in value(), behind in "[ ,}]x]{0,3}") {
            let text = value.to_string();
            prop_assert_eq!(skip_value(format!("{text},{behind}").as_bytes()).map(<[u8]>::len), Some(behind.len() + 1));
            check(&serde_json::to_string_pretty(&value).unwrap());
        }

        #[test]
        fn a_general_reader_takes_the_same(text in r#"[\[\]{}",:\\0-9a-fnrtulse.+E -]{0,30}"#) {
            check(&text);
        }

        #[test]
        fn damage_is_found(value in value(), at: prop::sample::Index, other in r#"[\[\]{}",:\\0-9tfn \x00]"#) {
            let mut text: Vec<char> = value.to_string().chars().collect();
            let at = at.index(text.len());
            text[at] = other.chars().next().unwrap();
            check(&text.iter().collect::<String>());
        }
    }
}
