//! Strings to JSON and back, many bytes at a time.
//!
//! A general serialiser looks at each byte by itself, and a general reader copies what it has found a second time. For
//! a text of a megabyte that is most of what a whole echo costs.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod read;
mod scan;
mod write;

pub(crate) use crate::strings::read::read;
pub(crate) use crate::strings::scan::skip_value;
pub(crate) use crate::strings::write::{append, write};

/// Behind the bytes at the beginning that stand for themselves in a string of JSON.
#[inline]
pub(crate) fn skip_plain(text: &[u8]) -> &[u8] {
    // Most strings are short.
    let (first, behind) = text.split_at_checked(SHORT).unwrap_or((text, &[]));
    let at = plain(first);
    if at < first.len() || behind.is_empty() {
        text.get(at..).unwrap_or_default()
    } else {
        skip_steps(behind)
    }
}

/// The same for what is longer, in steps without branches, which become vector instructions.
pub(crate) fn skip_steps(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some((step, after)) = rest.split_first_chunk::<STEP>() {
        // Numbers and not truths: a compiler that sees the latter looks at one after the other.
        if step.iter().fold(0, |found, byte| found | u8::from(is_special(*byte))) != 0 {
            break;
        }
        rest = after;
    }
    rest.get(plain(rest)..).unwrap_or_default()
}

/// White space as JSON has it.
#[inline]
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// How many bytes at the beginning stand for themselves; eight at a time.
#[inline]
fn plain(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            let at = text.len().saturating_sub(rest.len());
            return at.saturating_add(special.trailing_zeros() as usize / 8);
        }
        rest = after;
    }
    let at = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    text.len().saturating_sub(rest.len()).saturating_add(at)
}

/// The top bit of bytes that are special, as [`is_special`] says; right up to the first of them.
#[inline]
pub(crate) const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = each(1);
    // A borrow comes from a smaller byte, so it spoils those behind it alone.
    let control = word.wrapping_sub(each(0x20)) & !word;
    let quote = word ^ each(b'"');
    let backslash = word ^ each(b'\\');
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & each(0x80)
}

/// A word of this byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Names a value that is JSON already, towards the reader and the writer of this module.
pub(crate) const JSON: &str = "socketproto::Json";

/// Bytes of a string that is short.
const SHORT: usize = 64;

/// Bytes that are looked at together.
const STEP: usize = 64;

const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_a_time_are_told_like_one() {
        for byte in u8::MIN..=u8::MAX {
            for at in 0..8 {
                let mut text = [b'x'; 8];
                text[at] = byte;
                assert_eq!(plain(&text), if is_special(byte) { at } else { 8 }, "{byte:#04x} at {at}");
            }
        }
    }
}
