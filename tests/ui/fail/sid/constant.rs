use socketproto::prelude::*;

const REQUEST: u32 = 40;

#[derive(Service)]
#[sid(history, request = REQUEST, response = 41)]
struct Recorder;

fn main() {}
