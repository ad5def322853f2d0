//! Structs that are actix actors already.
#![deny(warnings)]

use actix::{Actor, Context, Handler, Message};
use socketproto::actix::ActorCall;
use socketproto::prelude::*;

#[derive(Service, Client)]
#[service(actor, hooks)]
#[did(2, execute = fn add(a: i32, cx, b: i32) -> i32)]
#[did(3, execute = async fn double(cx) -> i32, exclusive)]
#[did(4, execute = fn slow(cx) -> i32, blocking)]
#[did(.., read, fallback = unknown)]
struct Sum {
    #[did(1, read, write)]
    value: i32,
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl socketproto::Lifecycle for Sum {}

#[derive(Message)]
#[rtype(result = "i32")]
struct Ask;

impl Handler<Ask> for Sum {
    type Result = i32;

    fn handle(&mut self, _: Ask, _: &mut Context<Self>) -> i32 {
        self.value
    }
}

impl Sum {
    fn add(&mut self, a: i32, _: ActorCall<Self>, b: i32) -> i32 {
        self.value += a + b;
        self.value
    }

    async fn double(cx: ActorCall<Self>) -> Result<i32, Fault> {
        cx.actor(|this| 2 * this.value).await
    }

    fn slow(cx: ActorCall<Self>) -> Result<i32, Fault> {
        cx.actor_blocking(|this| this.value)
    }

    fn unknown(&mut self, data_id: DataId, _: Json) -> Result<Json, Fault> {
        Err(Fault::unknown(data_id.to_string()))
    }
}

#[derive(Service)]
#[service(actor)]
struct Generic<T: serde::Serialize + serde::de::DeserializeOwned + Unpin + 'static>
where
    Vec<T>: Clone,
{
    #[did(1, read)]
    held: Vec<T>,
}

impl<T: serde::Serialize + serde::de::DeserializeOwned + Unpin + 'static> Actor for Generic<T>
where
    Vec<T>: Clone,
{
    type Context = Context<Self>;
}

#[allow(dead_code)]
fn serve(sum: actix::Addr<Sum>, generic: actix::Addr<Generic<u8>>) {
    let _ = Server::bind("mem://").service_addr(sum).service_addr(generic);
}

fn main() {
    let _ = (Sum { value: 1 }, Generic { held: vec![1_u8] });
}
