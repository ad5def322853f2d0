use socketproto::prelude::*;

const ON: &str = "on";

#[derive(Service)]
struct Lamp {
    #[did(ON, read)]
    on: bool,
}

fn main() {}
