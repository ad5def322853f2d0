use socketproto::prelude::*;

#[derive(Service)]
#[did(2, execute = fn blink())]
#[did(3, execute = async fn fade(cx))]
struct Lamp {
    #[did(1, read, write = set_on)]
    on: bool,
}

fn main() {}
