use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(4294967296, read)]
    on: bool,
    #[did(-1, read)]
    level: u8,
}

fn main() {}
