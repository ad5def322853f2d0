use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 40, response = 41)]
struct Recorder {
    #[did(1, read, history)]
    value: u8,
    #[sid(erase, request = 42, response = 43)]
    other: u8,
}

fn main() {}
