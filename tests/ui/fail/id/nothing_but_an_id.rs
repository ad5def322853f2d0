use socketproto::prelude::*;

#[derive(Service)]
#[did(1)]
struct Lamp {
    #[did(2, public)]
    on: bool,
    #[did]
    level: u8,
}

fn main() {}
