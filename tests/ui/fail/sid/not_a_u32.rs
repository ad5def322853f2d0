use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 4294967296, response = "41")]
struct Recorder;

fn main() {}
