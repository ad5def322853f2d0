use socketproto::prelude::*;

#[derive(Service)]
struct Lamp(#[did(1, read)] bool);

fn main() {}
