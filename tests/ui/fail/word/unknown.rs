use socketproto::prelude::*;

#[derive(Service)]
#[service(nmae = "lamp")]
#[did(2, exclusive, execute = fn blink())]
struct Lamp {
    #[did(1, raed)]
    on: bool,
}

impl Lamp {
    fn blink(&mut self) {}
}

fn main() {}
