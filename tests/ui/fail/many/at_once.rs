use socketproto::prelude::*;

#[derive(Service, Client)]
#[service(nmae = "lamp")]
#[did(3, read)]
#[did(4, execute = fn blink(&mut self, times))]
#[did(5 execute = fn fade())]
#[did(6, read = fn level() -> u8, public = yes, notify = no)]
#[did(7, execute = fn show(text: &str, cx, cx))]
struct Lamp {
    #[did(1, read, raed, write)]
    on: bool,
    #[did(read)]
    level: u8,
    #[did(1, write, notify)]
    color: u8,
    #[did(99999999999, read)]
    hue: u8,
    #[did(6)]
    label: String,
    #[did(7, write, name = "")]
    text: String,
}

fn uses(lamp: &LampClient) -> LampClient {
    assert_eq!(Lamp::SERVICE.name(), "Lamp");
    lamp.clone()
}

fn main() {}
