use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(read)]
    on: bool,
}

fn main() {}
