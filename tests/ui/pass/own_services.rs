//! Services beside read, write and execute; their names are words.
#![deny(warnings, missing_docs)]

use socketproto::prelude::*;
use socketproto::{OwnService, PendingCall};

/// Keeps what it is told.
#[derive(Service, Client)]
#[sid(history, request = 40, response = 0x29)]
#[sid(erase, response = 4_000u32, request = 0xFFFE_FFFF)]
#[sid(unused, request = 2, response = 3)]
#[did(1, history = fn history(last: usize) -> Vec<u8>, erase = async fn erase(cx), public)]
#[did(2, history = fn all() -> Vec<u8>, name = "everything")]
pub struct Recorder {
    #[did(1, read, write)]
    value: u8,
}

impl Recorder {
    fn history(&mut self, last: usize) -> Vec<u8> {
        vec![self.value; last]
    }

    async fn erase(cx: Call<Self>) {
        cx.actor(|this| this.value = 0).await;
    }

    fn all(&self) -> Vec<u8> {
        vec![]
    }
}

#[allow(dead_code)]
fn calls(client: &RecorderClient) {
    let _: PendingCall<Vec<u8>> = client.history(3);
    let _: PendingCall<()> = client.erase();
    let _: PendingCall<Vec<u8>> = client.all();
}

fn main() {
    let services: Vec<_> = Recorder::SERVICE
        .services()
        .iter()
        .map(|s: &OwnService| (s.name(), s.request().value(), s.response().value()))
        .collect();
    assert_eq!(services, [("history", 40, 41), ("erase", 0xFFFE_FFFF, 4000), ("unused", 2, 3)]);
    let rows: Vec<_> = Recorder::SERVICE
        .entries()
        .iter()
        .map(|e| (e.service_id().value(), e.data_id().value(), e.name(), e.is_public()))
        .collect();
    assert_eq!(
        rows,
        [
            (40, 1, "history", true),
            (0xFFFE_FFFF, 1, "erase", true),
            (40, 2, "everything", false),
            (10, 1, "value", false),
            (20, 1, "value", false),
        ]
    );
}
