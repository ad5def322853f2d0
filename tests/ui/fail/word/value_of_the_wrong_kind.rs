use socketproto::prelude::*;

#[derive(Service)]
#[service(name = lamp)]
struct Lamp {
    #[did(1, read, public = true)]
    on: bool,
    #[did(2, read, name)]
    level: u8,
    #[did(3, read, write = lamp::set_color)]
    color: u8,
    #[did(4, read = 5, notify)]
    hue: u8,
}

fn main() {}
