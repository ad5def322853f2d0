use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 40, respond = 41)]
struct Recorder;

fn main() {}
