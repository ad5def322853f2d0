use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = async fn fade(), timeout = "two minutes")]
#[did(2, execute = async fn glow(), timeout = "1.5s")]
#[did(3, execute = async fn shine(), timeout = 120)]
struct Lamp;

fn main() {}
