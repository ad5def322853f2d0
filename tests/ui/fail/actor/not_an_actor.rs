use socketproto::prelude::*;

#[derive(Service, Client)]
#[service(actor)]
#[did(2, execute = async fn toggle(cx))]
struct Lamp {
    #[did(1, read)]
    on: bool,
}

impl Lamp {
    async fn toggle(_: socketproto::actix::ActorCall<Self>) {}
}

fn main() {}
