//! What stays as on one thread.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use socketproto::prelude::*;
use socketproto::testing::{Direction, Line};
use socketproto::{ConnectionEvent, Error, Runtime, blocking};
use tokio::sync::{Semaphore, mpsc};

use crate::support::{limits, teller, within};
use crate::workers::{ADDRESSES, Station, clients, named, quiet, start, station, threads};

#[tokio::test]
async fn connections_are_counted_over_all_workers() {
    for address in ADDRESSES {
        let builder = Server::bind(address).limits(limits(|limits| limits.max_connections = 4));
        let server = start(builder.workers(3).service_per_worker(Station::new)).await;
        let mut four = clients(&server, 4).await;
        assert!(within(Client::connect(server.address())).await.is_err(), "there are four places");
        four.remove(2).close().await;
        let next = within(async {
            loop {
                if let Ok(client) = Client::connect(server.address()).await {
                    return client;
                }
            }
        });
        assert_eq!(threads(&[next.await]).await, named(&[2]), "where a place is free");
        within(server.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn the_memory_of_all_workers_is_one_budget() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        if let ConnectionEvent::Disconnected { reason } = event {
            let _ = sender.send(reason.to_string());
        }
    };
    let builder = Server::bind("mem://").limits(limits(|limits| limits.max_memory = 19_000_000));
    let server = start(builder.on_event(follow).workers(3).service_per_worker(Station::new)).await;
    let clients = clients(&server, 3).await;
    assert_eq!(threads(&clients).await, named(&[0, 1, 2]));
    let line = Line::of(server.address()).unwrap();
    line.block(Direction::ToClient);
    let calls = join_all(
        clients
            .iter()
            .zip([5_000_000, 7_900_000, 6_000_000])
            .map(|(client, length)| station(client).text(length)),
    );
    let told = async {
        let reason = reasons.recv().await.unwrap();
        line.thaw();
        reason
    };
    let (outcomes, reason) = within(join(calls, told)).await;
    assert!(reason.contains("max_memory"), "{reason}");
    let lengths = outcomes.iter().map(|outcome| outcome.as_ref().ok().map(String::len));
    assert_eq!(Vec::from_iter(lengths), [Some(5_000_000), None, Some(6_000_000)], "the largest was closed");
    within(server.shutdown()).await.unwrap();
}

/// Answers each peer that calls back.
#[derive(Service)]
struct Answering {
    #[did(1, read)]
    number: usize,
}

#[tokio::test]
async fn the_server_calls_the_peers_of_all_workers() {
    let server = start(Server::bind("tcp://127.0.0.1:0").workers(3)).await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let client = Client::connect(server.address()).service(Answering { number });
        clients.push(within(client).await.unwrap());
    }
    let peers = server.peers();
    let answers = within(join_all(peers.iter().map(|peer| peer.read::<usize>(1)))).await;
    let answers: Result<Vec<_>, _> = answers.into_iter().collect();
    assert_eq!(answers.unwrap(), [0, 1, 2, 3, 4, 5]);
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_its_caller_alone() {
    quiet();
    for shared in [false, true] {
        let builder = Server::bind("tcp://127.0.0.1:0").workers(2);
        let server = start(match shared {
            false => builder.service_per_worker(Station::new),
            true => builder.service(Station::new()),
        })
        .await;
        let clients = clients(&server, 4).await;
        for client in &clients {
            let error = within(station(client).panics()).await.unwrap_err();
            assert_eq!(error.fault(), Some(&Fault::callback_error("handler panicked")));
        }
        assert_eq!(threads(&clients).await, named(if shared { &[0; 4] } else { &[0, 1, 0, 1] }));
        within(server.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_peer_that_has_gone_had_asked_for_is_cancelled_across_threads() {
    let (teller, mut told) = teller();
    let service = Station::with(&Arc::new(Semaphore::new(0)), &teller);
    let server = start(Server::bind("tcp://127.0.0.1:0").workers(2).service(service)).await;
    let clients = clients(&server, 2).await;
    let mut call = Box::pin(async { station(&clients[1]).wait().await });
    within(async {
        tokio::select! {
            outcome = &mut call => panic!("the gate is closed: {outcome:?}"),
            begun = told.next() => assert_eq!(begun, "begun"),
        }
    })
    .await;
    clients[1].close().await;
    let mut ends = [within(told.next()).await, within(told.next()).await];
    ends.sort_unstable();
    assert_eq!(ends, ["ended", "gone"]);
    assert_eq!(within(station(&clients[0]).peers()).await.unwrap(), 1);
    within(server.shutdown()).await.unwrap();
}

#[test]
fn a_wait_that_might_never_end_is_refused_on_every_worker() {
    let server = Server::bind("mem://").workers(2).service_per_worker(|| Waiting);
    let server = blocking::Server::start(server).unwrap();
    for _ in 0..2 {
        let client = blocking::Client::connect(server.address()).unwrap();
        assert!(client.read::<bool>(1).wait().unwrap());
    }
    server.shutdown().unwrap();
}

#[test]
fn a_program_without_a_runtime_shuts_down_its_workers() {
    let runtime = Runtime::builder().workers(2).start().unwrap();
    let inside = runtime.clone();
    let server = Server::bind("mem://").runtime(&runtime);
    let server = server.register_callback(None, None, move |_| {
        let refused = matches!(inside.shutdown_and_wait(), Err(Error::WouldDeadlock));
        Ok(Json::encode(&refused)?)
    });
    let server = blocking::Server::start(server).unwrap();
    let client = blocking::Client::connect(Client::connect(server.address()).runtime(&runtime));
    let client = client.unwrap();
    assert!(client.read::<bool>(1).wait().unwrap());
    runtime.shutdown_and_wait().unwrap();
    server.closed().unwrap();
    client.closed().unwrap();
}

#[derive(Service)]
#[did(1, read = fn refused(cx) -> bool)]
struct Waiting;

impl Waiting {
    fn refused(&mut self, cx: Call<Self>) -> bool {
        let called = cx.peer().read::<u8>(1).wait();
        matches!(called, Err(Error::WouldDeadlock))
    }
}
