//! Group B, depth and size.

use socketproto::prelude::*;
use socketproto::{Error, Limits};

use crate::support::{Echo, Raw, WIRES, Wire, block_on, m, start};

/// A text nested so deep.
fn nested(levels: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn b_15_deep_nesting() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for levels in [10, 100, 125, 126] {
                let data = nested(levels, open, close);
                assert_eq!(peer.ask(20, 1, &data), format!("21/1: {data}"));
            }
            for levels in [127, 128, 1_000, 100_000] {
                peer.send_text(m(0, 20, 1, &nested(levels, open, close)));
                peer.send_text(m(0, 20, 1, &open.repeat(levels)));
                peer.probe();
            }
            // Brackets in strings nest nothing.
            let data = format!("[\"{}\"]", "[".repeat(1_000));
            assert_eq!(peer.ask(20, 1, &data), format!("21/1: {data}"));
        }
    }
    let log = echo.end();
    assert!(log.contains("malformed frame dropped"), "{log}");
}

#[test]
fn b_15_what_nests_too_deep_is_not_sent() {
    let server = start(Server::bind("tcp://127.0.0.1:0").register_callback(
        Some(ServiceId::READ_REQUEST),
        None,
        |message| Ok(Json::from_text(nested(message.data_id().value() as usize, "[", "]")).unwrap()),
    ));
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    assert_eq!(peer.ask(10, 126, "null"), format!("11/126: {}", nested(126, "[", "]")));
    for levels in [127, 1_000, 100_000] {
        let answer = peer.ask(10, levels, "null");
        assert!(answer.starts_with(&format!("11/{levels} status 2: {{\"error\":")), "{answer}");
    }
    assert_eq!(peer.ask(10, 1, "null"), "11/1: [1]");
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        for levels in [127, 100_000] {
            let json = Json::from_text(nested(levels, "[", "]")).unwrap();
            let error = client.write(1, &json).await.unwrap_err();
            assert!(matches!(error, Error::NotSendable { .. }), "{error}");
        }
        assert_eq!(client.read::<Json>(1).await.unwrap().as_str(), "[1]");
    });
}

/// Bytes of the answer's frame around the data of datum 1: the server's own writing.
const AROUND: usize = r#"{"data_id":1,"service_id":21,"status":0,"data":}"#.len() + 4;

#[test]
fn b_18_large_payloads_up_to_the_limit() {
    let max_frame = Limits::default().max_frame;
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for size in [65_535, 65_536, 1 << 20, max_frame - AROUND] {
            let colons = ":".repeat(size - 2);
            let escapes = "\\u0001".repeat((size - 2) / 6);
            let letters = "x".repeat(size - 2);
            for text in [letters, colons, escapes] {
                if size > 1 << 20 && text.starts_with('\\') {
                    continue;
                }
                let data = format!("\"{text}\"");
                // The test's own way of writing has equally many bytes as the server's.
                assert!(peer.ask(20, 1, &data) == format!("21/1: {data}"), "{wire:?} {size}");
            }
        }
        peer.probe();
    }
    echo.end();
}

#[test]
fn b_18_above_the_limit_both_sides_name_it() {
    let max_frame = Limits::default().max_frame;
    let echo = Echo::start();
    let mut other = echo.connect(Wire::Length);
    for wire in WIRES {
        for size in [max_frame - AROUND + 1, 2 * max_frame] {
            let mut peer = echo.connect(wire);
            peer.try_send(&wire.frame(m(0, 20, 1, &format!("\"{}\"", "x".repeat(size - 2)))));
            peer.expect_end();
            other.probe();
        }
    }
    block_on(async {
        let client = Client::connect(&echo.address).await.unwrap();
        for size in [max_frame, 8 * max_frame] {
            let error = client.write(1, &"x".repeat(size)).await.unwrap_err();
            assert!(matches!(error, Error::NotSendable { .. }), "{error}");
            assert!(error.to_string().contains("max_frame of 8388608"), "{error}");
        }
        assert_eq!(client.execute::<_, u8>(1, &1).await.unwrap(), 1);
    });
    let log = echo.end();
    assert!(log.contains("exceeds max_frame of 8388608"), "{log}");
    // An answer that is too large is an error of its request; the connection lives.
    let server = start(Server::bind("tcp://127.0.0.1:0").register_callback(
        Some(ServiceId::READ_REQUEST),
        None,
        |message| Ok(Json::encode(&"x".repeat(message.data_id().value() as usize)).unwrap()),
    ));
    let mut peer = Raw::connect(server.address(), Wire::Length);
    let answer = peer.ask(10, u32::try_from(max_frame).unwrap(), "null");
    assert!(answer.contains(" status 2: ") && answer.contains("exceeds max_frame of 8388608"), "{answer}");
    assert_eq!(peer.ask(10, 1, "null"), r#"11/1: "x""#);
}
