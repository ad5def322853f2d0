use socketproto::prelude::*;

#[derive(Service)]
#[service(actor)]
struct Lamp {
    #[did(1, read)]
    on: bool,
}

impl actix::Actor for Lamp {
    type Context = actix::SyncContext<Self>;
}

fn main() {}
