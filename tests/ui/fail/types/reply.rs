use socketproto::prelude::*;

#[derive(Service)]
#[did(2, execute = fn blink() -> u8)]
#[did(3, execute = async fn fade() -> f64)]
struct Lamp;

impl Lamp {
    fn blink(&mut self) -> bool {
        true
    }

    async fn fade() -> Result<f32, Fault> {
        Ok(1.0)
    }
}

fn main() {}
