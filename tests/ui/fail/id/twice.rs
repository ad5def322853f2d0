use socketproto::prelude::*;

#[derive(Service)]
#[did(1, read = fn level() -> u8)]
struct Lamp {
    #[did(1, read, write)]
    on: bool,
}

impl Lamp {
    fn level(&mut self) -> u8 {
        1
    }
}

fn main() {}
