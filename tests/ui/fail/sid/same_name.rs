use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 40, response = 41)]
#[sid(history, request = 42, response = 43)]
struct Recorder;

fn main() {}
