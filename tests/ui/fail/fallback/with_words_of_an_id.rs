use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read, fallback = unknown, public, notify, exclusive)]
struct Store;

fn main() {}
