use socketproto::prelude::*;

#[derive(Service, Client)]
#[sid(history, request = 40, response = 41)]
#[sid(erase, request = 41, response = 42)]
struct Recorder;

fn main() {}
