use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = async fn fade(), timeout = "120")]
struct Lamp;

impl Lamp {
    async fn fade() {}
}

fn main() {}
