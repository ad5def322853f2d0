use socketproto::prelude::*;

#[derive(Service)]
#[did(.., read)]
struct Store;

fn main() {}
