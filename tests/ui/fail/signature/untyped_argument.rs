use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn blink(times))]
struct Lamp;

fn main() {}
