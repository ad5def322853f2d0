use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(Self::ON, write)]
    on: bool,
    #[did(1, write)]
    level: u8,
}

impl Lamp {
    const ON: u32 = 1;
}

fn main() {}
