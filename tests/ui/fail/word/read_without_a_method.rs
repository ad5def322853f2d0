use socketproto::prelude::*;

#[derive(Service)]
#[did(1, read)]
#[did(2, write = set_level)]
#[did(3, execute)]
struct Lamp {
    on: bool,
}

fn main() {}
