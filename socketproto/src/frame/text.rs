//! JSON texts, looked at without parsing them.
//!
//! Two questions go by the brackets and words outside strings: whether a text nests too deep to be parsed at all, and
//! whether it holds words that Python's `json` writes and no other reader takes.

use memchr::memchr2;

/// Whether a JSON text nests deeper than `limit`, counted over the brackets outside its strings.
///
/// The text need not be JSON: a parser that comes after finds that out.
#[inline]
pub fn nests_deeper(text: &[u8], limit: usize) -> bool {
    // Few brackets cannot nest deep, and counting them all, strings or not, is a loop without branches.
    if text.len() <= limit || count_opening(text) <= limit {
        return false;
    }
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => skip_string(after),
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ => after,
        };
        if depth > limit {
            return true;
        }
    }
    false
}

/// The text with null for each `NaN`, `Infinity` and `-Infinity` outside strings; none where there is no such word.
///
/// Where a word touches something it must not, as in `1NaN`, so does the null, and parsing fails again.
pub(super) fn replace_non_finite(text: &str) -> Option<String> {
    let mut found = false;
    let mut replaced = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = NON_FINITE.into_iter().find_map(|word| rest.strip_prefix(word));
        if let Some(after) = word {
            replaced.push_str("null");
            rest = after;
            found = true;
        } else {
            let (kept, after) = rest.split_at_checked(inert_prefix(rest)).unwrap_or((rest, ""));
            replaced.push_str(kept);
            rest = after;
        }
    }
    found.then_some(replaced)
}

/// How many bytes, at least one, pass before a non-finite word or a string can begin. A string passes as a whole.
fn inert_prefix(text: &str) -> usize {
    let mut chars = text.chars();
    if chars.next() == Some('"') {
        return text.len().saturating_sub(skip_string(chars.as_str().as_bytes()).len());
    }
    let rest = chars.as_str();
    let more = rest.find(['"', 'N', 'I', '-']).unwrap_or(rest.len());
    text.len().saturating_sub(rest.len()).saturating_add(more)
}

/// What comes behind a string, given what comes behind its opening quote; nothing where it does not end.
fn skip_string(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        match rest.split_at_checked(at).unwrap_or_default().1 {
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] => rest = after,
            _ => break,
        }
    }
    &[]
}

/// The number of `[` and `{`, wherever they stand.
fn count_opening(text: &[u8]) -> usize {
    // Sums of bytes, in pieces too short to overflow one, become vector instructions. Bit 0x20 alone tells `[` from
    // `{`, and setting it makes no other byte a `{`.
    text.chunks(usize::from(u8::MAX))
        .map(|chunk| usize::from(chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>()))
        .sum()
}

/// What Python's `json` writes for floats that JSON does not have.
const NON_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::frame::tests::value;

    proptest! {
        #[test]
        fn nesting_is_that_of_the_value(value in value(), limit in 0_usize..8) {
            fn depth(value: &Value) -> usize {
                match value {
                    Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                    Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
                    _ => 0,
                }
            }
            prop_assert_eq!(nests_deeper(value.to_string().as_bytes(), limit), depth(&value) > limit);
        }

        #[test]
        fn words_in_strings_stay(text: String) {
            let text = Value::from(format!("{text}NaN")).to_string();
            prop_assert_eq!(replace_non_finite(&text), None);
            let expected = format!("[{text},null]");
            prop_assert_eq!(replace_non_finite(&format!("[{text},NaN]")), Some(expected));
        }

        #[test]
        fn no_text_panics(text in r#"[\[\]{}",:\\0-9a-zNI é-]{0,40}"#) {
            let _ = replace_non_finite(&text);
            let _ = nests_deeper(text.as_bytes(), 2);
        }
    }

    #[test]
    fn brackets_in_strings_and_side_by_side_do_not_nest() {
        let check = |text: &str, expected| assert_eq!(nests_deeper(text.as_bytes(), 2), expected, "{text}");
        check("[[]]", false);
        check("[[[]]]", true);
        check("[{[]}]", true);
        check("[[],[],[]]", false);
        check(r#"["[[["]"#, false);
        check(r#"["\"[[["]"#, false);
        check(r#"["\\",[[]]]"#, true);
        check(r#"["[[["#, false);
        check(r#"["[[[\"#, false);
        check("]]]][[[", true);
    }

    #[test]
    fn opening_brackets_are_counted_in_texts_of_any_length() {
        for length in [0, 1, 254, 255, 256, 510, 511, 1000] {
            assert_eq!(count_opening(&vec![b'['; length]), length);
        }
        let all: Vec<u8> = (u8::MIN..=u8::MAX).collect();
        assert_eq!(count_opening(&all), 2);
    }
}
