//! What is served.

use bench_common::{Reply, Request};
use socketproto::prelude::*;

/// The services of the comparison. The ids are those of the raw loops.
#[derive(Debug, Service, Client)]
#[service(name = "bench")]
#[did(7, execute = fn reading(request: Request) -> Reply)]
#[did(8, execute = fn echo(text: String) -> String)]
#[did(9, execute = fn pass(data: Json) -> Json)]
pub struct Bench;

impl Bench {
    fn reading(&mut self, request: Request) -> Reply {
        Reply::to(&request)
    }

    fn echo(&mut self, text: String) -> String {
        text
    }

    fn pass(&mut self, data: Json) -> Json {
        data
    }
}
