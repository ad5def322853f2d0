use socketproto::prelude::*;

#[derive(Service)]
#[sid(request = 40, response = 41)]
struct Recorder;

#[derive(Service)]
#[sid]
struct Journal;

fn main() {}
