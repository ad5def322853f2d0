use socketproto::prelude::*;

#[derive(Service)]
#[did(1, fallback = unknown)]
struct Store;

fn main() {}
