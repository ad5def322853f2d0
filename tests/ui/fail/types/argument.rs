use socketproto::prelude::*;

#[derive(Service)]
#[did(2, execute = fn blink(times: u8))]
#[did(3, execute = async fn fade(cx, from: f64, to: f64))]
struct Lamp;

impl Lamp {
    fn blink(&mut self, times: String) {
        drop(times);
    }

    async fn fade(_: Call<Self>, _: f64) {}
}

fn main() {}
