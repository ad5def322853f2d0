use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn show(text: &str))]
struct Lamp;

fn main() {}
