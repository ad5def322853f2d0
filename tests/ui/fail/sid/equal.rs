use socketproto::prelude::*;

#[derive(Service)]
#[sid(history, request = 40, response = 40)]
struct Recorder;

fn main() {}
