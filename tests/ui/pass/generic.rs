//! Parameters, bounds and where clauses pass through.
#![deny(warnings)]

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::Serialize;
use socketproto::prelude::*;

const LAST: u32 = 9;

#[derive(Service, Client)]
#[did(2, execute = fn swap(value: T) -> T)]
#[did(Self::THIRD, execute = async fn count(cx) -> usize)]
#[did(LAST, read = fn last() -> Option<T>)]
#[did(8, read = fn first() -> Option<T>)]
pub struct Cell<T: Debug, const N: usize = 1>
where
    T: Serialize + DeserializeOwned + Clone + 'static,
{
    /// What it holds.
    #[did(1, read, write)]
    value: T,
    #[did(4, read)]
    next: Vec<Link<T>>,
}

#[derive(Serialize, serde::Deserialize)]
pub struct Link<T>(T);

impl<T: Debug, const N: usize> Cell<T, N>
where
    T: Serialize + DeserializeOwned + Clone + 'static,
{
    const THIRD: u32 = 3;

    fn swap(&mut self, value: T) -> T {
        std::mem::replace(&mut self.value, value)
    }

    async fn count(_: Call<Self>) -> usize {
        N
    }

    fn last(&mut self) -> Option<T> {
        Some(self.value.clone())
    }

    fn first(&mut self) -> Option<T> {
        self.next.first().map(|link| link.0.clone())
    }
}

#[derive(Client)]
#[allow(dead_code)]
struct Borrowed<'a> {
    #[did(1, read)]
    length: usize,
    text: &'a str,
}

#[derive(Client, Service, Serialize, serde::Deserialize)]
struct Node {
    #[did(1, read, write)]
    next: Option<Box<Self>>,
}

#[allow(dead_code)]
fn calls(cell: &CellClient<String, 2>, node: &NodeClient) {
    let _: socketproto::PendingCall<String> = cell.clone().swap(String::new());
    let _: socketproto::PendingCall<Option<Box<Node>>> = node.next();
}

fn main() {
    let _ = Cell::<u8, 1> { value: 1, next: vec![Link(1)] };
    let ids = <Cell<u8, 1> as Service>::SERVICE.entries().iter().map(|entry| entry.data_id().value());
    assert_eq!(ids.collect::<Vec<_>>(), [2, 3, 9, 8, 1, 1, 4]);
    let _ = Node { next: None };
}
