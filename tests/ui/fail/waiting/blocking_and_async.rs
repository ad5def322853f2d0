use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = async fn toggle(), blocking)]
struct Lamp;

fn main() {}
