use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did("on", read)]
    on: bool,
    #[did(.., read)]
    level: u8,
    #[did(1u8, read)]
    color: u8,
}

fn main() {}
