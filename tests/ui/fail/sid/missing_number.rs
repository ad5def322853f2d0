use socketproto::prelude::*;

#[derive(Service, Client)]
#[sid(history, request = 40)]
#[did(1, history = fn history() -> u8)]
struct Recorder;

impl Recorder {
    fn history(&mut self) -> u8 {
        1
    }
}

fn main() {}
