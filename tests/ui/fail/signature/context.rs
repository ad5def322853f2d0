use socketproto::prelude::*;

#[derive(Service)]
#[did(1, execute = fn blink(cx, times: u8, cx))]
#[did(2, execute = async fn fade(cx: Call<Self>))]
struct Lamp;

fn main() {}
