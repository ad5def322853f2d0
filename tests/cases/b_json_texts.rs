//! Group B, and some of A: ready texts, each in a frame with a right checksum, and what becomes of it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::{Echo, Noise, WIRES};

/// One line of the file.
#[derive(Deserialize)]
struct Text {
    case: String,
    name: String,
    /// What the case asks for: `accept`, `refuse`, or `spec` where the protocol has to say.
    cls: String,
    hex: String,
}

/// What protocol.md says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// Answered with the data's text as it was sent.
    Equal,
    /// Answered with this text.
    As(&'static str),
    /// Dropped, counted as a protocol error and logged; the connection lives.
    Malformed,
    /// A message that no handler takes and nobody answers.
    Ignored,
}

use Outcome::{As, Equal, Ignored, Malformed};

fn texts() -> Vec<Text> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases/data/json_texts.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The answer to a message, its data as they stand in the text.
fn echoed(text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message<'a> {
        service_id: u32,
        data_id: u32,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let message: Message<'_> = serde_json::from_slice(text).unwrap();
    format!("{}/{}: {}", message.service_id + 1, message.data_id, message.data.map_or("null", RawValue::get))
}

#[test]
fn json_texts_are_taken_as_the_protocol_says() {
    let texts = texts();
    assert_eq!(texts.len(), OUTCOMES.len());
    let echo = Echo::with(&[], "info");
    for (text, (case, name, outcome)) in texts.iter().zip(OUTCOMES) {
        assert_eq!((&*text.case, &*text.name), (case, name), "the table has the order of the file");
        for wire in WIRES {
            let mut peer = echo.connect(wire);
            let bytes = bytes(&text.hex);
            peer.send_text(&bytes);
            match outcome {
                Equal => assert!(peer.answer() == echoed(&bytes), "{wire:?} {case} {name}"),
                As(data) => assert_eq!(peer.answer(), format!("21/1: {data}"), "{wire:?} {case} {name}"),
                // Nothing comes before the next answer.
                Malformed | Ignored => {}
            }
            peer.probe();
        }
    }
    let log = echo.end();
    let malformed = OUTCOMES.iter().filter(|(_, _, outcome)| *outcome == Malformed).count();
    let told = log.matches("malformed frame dropped").count();
    assert!((1..malformed * WIRES.len()).contains(&told), "once a second at most, not {told} times");
}

#[test]
fn json_texts_are_refused_where_the_case_asks_for_it_but_for_numbers_kept_as_text() {
    for (text, (case, name, outcome)) in texts().iter().zip(OUTCOMES) {
        let by_text = case == "B13" && name.contains("e400");
        match &*text.cls {
            "accept" => assert_eq!(outcome, Equal, "{case} {name}"),
            "refuse" => assert_eq!(outcome, if by_text { Equal } else { Malformed }, "{case} {name}"),
            other => assert_eq!(other, "spec", "{case} {name}"),
        }
    }
}

#[test]
fn json_texts_leave_the_process_at_its_base_line() {
    let echo = Echo::with(&[], "error");
    let mut base = echo.base();
    let texts: Vec<_> = texts().iter().map(|text| bytes(&text.hex)).collect();
    let mut noise = Noise(24);
    for _ in 0..4 {
        for text in &texts {
            let mut peer = echo.connect(WIRES[noise.below(2)]);
            peer.send_text(text);
            if noise.below(2) == 0 {
                peer.finish();
                while peer.receive().is_some() {}
            }
        }
    }
    echo.is_back_at(&mut base, 16 << 20);
    echo.is_idle();
    echo.end();
}

