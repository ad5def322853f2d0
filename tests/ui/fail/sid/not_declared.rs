use socketproto::prelude::*;

#[derive(Service, Client)]
#[sid(history, request = 40, response = 41)]
#[did(1, histroy = fn history() -> u8)]
struct Recorder;

fn main() {}
