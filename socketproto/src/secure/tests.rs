//! The vectors of `tests/vectors/secure`, which an independent implementation has made.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use serde::Deserialize;

use super::*;
use crate::frame::{self, Format};
use crate::id::{DataId, ServiceId, Status};
use crate::message::Header;
use crate::secret::Secret;

#[derive(Deserialize)]
struct Vector {
    secret_text: Option<String>,
    secret_bytes: String,
    kind: String,
    kid: String,
    suites: Vec<String>,
    psk: String,
    client_ephemeral: String,
    server_ephemeral: String,
    request_data: String,
    answer_data: String,
    request_frame: String,
    answer_frame: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    from: String,
    #[serde(rename = "type")]
    kind: u8,
    body: String,
    record: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn random(hex: &str) -> zeroize::Zeroizing<[u8; RANDOM]> {
    <[u8; RANDOM]>::try_from(bytes(hex)).unwrap().into()
}

fn framed(service_id: ServiceId, data: &str) -> String {
    let header = Header { service_id, data_id: DataId::AUTH_SECURE, status: Status::OKAY, message_id: None };
    let mut frame = BytesMut::new();
    frame::encode(Format::Json, &header, data, &mut frame).unwrap();
    hex::encode(frame)
}

fn check(vector: &Vector) {
    let secret = match &vector.secret_text {
        Some(text) => Secret::from_text(text.clone()).unwrap(),
        None => Secret::from_bytes(bytes(&vector.secret_bytes)).unwrap(),
    };
    assert_eq!(secret.is_passphrase(), vector.kind == "passphrase");
    let psk = derive(secret.material(), &vector.kid).unwrap();
    assert_eq!(hex::encode(*psk), vector.psk);

    let offered: Offer = serde_json::from_str(&vector.request_data).unwrap();
    let (initiator, offer) = initiate(&psk, &vector.kid, random(&vector.client_ephemeral)).unwrap();
    // The prologue binds what is offered, so only the same suites give the same message.
    let is_ours = vector.suites == offer.suites;
    if is_ours {
        assert_eq!(offer, offered);
        assert_eq!(serde_json::to_string(&offer).unwrap(), vector.request_data);
        assert_eq!(framed(ServiceId::AUTH_REQUEST, &vector.request_data), vector.request_frame);
    }
    assert!(offered.is_acceptable());
    let (mut server, accepted) = respond(&psk, &offered, random(&vector.server_ephemeral)).unwrap();
    assert_eq!(serde_json::to_string(&accepted).unwrap(), vector.answer_data);
    assert_eq!(framed(ServiceId::AUTH_RESPONSE, &vector.answer_data), vector.answer_frame);
    let mut client = is_ours.then(|| initiator.finish(&accepted).unwrap());

    for record in &vector.records {
        let body = bytes(&record.body);
        let plain = [&[record.kind][..], &body].concat();
        let sealed = bytes(&record.record);
        let (length, ciphertext) = sealed.split_first_chunk().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*length)), ciphertext.len());
        let (from, to) = match record.from.as_str() {
            "server" => (Some(&mut server), client.as_mut()),
            _ => (client.as_mut(), Some(&mut server)),
        };
        if let Some(from) = from {
            let mut out = BytesMut::new();
            from.seal(&plain, &mut out).unwrap();
            assert_eq!(hex::encode(out), hex::encode(ciphertext));
        }
        if let Some(to) = to {
            let mut opened = BytesMut::new();
            assert_eq!(to.open(ciphertext, &mut opened).map(|kind| kind as u8), Ok(record.kind));
            assert_eq!(opened, body);
        }
    }
    assert!(vector.records.len() > 3);
}

#[test]
fn both_sides_say_what_another_implementation_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/secure");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
        files += 1;
    }
    assert!(files > 10);
}
