//! Group B, what devices and programs really send: every sample as data of a request and of an answer.

use std::path::PathBuf;

use socketproto::prelude::*;

use crate::support::{Echo, Raw, WIRES, start};

const COUNT: usize = 30;

/// The samples: name and text.
fn payloads() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases/data/payloads");
    let mut payloads: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap().trim().to_owned())
        })
        .collect();
    payloads.sort();
    assert_eq!(payloads.len(), COUNT);
    payloads
}

/// The text of the sample whose name begins so.
pub(crate) fn payload(prefix: &str) -> String {
    payloads().into_iter().find(|(name, _)| name.starts_with(prefix)).expect("a sample of this name").1
}

#[test]
fn payloads_pass_as_data_of_write_and_execute() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for (name, text) in payloads() {
            assert_eq!(peer.ask(20, 1, &text), format!("21/1: {text}"), "{wire:?} {name}");
            assert_eq!(peer.ask(30, 1, &text), format!("31/1: {text}"), "{wire:?} {name}");
        }
        peer.probe();
    }
    echo.end();
}

#[test]
fn payloads_pass_as_answers_of_read() {
    let mut server = Server::bind("tcp://127.0.0.1:0");
    for (data_id, (_, text)) in (1_u32..).zip(payloads()) {
        let json = Json::from_text(text).unwrap();
        let read = Some(ServiceId::READ_REQUEST);
        server = server.register_callback(read, Some(data_id.into()), move |_| Ok(json.clone()));
    }
    let server = start(server);
    for wire in WIRES {
        let mut peer = Raw::connect(server.address(), wire);
        for (data_id, (name, text)) in (1..).zip(payloads()) {
            assert_eq!(peer.ask(10, data_id, "null"), format!("11/{data_id}: {text}"), "{wire:?} {name}");
        }
    }
}
