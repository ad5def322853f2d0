//! Methods of every shape, with the client's methods of the same shape.
#![deny(warnings)]

use serde::{Deserialize, Serialize};
use socketproto::prelude::*;
use socketproto::PendingCall;

#[derive(Deserialize, Serialize)]
pub struct Reset {
    hard: bool,
}

struct Tired;

impl From<Tired> for Fault {
    fn from(_: Tired) -> Self {
        Fault::custom(7, "tired")
    }
}

#[derive(Service, Client)]
#[did(1, execute = fn nothing())]
#[did(2, execute = fn fails() -> u8)]
#[did(3, execute = fn one(args: Reset,))]
#[did(4, execute = fn several(a: u8, cx, b: Vec<(u8, String)>) -> Vec<u8>)]
#[did(5, execute = fn last(a: u8, b: u8, c: u8, cx))]
#[did(6, execute = async fn later())]
#[did(7, execute = async fn later_fails(a: u8) -> u8)]
#[did(8, execute = async fn later_with(a: u8, b: u8, cx) -> std::collections::HashMap<u8, u8>, public)]
#[did(9, read = fn level() -> u8, write = fn set_level(value: u8), notify)]
#[did(10, read = fn outcome() -> Result<u8, u8>)]
#[did(12, read = fn shared() -> u8)]
pub struct Methods;

impl Methods {
    fn nothing(&mut self) {}

    fn fails(&mut self) -> Result<u8, Tired> {
        Err(Tired)
    }

    fn one(&mut self, args: Reset) -> Result<(), Fault> {
        if args.hard { Ok(()) } else { Err(Fault::unknown("")) }
    }

    fn several(&mut self, a: u8, cx: Call<Self>, b: Vec<(u8, String)>) -> Vec<u8> {
        let _ = (cx.name(), b);
        vec![a]
    }

    fn last(&mut self, _: u8, _: u8, _: u8, _: Call<Self>) {}

    async fn later() {}

    async fn later_fails(_: u8) -> Result<u8, Tired> {
        Err(Tired)
    }

    async fn later_with(a: u8, b: u8, _: Call<Self>) -> Result<std::collections::HashMap<u8, u8>, &'static str> {
        Ok([(a, b)].into())
    }

    fn level(&mut self) -> u8 {
        1
    }

    fn set_level(&mut self, _: u8) {}

    fn outcome(&mut self) -> Result<u8, u8> {
        Err(1)
    }

    fn shared(&self) -> u8 {
        2
    }
}

/// Without a client a reply may be borrowed, even from the state.
#[derive(Service)]
#[did(1, read = fn label() -> &'static str)]
#[did(2, read = fn text() -> &str)]
struct Texts {
    text: String,
}

impl Texts {
    fn label(&mut self) -> &'static str {
        "texts"
    }

    fn text(&self) -> &str {
        &self.text
    }
}

#[allow(dead_code)]
fn calls(client: &MethodsClient) {
    let _: PendingCall<()> = client.nothing();
    let _: PendingCall<()> = client.one(Reset { hard: true });
    let _: PendingCall<Vec<u8>> = client.several(1, vec![]);
    let _: PendingCall<()> = client.last(1, 2, 3);
    let _: PendingCall<u8> = client.later_fails(1);
    let _: PendingCall<u8> = client.level();
    let _: PendingCall<()> = client.set_level(1);
}

fn main() {
    let _ = Texts { text: String::new() };
    let notify: Vec<_> = Methods::SERVICE.entries().iter().filter(|entry| entry.is_notify()).collect();
    assert_eq!(notify.len(), 1);
    assert_eq!(notify[0].service_id(), ServiceId::READ_REQUEST);
}
