//! How servers on several threads end, and their threads with them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{join, join_all};
use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Runtime};
use tokio::sync::Semaphore;

use crate::support::{Raw, TellOnDrop, Teller, block_on, disconnected, teller, within};
use crate::workers::{
    BlockingClient, ON_PURPOSE, Station, blocking, clients, named, quiet, start, station, this_thread,
    threads, until,
};

#[tokio::test]
async fn a_shutdown_lets_run_what_runs_on_every_worker() {
    for shared in [false, true] {
        let (teller, mut told) = teller();
        let gate = Arc::new(Semaphore::new(0));
        let made = Arc::clone(&gate);
        let make = move || Station::with(&made, &teller);
        let builder = Server::bind("tcp://127.0.0.1:0").workers(3);
        let builder = if shared { builder.service(make()) } else { builder.service_per_worker(make) };
        let server = start(builder).await;
        let clients = clients(&server, 6).await;
        let calls = join_all(clients.iter().map(|client| async { station(client).wait().await }));
        let shut_down = async {
            for _ in 0..6 {
                assert_eq!(told.next().await, "begun");
            }
            let mut down = Box::pin(server.shutdown());
            tokio::select! {
                biased;
                _ = &mut down => panic!("six requests run"),
                () = std::future::ready(()) => {}
            }
            gate.add_permits(6);
            down.await.unwrap();
            // All has ended when the shutdown has.
            Vec::from_iter(std::iter::from_fn(|| told.now()))
        };
        let (answers, ends) = within(join(calls, shut_down)).await;
        for answer in answers {
            assert_eq!(answer.unwrap(), 7);
        }
        let count = |what| ends.iter().filter(|end| **end == what).count();
        let services = if shared { 1 } else { 3 };
        assert_eq!((count("ended"), count("gone"), count("stopping")), (6, 6, services));
        assert!(within(Client::connect(server.address())).await.is_err(), "nobody listens");
        within(server.shutdown()).await.expect("once more");
    }
}

thread_local! {
    /// Dropped with the thread.
    static LAST: RefCell<Option<TellOnDrop>> = const { RefCell::new(None) };
}

/// Tells when each thread has ended.
fn watching(teller: &Teller) -> impl Fn() -> Station + Send + Sync + 'static {
    let teller = teller.clone();
    move || {
        LAST.with_borrow_mut(|last| *last = Some(teller.on_drop("thread ended")));
        Station::new()
    }
}

#[tokio::test]
async fn a_shutdown_joins_the_threads() {
    let (teller, mut told) = teller();
    let server = start(Server::bind("mem://").workers(3).service_per_worker(watching(&teller))).await;
    let _clients = clients(&server, 3).await;
    within(server.shutdown()).await.unwrap();
    assert_eq!([(); 3].map(|()| told.now()), [Some("thread ended"); 3]);
}

#[test]
fn a_dropped_handle_ends_everything_without_waiting() {
    let (teller, mut told) = teller();
    let builder = Server::bind("mem://").workers(3).service_per_worker(watching(&teller));
    let server = block_on(builder.start()).unwrap();
    let client = block_on(Client::connect(server.address()).into_future()).unwrap();
    drop(server);
    for _ in 0..3 {
        assert_eq!(block_on(told.next()), "thread ended");
    }
    drop(client);
}

#[tokio::test]
async fn a_runtime_has_several_servers_and_clients_and_ends_them() {
    let (teller, mut told) = teller();
    let runtime = Runtime::builder().workers(2).start().unwrap();
    assert_eq!(runtime.workers(), 2);
    let first = start(Server::bind("mem://").runtime(&runtime).service_per_worker(watching(&teller))).await;
    let second = start(Server::bind("mem://").runtime(&runtime).service(Station::new())).await;
    let mut threads = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let seen = Arc::new(Mutex::new(String::new()));
        let note = Arc::clone(&seen);
        let client = Client::connect(first.address()).runtime(&runtime);
        let client = client.on_event(move |_, event| {
            if let ConnectionEvent::Ready = event {
                *note.lock().unwrap() = this_thread();
            }
        });
        clients.push(within(client).await.unwrap());
        threads.push(seen.lock().unwrap().clone());
    }
    assert_eq!(threads, named(&[0, 1, 0, 1]), "clients take turns");
    let other = within(Client::connect(second.address())).await.unwrap();
    let error = {
        let (down, again) = within(join(runtime.shutdown(), runtime.clone().shutdown())).await;
        down.and(again).unwrap();
        within(Server::bind("mem://").runtime(&runtime).start()).await.unwrap_err()
    };
    assert!(matches!(error, Error::ShutDown), "{error}");
    assert_eq!([told.now(), told.now()], [Some("thread ended"); 2]);
    within(join(first.closed(), second.closed())).await;
    for client in &clients {
        within(client.closed()).await;
    }
    within(disconnected(&other)).await;
    within(runtime.shutdown()).await.expect("once more");
}

