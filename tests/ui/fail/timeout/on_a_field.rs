use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(1, read, timeout = "1s")]
    on: bool,
}

fn main() {}
