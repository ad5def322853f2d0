//! Expansions do not care what the names around them mean.
#![deny(warnings)]
#![allow(dead_code, unused_macros)]

mod core {}
mod std {}
mod socketproto {}

struct Option;
struct Result;
struct Vec;
struct Box;
struct String;
struct Ok;
struct Err;
struct Some;
trait Clone {}
trait AsRef {}
trait Debug {}
struct Peer;
struct PendingCall;
struct Fault;
struct ServiceTable;
struct Request;

macro_rules! assert {
    () => {};
}

const A: u32 = 1;
const B: u32 = 2;

#[derive(::socketproto::Service, ::socketproto::Client)]
#[did(3, execute = fn three(peer: u8, state: u8, out: u8, cx, data: u8))]
#[did(4, execute = async fn four(request: u8, entry: u8, cx))]
struct Hygienic {
    #[did(A, read, write)]
    shift: u8,
    #[did(B, read, write = set)]
    peer: u8,
    #[did(5, read, write)]
    value: u8,
    #[did(6, read)]
    service: u8,
}

impl Hygienic {
    fn set(&mut self, _: u8) {}

    fn three(&mut self, _: u8, _: u8, _: u8, _: ::socketproto::Call<Self>, _: u8) {}

    async fn four(_: u8, _: u8, _: ::socketproto::Call<Self>) {}
}

// The names come from the macro, the types from its user.
macro_rules! lamp {
    ($name:ident, $ty:ty, $id:expr) => {
        #[derive(::socketproto::Service, ::socketproto::Client)]
        #[did(2, execute = fn blink(times: $ty, cx))]
        struct $name {
            #[did(1, read, write = set_on)]
            on: $ty,
            #[did(3, write)]
            level: $ty,
        }

        impl $name {
            fn set_on(&mut self, _: $ty) {}

            fn blink(&mut self, _: $ty, _: ::socketproto::Call<Self>) {}
        }
    };
}

lamp!(Lamp, u8, 7);

fn main() {}
