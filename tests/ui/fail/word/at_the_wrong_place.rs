use socketproto::prelude::*;

#[derive(Service)]
#[service(public)]
#[did(2, execute = fn blink(), crate = socketproto)]
struct Lamp {
    #[service(name = "on")]
    #[did(1, read)]
    on: bool,
}

fn main() {}