#[tokio::test]
async fn a_runtime_lets_run_what_runs_on_it() {
    let (teller, mut told) = teller();
    let gate = Arc::new(Semaphore::new(0));
    let runtime = Runtime::builder().workers(2).start().unwrap();
    let server = Server::bind("tcp://127.0.0.1:0").runtime(&runtime);
    let server = start(server.service(Station::with(&gate, &teller))).await;
    let clients = clients(&server, 2).await;
    let call = async { station(&clients[1]).wait().await };
    let shut_down = async {
        assert_eq!(told.next().await, "begun");
        let open = async {
            let place = server.address().strip_prefix("tcp://").unwrap();
            until(|| std::net::TcpStream::connect(place).is_err()).await;
            gate.add_permits(1);
        };
        join(runtime.shutdown(), open).await.0.unwrap();
    };
    let (answer, ()) = within(join(call, shut_down)).await;
    assert_eq!(answer.unwrap(), 7);
}

#[tokio::test]
async fn a_runtime_lives_as_long_as_what_runs_on_it() {
    let (teller, mut told) = teller();
    let runtime = Runtime::builder().start().unwrap();
    let builder = Server::bind("mem://").runtime(&runtime);
    let server = start(builder.service_per_worker(watching(&teller))).await;
    drop(runtime);
    let clients = clients(&server, 1).await;
    assert_eq!(threads(&clients).await, named(&[0]));
    drop(server);
    assert_eq!(within(told.next()).await, "thread ended");
}

#[tokio::test]
async fn a_blocked_worker_does_not_keep_the_others_from_ending() {
    let (teller, mut told) = teller();
    let (make, begun, open) = blocking();
    let station = Station::with(&Arc::new(Semaphore::new(0)), &teller);
    let builder = Server::bind("mem://").workers(2).service_at(100, station);
    let server = start(builder.service_per_worker(make)).await;
    let clients = clients(&server, 2).await;
    let blocks = BlockingClient::new(&clients[1]);
    let call = tokio::spawn(async move { blocks.block().await });
    within(begun.notified()).await;
    drop(server);
    assert_eq!(within(told.next()).await, "gone", "the peer of the first thread");
    assert_eq!(within(told.next()).await, "stopping", "a service of the first thread");
    drop(open);
    // What it is answered is all the same; it does not hang.
    let _ = within(call).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_reaches_its_thread_after_the_end_is_closed() {
    for late in [false, true] {
        let runtime = Runtime::builder().workers(2).start().unwrap();
        let (make, begun, open) = blocking();
        let (teller, mut told) = teller();
        let station = Station::with(&Arc::new(Semaphore::new(0)), &teller);
        let builder = Server::bind("tcp://127.0.0.1:0").runtime(&runtime).service_at(100, station);
        let server = start(builder.service_per_worker(make)).await;
        let clients = clients(&server, 2).await;
        let blocks = BlockingClient::new(&clients[1]);
        let call = tokio::spawn(async move { blocks.block().await });
        within(begun.notified()).await;
        let _third = Raw::connect(server.address()).await;
        let mut fourth = Raw::connect(server.address()).await;
        within(until(|| server.peers().len() == 4)).await;
        let url = server.address().to_owned();
        drop(server);
        if late {
            within(async { while told.next().await != "stopping" {} }).await;
        } else {
            let place = url.strip_prefix("tcp://").unwrap();
            within(until(|| std::net::TcpStream::connect(place).is_err())).await;
        }
        drop(open);
        within(fourth.closed()).await;
        let _ = within(call).await.unwrap();
        within(runtime.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn mistakes_are_errors_of_the_start() {
    for (workers, expected) in [
        (0, "workers: 0 is outside of 1 to 1024"),
        (1025, "workers: 1025 is outside of 1 to 1024"),
        (u32::MAX as usize, "workers: 4294967295 is outside of 1 to 1024"),
    ] {
        let error = within(Server::bind("mem://").workers(workers).start()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(Runtime::builder().workers(workers).start().unwrap_err().to_string(), expected);
    }
    quiet();
    let (teller, mut told) = teller();
    let made = AtomicUsize::new(0);
    let make = move || match made.fetch_add(1, Ordering::SeqCst) {
        2 => std::panic::panic_any(ON_PURPOSE),
        _ => Station::with(&Arc::new(Semaphore::new(0)), &teller),
    };
    let runtime = Runtime::builder().workers(3).start().unwrap();
    let builder = Server::bind("mem://").runtime(&runtime).service_per_worker(make);
    let error = within(builder.start()).await.unwrap_err().to_string();
    let expected =
        "service_per_worker: the closure that makes the service panicked; standard error has where";
    assert_eq!(error, expected);
    for _ in 0..2 {
        assert_eq!(within(told.next()).await, "stopping", "those that had been made end");
    }
}
