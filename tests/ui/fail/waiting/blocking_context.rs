use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn fade(cx), blocking)]
struct Lamp;

impl Lamp {
    fn fade(_: Call<Self>) {}
}

fn main() {}
