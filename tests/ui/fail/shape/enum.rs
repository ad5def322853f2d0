use socketproto::prelude::*;

#[derive(Service)]
enum Lamp {
    On,
    Off,
}

fn main() {}
