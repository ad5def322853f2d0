use socketproto::prelude::*;

#[derive(Service)]
#[service(name = "")]
struct Lamp {
    #[did(1, read, name = "on\n")]
    on: bool,
    #[did(2, read, name = "the level of the lamp in percent of what the manufacturer promises")]
    level: u8,
}

fn main() {}
