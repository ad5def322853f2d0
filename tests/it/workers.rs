//! Servers on several threads: who runs where, and that all else stays as on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use socketproto::prelude::*;
use tokio::sync::Semaphore;

use crate::support::{Teller, teller, within};

const TCP: &str = "tcp://127.0.0.1:0";

/// Says on which thread its requests run.
#[derive(Service, Client)]
#[did(1, read = fn thread() -> String)]
#[did(2, execute = fn add(number: u64) -> u64)]
#[did(3, execute = async fn wait(cx) -> u64)]
#[did(4, execute = fn panics())]
struct Worker {
    total: u64,
    gate: Arc<Semaphore>,
    teller: Teller,
}

impl Worker {
    fn thread(&mut self) -> String {
        name()
    }

    fn add(&mut self, number: u64) -> u64 {
        self.total += number;
        self.total
    }

    async fn wait(cx: Call<Self>) -> u64 {
        let (gate, _end) = cx
            .actor(|this| {
                this.teller.tell("begun");
                (Arc::clone(&this.gate), this.teller.on_drop("ended"))
            })
            .await;
        gate.acquire().await.expect("nobody closes the gate").forget();
        7
    }

    fn panics(&mut self) {
        panic!("as it was told to");
    }
}

fn name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn worker() -> Worker {
    Worker { total: 0, gate: Arc::new(Semaphore::new(0)), teller: teller().0 }
}

async fn clients(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(within(Client::connect(server.address())).await.unwrap());
    }
    clients
}

async fn threads(clients: &[Client]) -> Vec<String> {
    let mut threads = Vec::new();
    for client in clients {
        threads.push(within(WorkerClient::new(client).thread()).await.unwrap());
    }
    threads
}

#[tokio::test]
async fn connections_and_factories_are_spread_evenly() {
    for address in [TCP, "mem://"] {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let server = Server::bind(address).workers(3).service_per_worker(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            worker()
        });
        let server = within(server.start()).await.unwrap();
        assert_eq!(
            made.load(Ordering::SeqCst),
            3,
            "each worker has its instance when the server has started"
        );
        let clients = clients(&server, 7).await;
        let threads = threads(&clients).await;
        let expected = [0, 1, 2, 0, 1, 2, 0].map(|number| format!("socketproto-{number}"));
        assert_eq!(threads, expected, "{address}");
        for (number, client) in clients.iter().enumerate() {
            let total = within(WorkerClient::new(client).add(1)).await.unwrap();
            assert_eq!(total, number as u64 / 3 + 1, "the instances share nothing");
        }
        assert_eq!(server.peers().len(), 7);
        within(server.shutdown()).await.unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 3);
    }
}
