use socketproto::prelude::*;

#[derive(Service)]
#[sid(execute, request = 40, response = 41)]
#[sid(timeout, request = 42, response = 43)]
struct Recorder;

fn main() {}
