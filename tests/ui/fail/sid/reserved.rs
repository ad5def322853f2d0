use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 8, response = 41)]
#[sid(erase, request = 42, response = 0xFFFF_0000)]
struct Recorder;

fn main() {}
