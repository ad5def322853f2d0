use socketproto::prelude::*;

#[derive(Service)]
#[did(.., fallback = unknown)]
struct Store;

fn main() {}
