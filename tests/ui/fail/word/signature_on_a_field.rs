use socketproto::prelude::*;

#[derive(Service)]
struct Lamp {
    #[did(1, read = fn on() -> bool)]
    on: bool,
    #[did(2, write = fn set_level(value: u8))]
    level: u8,
    #[did(3, read = get_color)]
    color: u8,
}

fn main() {}
