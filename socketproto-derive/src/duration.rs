//! `timeout = "120s"`: a time in the words of people.

use std::time::Duration;

use syn::LitStr;

/// The shortest and the longest time a handler may be given.
const RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

/// Reads a whole number and its unit.
pub(crate) fn parse(literal: &LitStr) -> syn::Result<Duration> {
    let text = literal.value();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "" if digits > 0 => {
            return Err(error(
                literal,
                format!("`{text}` needs a unit: `\"{text}s\"`; there are ms, s, m and h"),
            ));
        }
        _ => return Err(error(literal, "expected a whole number and its unit, ms, s, m or h: `\"120s\"`")),
    };
    let Ok(number) = number.parse::<u64>() else {
        return Err(error(literal, "expected a whole number and its unit, ms, s, m or h: `\"120s\"`"));
    };
    let time = Duration::from_millis(number.saturating_mul(millis_per_unit));
    if RANGE.contains(&time) {
        Ok(time)
    } else {
        Err(error(literal, format!("`{text}` is out of range: a handler has from 1ms to 24h")))
    }
}

fn error(literal: &LitStr, message: impl std::fmt::Display) -> syn::Error {
    syn::Error::new(literal.span(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Duration, String> {
        parse(&LitStr::new(text, proc_macro2::Span::call_site())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, millis) in
            [("1ms", 1), ("120s", 120_000), ("2 m", 120_000), ("24h", 86_400_000), ("007s", 7000)]
        {
            assert_eq!(parsed(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told_what_is_wrong() {
        for (text, expected) in [
            ("120", "needs a unit: `\"120s\"`"),
            ("", "expected a whole number"),
            ("s", "expected a whole number"),
            ("1.5s", "expected a whole number"),
            ("-1s", "expected a whole number"),
            ("1 day", "expected a whole number"),
            ("99999999999999999999s", "expected a whole number"),
            ("0ms", "out of range: a handler has from 1ms to 24h"),
            ("25h", "out of range"),
            ("18446744073709551615h", "out of range"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
