use socketproto::prelude::*;

#[derive(Service)]
#[service(name = "lamp")]
#[service(name = "light")]
struct Lamp {
    #[did(1, read, write, read, write = set_on)]
    on: bool,
}

fn main() {}
