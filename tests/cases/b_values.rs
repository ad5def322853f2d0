//! Group B, values: what is sent is what arrives, of the same type and to the last digit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use socketproto::prelude::*;
use socketproto::{Error, Message};

use crate::b_payloads::payload;
use crate::support::{Echo, Raw, WIRES, Wire, block_on, m, start};

/// Echoes data as they are.
fn keep(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// Echoes data through a type.
fn through<T: serde::de::DeserializeOwned + serde::Serialize>(message: &Message) -> Result<Json, Fault> {
    let value: T = message.data().map_err(|error| Fault::callback_error(error.to_string()))?;
    Json::encode(&value).map_err(|error| Fault::callback_error(error.to_string()))
}

/// A server whose datum 1 keeps the text, and whose data 2 to 5 go through types.
fn typed() -> Server {
    let execute = Some(ServiceId::EXECUTE_REQUEST);
    start(
        Server::bind("tcp://127.0.0.1:0")
            .register_callback(execute, Some(1.into()), keep)
            .register_callback(execute, Some(2.into()), through::<f64>)
            .register_callback(execute, Some(3.into()), through::<u64>)
            .register_callback(execute, Some(4.into()), through::<Value>)
            .register_callback(execute, Some(5.into()), through::<u128>)
            .register_callback(execute, Some(6.into()), through::<bool>)
            .register_callback(Some(ServiceId::READ_REQUEST), Some(4711.into()), keep),
    )
}

#[derive(Service, Client)]
#[did(1, read = fn null() -> Option<u8>)]
#[did(2, read = fn no() -> bool)]
#[did(3, read = fn zero() -> i64)]
#[did(4, read = fn text() -> String)]
#[did(5, read = fn list() -> Vec<u8>)]
#[did(6, read = fn object() -> HashMap<String, u8>)]
#[did(7, read = async fn never() -> u8)]
#[did(8, read = fn refused() -> u8)]
#[did(9, write = fn set_any(value: Option<bool>))]
struct Falsy {
    written: Arc<Mutex<Vec<Option<bool>>>>,
}

impl Falsy {
    fn null(&self) -> Option<u8> {
        None
    }
    fn no(&self) -> bool {
        false
    }
    fn zero(&self) -> i64 {
        0
    }
    fn text(&self) -> String {
        String::new()
    }
    fn list(&self) -> Vec<u8> {
        Vec::new()
    }
    fn object(&self) -> HashMap<String, u8> {
        HashMap::new()
    }
    async fn never() -> u8 {
        std::future::pending().await
    }
    fn refused(&self) -> Result<u8, Fault> {
        Err(Fault::not_permitted("not now"))
    }
    fn set_any(&mut self, value: Option<bool>) {
        self.written.lock().unwrap().push(value);
    }
}

#[test]
fn b_05_null_false_zero_and_empty_as_data() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let server = start(Server::bind("tcp://127.0.0.1:0").service(Falsy { written: Arc::clone(&written) }));
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    for (data_id, data) in [(1, "null"), (2, "false"), (3, "0"), (4, "\"\""), (5, "[]"), (6, "{}")] {
        assert_eq!(peer.ask(10, data_id, "null"), format!("11/{data_id}: {data}"));
    }
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        let falsy = FalsyClient::new(&client);
        assert_eq!(falsy.null().await.unwrap(), None);
        assert!(!falsy.no().await.unwrap());
        assert_eq!(falsy.zero().await.unwrap(), 0);
        assert_eq!(falsy.text().await.unwrap(), "");
        assert!(falsy.list().await.unwrap().is_empty());
        assert!(falsy.object().await.unwrap().is_empty());
        for data_id in 1..=6 {
            let value: Json = client.read(data_id).await.unwrap();
            assert_eq!(value.as_str(), ["null", "false", "0", "\"\"", "[]", "{}"][data_id as usize - 1]);
        }
        // All of which can be told from no answer, no handler, no permission.
        let never = falsy.never().timeout(Duration::from_millis(50)).await;
        assert!(matches!(never, Err(Error::TimedOut { .. })));
        let refused = |error: Error| match error {
            Error::Fault { fault, .. } => fault.status(),
            other => panic!("{other}"),
        };
        assert_eq!(refused(falsy.refused().await.unwrap_err()), Status::OPERATION_NOT_PERMITTED);
        let missing = client.read::<Json>(99).await.unwrap_err();
        assert_eq!(refused(missing), Status::SERVICE_OR_DATA_UNKNOWN);
        for value in [None, Some(false), Some(true)] {
            falsy.set_any(value).await.unwrap();
        }
    });
    assert_eq!(*written.lock().unwrap(), [None, Some(false), Some(true)]);
}

