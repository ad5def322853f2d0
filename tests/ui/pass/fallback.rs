//! One method for every id that is not declared; the client has none.
#![deny(warnings)]

use socketproto::prelude::*;

#[derive(Service, Client)]
#[sid(search, request = 60, response = 61)]
#[did(.., read, search, fallback = unknown)]
#[did(.., write, fallback = put, name = "anything")]
#[did(.., execute, fallback = shout)]
struct Store {
    #[did(1, read)]
    value: u8,
}

impl Store {
    fn unknown(&mut self, data_id: DataId, _: Json) -> Result<Json, Fault> {
        Err(Fault::unknown(data_id.to_string()))
    }

    fn put(&self, _: DataId, data: Json) -> Json {
        data
    }

    fn shout(&mut self, _: DataId, _: Json) -> Result<Json, &'static str> {
        Err("no")
    }
}

impl StoreClient {
    /// Clashes with nothing.
    fn unknown(&self) -> u8 {
        7
    }
}

fn main() {
    let _ = StoreClient::unknown;
    let rows: Vec<_> = Store::SERVICE
        .entries()
        .iter()
        .map(|e| (e.service_id().value(), e.name(), e.is_fallback()))
        .collect();
    assert_eq!(
        rows,
        [
            (10, "unknown", true),
            (60, "unknown", true),
            (20, "anything", true),
            (30, "shout", true),
            (10, "value", false),
        ]
    );
}
