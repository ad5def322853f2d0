//! The parsing cases of `JSONTestSuite` as the data of frames.
//!
//! What has to be taken (`y_`) passes unchanged, what has to be refused (`n_`) makes the frame malformed. The format leaves
//! the rest (`i_`) open: `data/json_outcomes.json` says what we do, and why; it has the exceptions of `n_` too, which
//! docs/protocol.md makes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use socketproto::frame::{self, FrameError};

/// One file of the suite: as text, as hex digits where it is no UTF-8, or as what it repeats.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    #[serde(flatten)]
    input: Input,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text { text: String },
    Octets { hex: String },
    Repeated { repeat: String, times: usize, end: String },
}

impl Input {
    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Text { text } => text.clone().into_bytes(),
            Self::Octets { hex } => hex::decode(hex).expect("hex digits"),
            Self::Repeated { repeat, times, end } => (repeat.repeat(*times) + end).into_bytes(),
        }
    }
}

/// What becomes of data.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// They pass as they are.
    Unchanged,
    /// The frame is malformed.
    Malformed,
    /// They pass as this text.
    Becomes(String),
}

#[derive(Debug, Deserialize)]
struct Pinned {
    outcome: Outcome,
    why: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&crate::read("json_test_suite.json")).expect("a list of cases")
}

fn pinned() -> BTreeMap<String, Pinned> {
    serde_json::from_slice(&crate::read("json_outcomes.json")).expect("a table of outcomes")
}

/// A frame whose checksum is right.
fn sealed(text: &[u8]) -> Vec<u8> {
    [text, &crc32fast::hash(text).to_be_bytes()].concat()
}

/// The ways to put data into a frame: the layout our side writes, another one, the struct format.
fn frames(data: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let struct_head = [[0, 0, 0, 0], [0, 0, 0, 10], [0, 0, 0, 1]].concat();
    let mut in_struct = [&struct_head, data].concat();
    in_struct.push(in_struct.iter().fold(0, |check, byte| check ^ byte));
    [
        ("ours", sealed(&[br#"{"data_id":1,"service_id":10,"status":0,"data":"#, data, b"}"].concat())),
        ("another", sealed(&[br#"{ "data" :"#, data, br#", "service_id" : 10, "data_id" : 1 }"#].concat())),
        ("struct", in_struct),
    ]
}

fn outcome(frame: Vec<u8>, data: &[u8]) -> Outcome {
    match frame::decode(Bytes::from(frame)) {
        Ok(decoded) => {
            let kept = decoded.message.json().as_str();
            assert_eq!(decoded.message.service_id().value(), 10);
            // White space around a value is no part of it.
            if kept.as_bytes() == data.trim_ascii() {
                Outcome::Unchanged
            } else {
                Outcome::Becomes(kept.to_owned())
            }
        }
        Err(FrameError::Malformed(_)) => Outcome::Malformed,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_case_is_taken_or_refused_as_the_suite_says_or_the_pinned_table() {
    let pinned = pinned();
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::<_, usize>::new();
    for Case { name, input } in cases() {
        let data = input.octets();
        let expected = match (pinned.get(&name), name.as_bytes()[0]) {
            (Some(pinned), _) => pinned.outcome.clone(),
            (None, b'y') => Outcome::Unchanged,
            (None, b'n') => Outcome::Malformed,
            (None, _) => panic!("{name} is not in json_outcomes.json"),
        };
        for (way, frame) in frames(&data) {
            let found = outcome(frame, &data);
            if found != expected {
                wrong.push(format!("{name} in the layout `{way}`: {found:?}, expected {expected:?}"));
            }
        }
        *counts.entry(name.as_bytes()[0]).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(counts, BTreeMap::from([(b'i', 35), (b'n', 188), (b'y', 95)]));
}

#[test]
fn what_is_pinned_has_a_reason_and_is_left_open_by_the_suite_or_by_a_rule_of_the_protocol() {
    let names: Vec<_> = cases().into_iter().map(|case| case.name).collect();
    for (name, Pinned { outcome, why }) in pinned() {
        assert!(names.contains(&name), "{name} is no case of the suite");
        assert!(why.len() > 10, "{name} has no reason");
        match name.as_bytes()[0] {
            b'i' => {}
            b'n' => assert!(
                matches!(outcome, Outcome::Becomes(_)) && why.starts_with("bare words: "),
                "{name}: the protocol has one exception alone"
            ),
            _ => panic!("{name} has to be taken"),
        }
    }
}