#[test]
fn b_08_nan_and_infinity_from_a_python_peer() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for (data, taken) in [
            ("NaN", "null"),
            ("Infinity", "null"),
            ("-Infinity", "null"),
            ("[1,NaN]", "[1,null]"),
            (r#"{"t":NaN,"NaN":"-Infinity NaN"}"#, r#"{"t":null,"NaN":"-Infinity NaN"}"#),
        ] {
            assert_eq!(peer.ask(20, 1, data), format!("21/1: {taken}"));
            assert_eq!(peer.ask(20, 1, "1"), "21/1: 1");
        }
        // Other spellings, and ids that are no numbers, make no message.
        for data in ["nan", "inf", "-NaN", "+Infinity", "1NaN"] {
            peer.send_text(m(0, 20, 1, data));
            peer.probe();
        }
        peer.send_text(r#"{"status":0,"service_id":20,"data_id":NaN,"data":1}"#);
        peer.probe();
    }
    let log = echo.end();
    assert_eq!(log.matches("NaN or Infinity").count(), WIRES.len(), "once a connection:\n{log}");
    // A handler that expects a number does not get a wrong one.
    let server = typed();
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    let answer = peer.ask(30, 2, "NaN");
    assert!(answer.starts_with(r#"31/2 status 2: {"error":"#), "{answer}");
    peer.probe();
}

#[derive(Service, Client)]
#[did(1, read = fn broken() -> HashMap<String, f64>)]
#[did(2, execute = fn double(value: f64) -> f64)]
struct Sensor {
    value: f64,
}

impl Sensor {
    fn broken(&self) -> HashMap<String, f64> {
        HashMap::from([("t".to_owned(), self.value)])
    }
    fn double(&self, value: f64) -> f64 {
        2.0 * value
    }
}

#[test]
fn b_09_our_own_side_is_asked_to_send_nan() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let server = start(Server::bind("tcp://127.0.0.1:0").service(Sensor { value }).register_callback(
            Some(ServiceId::EXECUTE_REQUEST),
            Some(3.into()),
            keep,
        ));
        // What is not finite is null on the wire.
        let mut peer = Raw::connect(server.address(), Wire::Stp);
        assert_eq!(peer.ask(10, 1, "null"), r#"11/1: {"t":null}"#);
        block_on(async {
            let client = Client::connect(server.address()).await.unwrap();
            let sensor = SensorClient::new(&client);
            assert!(matches!(sensor.broken().await, Err(Error::Decode { .. })));
            let optional: HashMap<String, Option<f64>> = client.read(1).await.unwrap();
            assert_eq!(optional["t"], None);
            let refused = sensor.double(value).await;
            assert!(
                matches!(&refused, Err(Error::Fault { fault, .. }) if fault.status() == Status::CALLBACK_ERROR),
                "{refused:?}"
            );
            assert_eq!(client.execute::<_, Json>(3, &[1.0, value]).await.unwrap().as_str(), "[1.0,null]");
            assert_eq!(sensor.double(1.5).await.unwrap(), 3.0);
        });
    }
}

#[test]
fn b_12_big_integers() {
    let echo = Echo::start();
    let huge = format!("1{}", "0".repeat(40));
    let longest = "9".repeat(5000);
    let numbers = [
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        &huge,
        &longest,
    ];
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for number in numbers {
            assert_eq!(peer.ask(20, 1, number), format!("21/1: {number}"));
        }
        peer.probe();
    }
    echo.end();
    let server = typed();
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        assert_eq!(client.execute::<_, u64>(3, &u64::MAX).await.unwrap(), u64::MAX);
        assert_eq!(client.execute::<_, i64>(1, &i64::MIN).await.unwrap(), i64::MIN);
        assert_eq!(client.execute::<_, u128>(5, &u128::MAX).await.unwrap(), u128::MAX);
        // What does not fit is refused: by the handler, or where the answer is read.
        for number in numbers[4..].iter().map(|number| Json::from_text(*number).unwrap()) {
            let refused = client.execute::<_, Json>(3, &number).await;
            assert!(matches!(refused, Err(Error::Fault { .. })), "{number}: {refused:?}");
            let unreadable = client.execute::<_, i64>(1, &number).await;
            assert!(matches!(unreadable, Err(Error::Decode { .. })), "{number}: {unreadable:?}");
        }
    });
}

#[test]
fn b_13_numbers_that_overflow_or_underflow() {
    let server = typed();
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    // As text they all pass; as a double what is too large is refused.
    for number in ["1e400", "-1e400", "1e-400", "5e-324", "1.7976931348623157e308", "-0", "-0.0"] {
        assert_eq!(peer.ask(30, 1, number), format!("31/1: {number}"));
        let answer = peer.ask(30, 2, number);
        if number.contains("e400") {
            assert!(answer.starts_with("31/2 status 2: ") && answer.contains("out of range"), "{answer}");
            peer.probe();
            continue;
        }
        let back: f64 = answer.strip_prefix("31/2: ").unwrap().parse().unwrap();
        assert_eq!(back.to_bits(), number.parse::<f64>().unwrap().to_bits(), "{number}");
    }
    peer.probe();
}

