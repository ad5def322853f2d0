use socketproto::prelude::*;

#[derive(Service)]
#[service(hooks)]
struct Lamp {
    #[did(1, read)]
    on: bool,
}

fn main() {}
