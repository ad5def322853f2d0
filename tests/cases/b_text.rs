//! Group B, strings: what they hold, and what is no string.

use std::collections::HashMap;

use socketproto::prelude::*;

use crate::b_payloads::payload;
use crate::support::{Echo, Noise, Raw, WIRES, Wire, m, start};

/// The string that comes back when this JSON text is echoed.
fn echoed(peer: &mut Raw, text: &str) -> String {
    let answer = peer.ask(20, 1, text);
    assert_eq!(answer, format!("21/1: {text}"), "the spelling is kept");
    serde_json::from_str(answer.strip_prefix("21/1: ").unwrap()).unwrap()
}

#[test]
fn b_11_emoji_escaped_pairs_combining_rtl_controls() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        assert_eq!(echoed(&mut peer, r#""\ud83d\ude00""#), echoed(&mut peer, "\"😀\""));
        assert_eq!(echoed(&mut peer, r#""a\u0000b""#), "a\0b");
        assert_eq!(echoed(&mut peer, "\"e\u{301}\""), "e\u{301}");
        assert_eq!(echoed(&mut peer, "\"é\""), "\u{e9}");
        assert_eq!(echoed(&mut peer, "\"\u{202e}abc\""), "\u{202e}abc");
        assert_eq!(echoed(&mut peer, "\"\u{feff}x\""), "\u{feff}x");
        let stress = payload("29_");
        assert_eq!(peer.ask(20, 1, &stress), format!("21/1: {stress}"));
        // A lone surrogate passes as text; a Rust string cannot hold it.
        assert_eq!(peer.ask(20, 1, r#""\ud83d""#), r#"21/1: "\ud83d""#);
        peer.probe();
    }
    echo.end();
}

#[derive(Service)]
#[did(1, read = fn pairs() -> HashMap<(u8, u8), u8>)]
struct Unwritable;

impl Unwritable {
    fn pairs(&self) -> HashMap<(u8, u8), u8> {
        HashMap::from([((1, 2), 3)])
    }
}

#[test]
fn b_17_binary_data_as_base64() {
    let echo = Echo::start();
    let all = base64(&(u8::MIN..=u8::MAX).collect::<Vec<u8>>());
    let large = base64(&Noise(17).bytes(1 << 20));
    let url_safe = large[..1000].replace('+', "-").replace('/', "_");
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        let stored = payload("28_");
        assert_eq!(peer.ask(20, 1, &stored), format!("21/1: {stored}"));
        for text in [&*all, &large, &url_safe, "/+8=", "/+8", "\\/+8=", ""] {
            let data = format!("\"{text}\"");
            assert!(peer.ask(20, 1, &data) == format!("21/1: {data}"), "{wire:?}, {} bytes", data.len());
        }
        peer.probe();
    }
    echo.end();
    // A handler's result that JSON cannot express is an error of its caller's request, not silence.
    let server = start(Server::bind("tcp://127.0.0.1:0").service(Unwritable));
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    let answer = peer.ask(10, 1, "null");
    assert!(answer.starts_with("11/1 status 2: ") && answer.contains("key must be a string"), "{answer}");
    assert_eq!(peer.ask(10, 1, "null"), answer);
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, at| group << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = char::from(ALPHABET[(group >> (18 - 6 * at)) as usize & 63]);
            text.push(if at > three.len() { '=' } else { letter });
        }
    }
    text
}

#[test]
fn b_19_raw_control_characters_latin_1_overlong_utf_8() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for odd in
            [&b"\xE9"[..], b"\xC0\xAF", b"\xED\xA0\xBD\xED\xB8\x80", b"\x01", b"a\nb", b"\xFF", b"\xF0\x9F"]
        {
            let text = m(0, 20, 1, "\"?\"");
            let (head, tail) = text.split_once('?').unwrap();
            peer.send_text([head.as_bytes(), odd, tail.as_bytes()].concat());
            peer.probe();
        }
    }
    let log = echo.end();
    assert!(log.contains("malformed frame dropped"), "{log}");
}

#[test]
fn b_23_keys_and_ids_that_contain_the_framing_characters() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        let texts = [
            payload("06_"),
            payload("29_"),
            format!("\"{}\"", ":".repeat(100_000)),
            r#"{":<":":>",":=":"::",":<:>":[":",":"],"a:":"b:"}"#.to_owned(),
            format!("\"{}\"", ":<:>:=::".repeat(1000)),
        ];
        for text in texts {
            assert!(peer.ask(20, 1, &text) == format!("21/1: {text}"), "{wire:?}, {} bytes", text.len());
        }
        peer.probe();
    }
    // A colon costs one byte more, everything else nothing.
    let text = m(0, 20, 1, &format!("\"{}\"", ":".repeat(1000)));
    let colons = text.matches(':').count();
    assert!(Wire::Stp.frame(&text).len() <= text.len() + 4 + colons + 4 + 4);
    echo.end();
}
