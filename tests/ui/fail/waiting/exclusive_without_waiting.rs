use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn toggle(), exclusive)]
struct Lamp {
    #[did(2, read, exclusive)]
    on: bool,
}

fn main() {}