/// All numbers of a value, to the bit.
fn bits(value: &Value, out: &mut Vec<(bool, u64)>) {
    match value {
        Value::Number(number) => out.push((number.is_f64(), number.as_f64().unwrap().to_bits())),
        Value::Array(items) => items.iter().for_each(|item| bits(item, out)),
        Value::Object(entries) => entries.values().for_each(|item| bits(item, out)),
        _ => {}
    }
}

#[test]
fn b_14_float_round_trip() {
    let echo = Echo::start();
    let server = typed();
    for name in ["20_", "21_", "30_"] {
        let text = payload(name);
        for (data_id, address) in [(1, &*echo.address), (4, server.address())] {
            let mut peer = Raw::connect(address, Wire::Stp);
            let mut hop = text.clone();
            for _ in 0..10 {
                let answer = peer.ask(30, data_id, &hop);
                hop = answer.split_once(": ").unwrap().1.to_owned();
            }
            let (mut sent, mut back) = (Vec::new(), Vec::new());
            bits(&serde_json::from_str(&text).unwrap(), &mut sent);
            bits(&serde_json::from_str(&hop).unwrap(), &mut back);
            assert_eq!(sent, back, "{name}");
            assert!(data_id == 4 || hop == text, "{name}");
        }
    }
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        for value in [
            1.797_693_134_862_315_7e308_f64,
            -0.0,
            0.1,
            0.300_000_000_000_000_04,
            9_007_199_254_740_991.0,
            -8.990_567_403_888_024e-203,
            18.900_000_000_000_002,
            5e-324,
        ] {
            let back: f64 = client.execute(2, &value).await.unwrap();
            assert_eq!(back.to_bits(), value.to_bits());
        }
    });
    echo.end();
}

#[test]
fn b_20_integer_keys_become_strings_and_tuples_arrays() {
    let server = typed();
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        let keys = HashMap::from([(1, "a")]);
        assert_eq!(client.execute::<_, Json>(1, &keys).await.unwrap().as_str(), r#"{"1":"a"}"#);
        // A reader who knows gets them back.
        assert_eq!(client.execute::<_, HashMap<i32, String>>(1, &keys).await.unwrap()[&1], "a");
        let keys = BTreeMap::from([(true, "c")]);
        assert_eq!(client.execute::<_, Json>(1, &keys).await.unwrap().as_str(), r#"{"true":"c"}"#);
        assert_eq!(client.execute::<_, Json>(1, &(1, 2)).await.unwrap().as_str(), "[1,2]");
        assert_eq!(client.execute::<_, (u8, u8)>(1, &(1, 2)).await.unwrap(), (1, 2));
        // Rust has no null as a key: nothing is sent.
        let error = client.execute::<_, Json>(1, &HashMap::from([((), "d")])).await.unwrap_err();
        assert!(matches!(error, Error::Encode { .. }), "{error}");
    });
    // What Python makes of {1: "a", 2.5: "b", True: "c", None: "d"} and (1, 2).
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    for data in [r#"{"1": "a", "2.5": "b", "true": "c", "null": "d"}"#, "[1, 2]"] {
        assert_eq!(peer.ask(30, 1, data), format!("31/1: {data}"));
    }
}

#[test]
fn b_21_bool_is_not_int() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for data in ["true", "1", "1.0", "\"1\"", "\"true\"", "\"ON\""] {
            assert_eq!(peer.ask(20, 1, data), format!("21/1: {data}"));
        }
        peer.probe();
    }
    echo.end();
    let server = typed();
    let mut peer = Raw::connect(server.address(), Wire::Stp);
    assert_eq!(peer.ask(30, 6, "true"), "31/6: true");
    assert_eq!(peer.ask(30, 3, "1"), "31/3: 1");
    for (data_id, data) in [(6, "1"), (6, "\"true\""), (6, "null"), (3, "true"), (3, "1.0"), (3, "\"1\"")] {
        let answer = peer.ask(30, data_id, data);
        assert!(answer.starts_with(&format!("31/{data_id} status 2: ")), "{data}: {answer}");
    }
    peer.probe();
}

#[test]
fn b_22_number_spellings_of_real_devices() {
    let echo = Echo::start();
    let server = typed();
    let names = ["05_", "06_", "07_", "20_", "22_"];
    for name in names {
        let text = payload(name);
        assert_eq!(echo.connect(Wire::Stp).ask(20, 1, &text), format!("21/1: {text}"));
        // Also through a type: integers stay integers, floats floats.
        let answer = Raw::connect(server.address(), Wire::Stp).ask(30, 4, &text);
        let (mut sent, mut back) = (Vec::new(), Vec::new());
        bits(&serde_json::from_str(&text).unwrap(), &mut sent);
        bits(&serde_json::from_str(answer.strip_prefix("31/4: ").unwrap()).unwrap(), &mut back);
        assert_eq!(sent, back, "{name}");
    }
    let raw: String = names.map(payload).concat();
    assert!(["0.000", "e+09", "e+01"].iter().all(|spelling| raw.contains(spelling)));
    echo.end();
}
