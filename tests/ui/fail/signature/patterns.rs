use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn point((x, y): (f64, f64)))]
#[did(2, execute = fn blink(_: u8, mut times: u8))]
struct Lamp;

fn main() {}
