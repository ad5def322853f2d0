use socketproto::prelude::*;

#[derive(Service)]
struct Store {
    #[did(.., read)]
    value: u8,
}

fn main() {}