const OUTCOMES: [(&str, &str, Outcome); 108] = [
    ("A15", "suffix crlf", Equal),
    ("A15", "suffix lf", Equal),
    ("A15", "suffix tab", Equal),
    ("A15", "suffix space", Equal),
    ("A15", "suffix nul", Malformed),
    ("A16", "raw separators", Equal),
    ("A19", "empty", Malformed),
    ("A19", "word", Malformed),
    ("A19", "scalar", Malformed),
    ("A19", "array", Malformed),
    ("A19", "null", Malformed),
    ("A19", "open", Malformed),
    ("A19", "trailing comma", Malformed),
    ("A19", "single quotes", Malformed),
    ("A19", "two objects", Malformed),
    ("B01", "extra keys", Equal),
    ("B02", "missing status", Equal),
    ("B02", "missing service_id", Malformed),
    ("B02", "missing data_id", Malformed),
    ("B02", "missing data", Equal),
    ("B02", "missing ALL", Malformed),
    ("B03", "other order", Equal),
    ("B03", "pretty", Equal),
    ("B03", "escaped key", Equal),
    ("B04", "dup sid", Malformed),
    ("B04", "dup in data", Equal),
    ("B05", "write null", Equal),
    ("B05", "write false", Equal),
    ("B05", "write 0", Equal),
    ("B05", r#"write """#, Equal),
    ("B05", "write []", Equal),
    ("B05", "write {}", Equal),
    ("B05", "write 0.0", Equal),
    ("B06", "did 0", Equal),
    ("B06", "did -1", Malformed),
    ("B06", "sid -1", Malformed),
    ("B06", "status -1", Malformed),
    ("B06", r#"did "1""#, Malformed),
    ("B06", r#"sid "1""#, Malformed),
    ("B06", r#"status "1""#, Malformed),
    ("B06", "did true", Malformed),
    ("B06", "sid true", Malformed),
    ("B06", "status true", Malformed),
    ("B06", "did null", Malformed),
    ("B06", "sid null", Malformed),
    ("B06", "status null", Malformed),
    ("B06", "did [1]", Malformed),
    ("B06", "sid [1]", Malformed),
    ("B06", "status [1]", Malformed),
    ("B06", "did {}", Malformed),
    ("B06", "sid {}", Malformed),
    ("B06", "status {}", Malformed),
    ("B08", "data NaN", As("null")),
    ("B08", "data Infinity", As("null")),
    ("B08", "data -Infinity", As("null")),
    ("B08", "data [1,NaN]", As("[1,null]")),
    ("B08", r#"data {"t":NaN}"#, As(r#"{"t":null}"#)),
    ("B11", r#"data '"\\ud83d\\ude00"'"#, Equal),
    ("B11", r#"data '"\U0001f600"'"#, Equal),
    ("B11", r#"data '"a\\u0000b"'"#, Equal),
    ("B11", r#"data '"e\u0301"'"#, Equal),
    ("B11", r#"data '"\xe9"'"#, Equal),
    ("B11", r#"data '"\u202eabc"'"#, Equal),
    ("B11", r#"data '"\ufeffx"'"#, Equal),
    ("B12", "data 9007199254740993", Equal),
    ("B12", "data 9223372036854775807", Equal),
    ("B12", "data -9223372036854775808", Equal),
    ("B12", "data 18446744073709551615", Equal),
    ("B12", "data 18446744073709551616", Equal),
    ("B12", "data -9223372036854775809", Equal),
    ("B12", "data 100000000000000000000000", Equal),
    ("B12", "data 999999999999999999999999", Equal),
    ("B13", "data 1e400", Equal),
    ("B13", "data -1e400", Equal),
    ("B13", "data 1e-400", Equal),
    ("B13", "data 5e-324", Equal),
    ("B14", "data 1.7976931348623157e308", Equal),
    ("B14", "data -0.0", Equal),
    ("B14", "data 0.1", Equal),
    ("B14", "data 0.30000000000000004", Equal),
    ("B14", "data 9007199254740991.0", Equal),
    ("B14", "data -8.990567403888024e-203", Equal),
    ("B14", "data 18.900000000000002", Equal),
    ("B14", "data 1E5", Equal),
    ("B14", "data 0.000", Equal),
    ("B13", "data -0", Equal),
    ("B15", "arrays 10", Equal),
    ("B15", "arrays 100", Equal),
    ("B15", "arrays 125", Equal),
    ("B15", "arrays 126", Equal),
    ("B15", "arrays 127", Malformed),
    ("B15", "arrays 1000", Malformed),
    ("B15", "arrays 100000", Malformed),
    ("B16", "bom", Malformed),
    ("B19", "latin1", Malformed),
    ("B19", "overlong", Malformed),
    ("B19", "cesu8", Malformed),
    ("B19", "raw ctrl", Malformed),
    ("B19", "raw newline", Malformed),
    ("B21", "data true", Equal),
    ("B21", "data 1", Equal),
    ("B21", "data 1.0", Equal),
    ("B21", r#"data "1""#, Equal),
    ("B21", r#"data "true""#, Equal),
    ("B21", r#"data "ON""#, Equal),
    ("B24", "unknown sid", Ignored),
    ("B24", "unsolicited answer", Ignored),
    ("B24", "unsolicited ack", Ignored),
];
