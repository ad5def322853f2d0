use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 10, response = 41)]
#[sid(erase, request = 42, response = 31)]
struct Recorder;

fn main() {}
