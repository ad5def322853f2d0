use socketproto::prelude::*;

#[derive(Service)]
union Lamp {
    on: bool,
    level: u8,
}

fn main() {}
