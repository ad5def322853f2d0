use socketproto::prelude::*;

#[derive(Client)]
#[service(actor, own_thread)]
struct Lamp;

fn main() {}
