//! Group A, frames whose text is not quite a JSON object.

use crate::support::{Echo, WIRES, m};

#[test]
fn a_15_cr_lf_blanks_or_nul_after_the_json_text() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        let text = m(0, 10, 1, "null");
        for spaced in ["{}\r\n", " {} ", "\t{}", "{}\n", "\r\n \t{}\t \n\r"] {
            peer.send_text(spaced.replace("{}", &text));
            assert_eq!(peer.answer(), "11/1: null", "{wire:?} {spaced:?}");
        }
        // A byte that is no white space makes the frame malformed; it is dropped and logged.
        for odd in ["{}\0", "\0{}", "{}\u{b}", "{}\u{a0}"] {
            peer.send_text(odd.replace("{}", &text));
            peer.probe();
        }
    }
    let log = echo.end();
    assert!(log.contains("malformed frame dropped"), "{log}");
}

#[test]
fn a_16_line_separators_inside_strings() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        let raw = "\"a\u{2028}b\u{2029}c\u{85}d\"";
        let escaped = r#""a\u2028b\u2029c\u0085d""#;
        for spelling in [raw, escaped] {
            let answer = peer.ask(20, 1, spelling);
            // The spelling is kept, and means the same.
            assert_eq!(answer, format!("21/1: {spelling}"));
            let data: String = serde_json::from_str(answer.strip_prefix("21/1: ").unwrap()).unwrap();
            assert_eq!(data, "a\u{2028}b\u{2029}c\u{85}d");
        }
        peer.probe();
    }
    echo.end();
}

#[test]
fn a_19_valid_frame_but_not_a_json_object() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        let glued = [m(0, 10, 1, "null"), m(0, 10, 2, "null")].concat();
        let trailing = m(0, 10, 1, "null").replace('}', ",}");
        let texts = [
            "",
            "OK",
            "42",
            "[]",
            "null",
            "{",
            "{\"a\":1,}",
            "{'status':0}",
            "{}",
            "\"{}\"",
            &glued,
            &trailing,
        ];
        for text in texts {
            peer.send_text(text);
            peer.probe();
        }
    }
    let log = echo.end();
    assert!(log.contains("malformed frame dropped"), "{log}");
}
