use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = async fn fade(), timeout = "0s")]
#[did(2, execute = async fn glow(), timeout = "25h")]
struct Lamp;

fn main() {}
