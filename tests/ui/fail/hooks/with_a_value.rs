use socketproto::prelude::*;

#[derive(Service)]
#[service(hooks = true, own_thread = "x")]
struct Lamp {
    #[did(1, read, hooks)]
    on: bool,
}

fn main() {}
