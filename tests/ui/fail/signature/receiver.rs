use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn blink(&mut self, times: u8))]
#[did(2, execute = async fn fade(self: &mut Self))]
struct Lamp;

fn main() {}
