//! Group B, what stands around the data: keys, ids, statuses, services.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Error, Message};

use crate::support::{Echo, HELLO, Raw, WIRES, Wire, block_on, m, start};

/// Sends texts on one connection each. An answer of none means that nothing comes and the connection lives.
fn check(echo: &Echo, cases: &[(&str, Option<&str>)]) {
    for wire in WIRES {
        for (text, answer) in cases {
            let mut peer = echo.connect(wire);
            peer.send_text(text);
            if let Some(answer) = answer {
                assert_eq!(peer.answer(), *answer, "{wire:?} {text}");
            }
            peer.probe();
        }
    }
}

#[test]
fn b_01_extra_unknown_keys() {
    let echo = Echo::start();
    check(
        &echo,
        &[
            (
                r#"{"status":0,"service_id":10,"data_id":1,"data":null,"ts":1762150465,"x":{"y":[1]}}"#,
                Some("11/1: null"),
            ),
            (
                r#"{"x":{"data_id":3},"service_id":20,"data_id":1,"x":null,"data":[1],"":0}"#,
                Some("21/1: [1]"),
            ),
        ],
    );
    echo.end();
}

#[test]
fn b_02_each_key_missing_in_turn() {
    let echo = Echo::start();
    check(
        &echo,
        &[
            (r#"{"service_id":10,"data_id":1,"data":5}"#, Some("11/1: 5")),
            (r#"{"status":0,"service_id":10,"data_id":1}"#, Some("11/1: null")),
            (r#"{"status":0,"data_id":1,"data":5}"#, None),
            (r#"{"status":0,"service_id":10,"data":5}"#, None),
            ("{}", None),
        ],
    );
    echo.end();
}

#[test]
fn b_03_other_key_order_other_white_space_escaped_keys() {
    let echo = Echo::start();
    check(
        &echo,
        &[
            (r#"{"data":1,"data_id":2,"service_id":20,"status":0}"#, Some("21/2: 1")),
            (
                "{\n    \"status\": 0,\n    \"service_id\" :20,\r\n\t\"data_id\": 2 ,\n    \"data\": 1\n}\n",
                Some("21/2: 1"),
            ),
            (r#"{"st\u0061tus":0,"service_id":20,"data_id":2,"data":1}"#, Some("21/2: 1")),
            (r#"{"status":0,"servic\u0065_id":20,"\u0064ata_id":2,"\u0064ata":"é"}"#, Some(r#"21/2: "é""#)),
            (r#"{"status":0,"service_id":20,"data_id":2,"data":"\u00e9"}"#, Some(r#"21/2: "\u00e9""#)),
            (
                r#"{"status":0,"service_id":20,"data_id":2,"data":{ "a" : [ 1 ] }}"#,
                Some(r#"21/2: { "a" : [ 1 ] }"#),
            ),
        ],
    );
    echo.end();
}

#[test]
fn b_04_duplicate_keys() {
    let echo = Echo::start();
    check(
        &echo,
        &[
            (r#"{"status":0,"service_id":10,"service_id":30,"data_id":1,"data":null}"#, None),
            (r#"{"status":0,"service_id":10,"service_id":10,"data_id":1,"data":null}"#, None),
            (r#"{"status":0,"service_id":10,"data_id":1,"d\u0061ta_id":2,"data":null}"#, None),
            (r#"{"status":0,"service_id":10,"data_id":1,"data":null,"data":1}"#, None),
            (r#"{"status":0,"service_id":10,"data_id":1,"data":1,"status":0}"#, None),
            // Inside the data they are the handler's matter.
            (
                r#"{"status":0,"service_id":20,"data_id":1,"data":{"qty":1,"qty":-1}}"#,
                Some(r#"21/1: {"qty":1,"qty":-1}"#),
            ),
        ],
    );
    echo.end();
}

#[test]
fn b_06_ids_of_the_wrong_json_type() {
    let echo = Echo::start();
    let envelope = |key: &str, value: &str| {
        let mut text = m(0, 10, 1, "null");
        let from = text.find(&format!("\"{key}\"")).unwrap() + key.len() + 3;
        let to = from + text[from..].find(',').unwrap();
        text.replace_range(from..to, value);
        text
    };
    let wrong = [
        "-1",
        "-0",
        "\"1\"",
        "true",
        "null",
        "[1]",
        "{}",
        "1.0",
        "1e0",
        "4294967296",
        "1e400",
        "18446744073709551616",
    ];
    for key in ["data_id", "service_id", "status"] {
        for value in wrong {
            check(&echo, &[(&envelope(key, value), None)]);
        }
    }
    check(
        &echo,
        &[
            (&envelope("data_id", "0"), Some("11/0: null")),
            (&envelope("data_id", "4294967295"), Some("11/4294967295: null")),
            // Requests with a status are dispatched all the same.
            (&envelope("status", "16777215"), Some("11/1: null")),
            (&envelope("status", "16777216"), None),
        ],
    );
    echo.end_noisy();
}

#[test]
fn b_16_byte_order_mark_in_front() {
    let echo = Echo::start();
    let marked = format!("\u{feff}{}", m(0, 10, 1, "null"));
    check(&echo, &[(&marked, None)]);
    let log = echo.end();
    assert!(log.contains("malformed frame dropped") && log.contains("0xef"), "{log}");
}

#[test]
fn b_24_unknown_service_and_responses_nobody_asked_for() {
    let echo = Echo::start();
    let messages =
        [m(0, 99, 1, "null"), m(0, 11, 1, "5"), m(0, 21, 1, "null"), m(4, 31, 1, "null"), m(0, 40, 1, "1")];
    for text in &messages {
        check(&echo, &[(text, None)]);
    }
    // The framework's own ids are answered, or ignored, but never reach a handler.
    check(
        &echo,
        &[(&m(0, 0xFFFF_0004, 0, "null"), Some("4294901765/0 status 4: null")), (&m(0, 9, 0, "1"), None)],
    );
    echo.end();
}

#[test]
fn b_24_an_answer_nobody_asked_for_completes_no_later_call() {
    for wire in WIRES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let fake = thread::spawn(move || {
            let mut peer = Raw::accept(&listener, wire);
            while let Some(request) = peer.receive() {
                match request.service_id {
                    0xFFFF_0000 => peer.send_text(request.answer(HELLO)),
                    8 => peer.send_text(request.answer("null")),
                    _ => {
                        // Before the call of datum 5 there is an answer to it already.
                        let stray = [m(0, 11, 5, "1"), m(0, 21, 5, "1")];
                        if request.data_id != 5 {
                            stray.iter().for_each(|text| peer.send_text(text));
                        }
                        peer.send_text(request.answer("2"));
                    }
                }
            }
        });
        block_on(async {
            let option = if wire == Wire::Stp { "?peer=old" } else { "" };
            let client = Client::connect(format!("{address}{option}")).await.unwrap();
            assert_eq!(client.read::<u8>(4).await.unwrap(), 2);
            assert_eq!(client.read::<u8>(5).await.unwrap(), 2);
            client.close().await;
        });
        fake.join().unwrap();
    }
}

#[test]
fn b_24_a_pair_of_ids_that_only_one_side_knows() {
    let echo = |message: &Message| Ok(message.json().clone());
    let knows =
        start(Server::bind("tcp://127.0.0.1:0").add_service(40, 41).register_callback(None, None, echo));
    let knows_not = start(Server::bind("tcp://127.0.0.1:0").register_callback(None, None, echo));
    assert_eq!(Raw::connect(knows.address(), Wire::Length).ask(40, 1, "7"), "41/1: 7");
    block_on(async {
        let client = Client::connect(knows.address()).await.unwrap();
        let error = client.call::<_, u8>(40, 1, &7).await.unwrap_err();
        assert!(matches!(error, Error::UnknownService { .. }), "{error}");
        assert_eq!(client.read::<Json>(1).await.unwrap(), Json::NULL);

        // A server that does not know the service cannot know what would be its answer: the caller's time ends.
        let client = Client::connect(knows_not.address()).add_service(40, 41).await.unwrap();
        let error = client.call::<_, u8>(40, 1, &7).timeout(Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(client.read::<Json>(1).await.unwrap(), Json::NULL);
    });
}
