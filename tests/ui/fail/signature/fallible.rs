use socketproto::prelude::*;

#[derive(Service)]
#[did(1, read = fn level() -> Result<u8, Fault>)]
struct Lamp;

fn main() {}
