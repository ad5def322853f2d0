use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read = fn unknown() -> u8)]
#[did(.., write, fallback = fn put())]
struct Store;

fn main() {}
