use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read, fallback = one)]
#[did(.., write, read, fallback = two)]
struct Store;

fn main() {}
