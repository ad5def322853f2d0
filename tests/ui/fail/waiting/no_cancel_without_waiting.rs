use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn toggle(), no_cancel)]
#[did(2, execute = fn fade(), no_cancel, blocking)]
struct Lamp;

fn main() {}
