//! Secure mode: handshakes, and records of the sizes that lines have.

use std::hint::black_box;

use bytes::BytesMut;

use crate::bench::{CALL, Case, KIB, size};
use crate::secure::{Channel, Kind, Material, derive, initiate, respond};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("secure/handshake/both", 0, || {
        || {
            black_box(channels());
        }
    })];
    for bytes in [CALL, 32 * KIB] {
        cases.push(Case::new(format!("secure/record/{}", size(bytes)), bytes, move || record(bytes)));
    }
    cases
}

/// Both sides of a handshake, without what derives the key: that is done once, at the start.
fn channels() -> (Channel, Channel) {
    let psk = derive(Material::Generated(&[7; 24]), "").expect("a key");
    let (initiator, offer) = initiate(&psk, "", [1; 32].into()).expect("a first message");
    let (server, accepted) = respond(&psk, &offer, [2; 32].into()).expect("it is of the same secret");
    (initiator.finish(&accepted).expect("so is the answer"), server)
}

/// A record is sealed, and opened at the other side.
fn record(bytes: usize) -> impl FnMut() {
    let (mut client, mut server) = channels();
    let mut plain = vec![b'x'; bytes + 1];
    plain[0] = Kind::Data as u8;
    let (mut sealed, mut opened) = (BytesMut::new(), BytesMut::new());
    move || {
        sealed.clear();
        opened.clear();
        client.seal(&plain, &mut sealed).expect("there is room for it");
        server.open(&sealed, &mut opened).expect("nobody has changed it");
        black_box(&opened);
    }
}
