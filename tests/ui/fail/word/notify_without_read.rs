use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(1, write, notify)]
    on: bool,
}

fn main() {}
