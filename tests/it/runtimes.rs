//! The same dialogue under every executor: actix, tokio in its flavours, none at all.

use std::sync::mpsc;
use std::thread;

use actix::{Arbiter, System};
use socketproto::prelude::*;
use socketproto::{ClientBuilder, Error, PendingCall};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::support::{block_on, disconnected, within};

/// Counts, and says on which thread.
#[derive(Service, Client)]
#[did(2, execute = fn add(number: u64) -> u64)]
#[did(3, execute = async fn double(cx, number: u64) -> u64)]
#[did(4, read = fn thread() -> String)]
struct Counter {
    #[did(1, read, write = set)]
    count: u64,
}

impl Counter {
    fn add(&mut self, number: u64) -> u64 {
        self.count += number;
        number
    }

    async fn double(cx: Call<Self>, number: u64) -> u64 {
        tokio::task::yield_now().await;
        cx.actor(|this| this.count += 1).await;
        number * 2
    }

    fn set(&mut self, count: u64) -> Result<(), Fault> {
        if count > 1_000_000 {
            return Err(Fault::not_permitted("too many"));
        }
        self.count = count;
        Ok(())
    }

    fn thread(&mut self) -> String {
        this_thread()
    }
}

fn this_thread() -> String {
    format!("{:?}", thread::current().id())
}

async fn start() -> (Server, Client) {
    let server =
        Server::bind("tcp://127.0.0.1:0").service(Counter { count: 0 }).start().await.expect("a free port");
    let client = Client::connect(server.address()).await.expect("the server listens");
    (server, client)
}

/// Gives the thread the service lives on.
async fn dialogue() -> String {
    let (server, client) = start().await;
    let counter = CounterClient::new(&client);
    let thread = talk(&counter).await;
    server.shutdown().await.expect("it closes");
    disconnected(&client).await;
    client.close().await;
    let error = counter.count().await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    thread
}

async fn talk(counter: &CounterClient) -> String {
    counter.set_count(10).await.unwrap();
    let (two, four, six, seven) = tokio::join!(
        async { counter.double(1).await },
        async { counter.double(2).await },
        async { counter.double(3).await },
        async { counter.add(7).await },
    );
    assert_eq!((two.unwrap(), four.unwrap(), six.unwrap(), seven.unwrap()), (2, 4, 6, 7));
    assert_eq!(counter.count().await.unwrap(), 20);
    let error = counter.set_count(2_000_000).await.unwrap_err();
    assert_eq!(error.fault(), Some(&Fault::not_permitted("too many")));
    counter.thread().await.unwrap()
}

// actix

#[actix::test]
async fn under_the_macro_of_actix() {
    assert_eq!(within(dialogue()).await, this_thread(), "actors live in place");
}

#[test]
fn in_a_system_of_actix() {
    let own = this_thread();
    assert_eq!(System::new().block_on(within(dialogue())), own, "actors live in place");
}

#[actix::test]
async fn in_another_arbiter_of_a_system() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let arbiter = Arbiter::new();
    arbiter.spawn(async {
        let _ = sender.send((dialogue().await, this_thread()));
    });
    let (service, caller) = within(receiver).await.expect("the dialogue ends");
    assert_eq!(service, caller);
    assert_ne!(caller, this_thread());
    arbiter.stop();
}

#[test]
fn what_lived_in_a_system_that_has_ended_fails_and_does_not_hang() {
    let (server, client) = System::new().block_on(within(start()));
    block_on(client.closed());
    let error = block_on(client.read::<u64>(1)).unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    block_on(server.closed());
    block_on(server.shutdown()).expect("there is nothing left to close");
}

#[test]
fn a_server_in_a_system_is_served_by_it_to_clients_of_other_runtimes() {
    let (sender, receiver) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let system = thread::spawn(move || {
        System::new().block_on(within(async move {
            let server = Server::bind("tcp://127.0.0.1:0").service(Counter { count: 0 }).start().await;
            sender.send((server.expect("a free port"), this_thread())).expect("the test waits");
            let _ = stopped.await;
        }));
    });
    let (server, thread) = receiver.recv().expect("it starts");
    let client = block_on(Client::connect(server.address()).into_future()).expect("it listens");
    assert_eq!(block_on(talk(&CounterClient::new(&client))), thread);
    stop.send(()).expect("the system waits");
    system.join().expect("it ends well");
    block_on(disconnected(&client));
}

// tokio

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tokio_with_many_threads() {
    let spawned = tokio::spawn(within(dialogue()));
    let service = within(spawned).await.expect("no panic");
    assert_ne!(service, this_thread(), "actors live on the process's own thread");
}

#[tokio::test]
async fn under_tokio_with_one_thread() {
    assert_ne!(within(dialogue()).await, this_thread());
}

#[tokio::test]
async fn under_tokio_with_one_thread_once_more() {
    assert_ne!(within(dialogue()).await, this_thread());
}

#[tokio::test]
async fn in_a_local_set() {
    let local = LocalSet::new();
    let spawned = local.spawn_local(within(dialogue()));
    within(local).await;
    spawned.await.expect("no panic");
}

#[test]
fn runtimes_come_and_go_and_the_process_has_one_thread_for_them_all() {
    let threads = [(); 3].map(|()| {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(within(dialogue()))
    });
    let none = block_on(dialogue());
    assert!(threads.iter().all(|thread| *thread == none), "{threads:?}, {none}");
}

#[test]
fn a_connection_outlives_the_runtime_it_was_made_in() {
    let first = Runtime::new().expect("a runtime");
    let (server, client) = first.block_on(within(start()));
    drop(first);
    let counter = CounterClient::new(&client);
    let second = Builder::new_current_thread().enable_all().build().expect("a runtime");
    second.block_on(within(talk(&counter)));
    drop(second);
    block_on(talk(&counter));
    block_on(server.shutdown()).expect("it closes");
}

// None

#[test]
fn without_any_runtime() {
    assert_ne!(block_on(dialogue()), this_thread());
}

#[test]
fn a_call_that_was_begun_on_one_executor_ends_on_another() {
    let (_server, client) = block_on(start());
    let mut call = Box::pin(client.read::<u64>(1));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // Polled once: sent, with this runtime to be woken.
        tokio::select! {
            biased;
            _ = &mut call => panic!("no answer comes that fast: the first poll only sends"),
            () = std::future::ready(()) => {}
        }
    });
    drop(runtime);
    assert_eq!(block_on(call).unwrap(), 0);
}

#[test]
fn eight_threads_share_a_client() {
    const CALLS: u64 = 500;

    let (_server, client) = block_on(start());
    let counter = CounterClient::new(&client);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let counter = counter.clone();
            thread::spawn(move || {
                for call in 0..CALLS {
                    let sent = number * CALLS + call;
                    match call % 2 {
                        0 => assert_eq!(block_on(counter.double(sent)).unwrap(), sent * 2),
                        _ => assert_eq!(block_on(counter.add(0)).unwrap(), 0),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every call gets its own answer");
    }
    assert_eq!(block_on(counter.count()).unwrap(), 8 * CALLS / 2);
}

#[test]
fn handles_are_shared_between_threads() {
    fn is_handle<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    fn is_sent<T: Send + 'static>() {}

    is_handle::<Server>();
    is_handle::<Client>();
    is_handle::<Peer>();
    is_handle::<Secret>();
    is_handle::<CounterClient>();
    is_sent::<PendingCall<u64>>();
    is_sent::<<ClientBuilder as IntoFuture>::IntoFuture>();
}
