use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(1, read, execute = fn blink())]
    on: bool,
}

fn main() {}
