use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn fade(steps: u8), blocking)]
struct Lamp;

impl Lamp {
    fn fade(&mut self, _: u8) {}
}

fn main() {}
