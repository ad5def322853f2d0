use socketproto::prelude::*;

const ON: u32 = 1;
const LEVEL: u32 = ON;

#[derive(Service)]
struct Lamp {
    #[did(ON, read, write)]
    on: bool,
    #[did(LEVEL, read)]
    level: u8,
}

fn main() {}
