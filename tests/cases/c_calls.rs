//! C: calls and their answers.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::{Backoff, Error, Message, ServerBuilder};

use crate::support::{
    Echo, HELLO, Noise, PATIENCE, Raw, Received, WIRES, Wire, block_on, m, probe, start, start_again,
};

const THREADS: u64 = 8;

/// The same with message ids agreed.
const HELLO_WITH_IDS: &str =
    r#"{"session":"00000000000000aa","features":["message_id"],"max_frame":8388608,"max_in_flight":8}"#;

fn echo(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// A server that answers reads and writes with what was sent, for PROBE.
fn server() -> ServerBuilder {
    Server::bind("tcp://127.0.0.1:0")
        .register_callback(Some(ServiceId::READ_REQUEST), None, echo)
        .register_callback(Some(ServiceId::WRITE_REQUEST), None, echo)
}

fn way(wire: Wire) -> &'static str {
    if wire == Wire::Stp { "?peer=old" } else { "" }
}

/// The server's side up to the first call, which is given; none where the client has gone.
fn first_call(peer: &mut Raw, hello: &str) -> Option<Received> {
    loop {
        let request = peer.receive()?;
        match request.service_id {
            0xFFFF_0000 => peer.send_text(request.answer(hello)),
            8 => peer.send_text(request.answer("null")),
            _ => return Some(request),
        }
    }
}

#[test]
fn c_02_late_or_foreign_answer_with_another_did() {
    const PAUSE: Duration = Duration::from_millis(100);

    for (wire, hello) in [(Wire::Length, HELLO), (Wire::Length, HELLO_WITH_IDS), (Wire::Stp, HELLO)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}{}", listener.local_addr().unwrap(), way(wire));
        let fake = thread::spawn(move || {
            let mut peer = Raw::accept(&listener, wire);
            let request = first_call(&mut peer, hello).unwrap();
            // The case is about time, so it takes some.
            thread::sleep(PAUSE);
            peer.send_text(m(0, 11, 4, "1"));
            thread::sleep(PAUSE);
            peer.send_text(m(0, 21, 5, "2"));
            thread::sleep(PAUSE);
            peer.send_text(request.answer("3"));
            let next = peer.receive().unwrap();
            peer.send_text(next.answer("4"));
        });
        let others = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&others);
        block_on(async {
            let client = Client::connect(address).register_callback(Some(11.into()), None, move |message| {
                list.lock().unwrap().push((message.data_id().value(), message.json().to_string()));
                Ok(Json::NULL)
            });
            let client = client.await.unwrap();
            let begun = Instant::now();
            assert_eq!(client.read::<u8>(5).timeout(PATIENCE).await.unwrap(), 3);
            assert!(begun.elapsed() >= PAUSE * 3, "the answer of another ended it");
            assert_eq!(client.read::<u8>(5).await.unwrap(), 4);
        });
        fake.join().unwrap();
        assert_eq!(*others.lock().unwrap(), [(4, "1".to_owned())], "the callback got the one it is for");
    }
}

/// Answers each request with its own number, some time later.
#[derive(Service)]
#[did(5, execute = async fn later(number: u64) -> u64)]
#[did(6, execute = async fn sometimes(number: u64) -> u64)]
struct Delays;

impl Delays {
    async fn later(number: u64) -> u64 {
        let delay = Noise(number).below(5);
        tokio::time::sleep(Duration::from_millis(delay as u64)).await;
        number
    }

    async fn sometimes(number: u64) -> u64 {
        if is_skipped(number) { std::future::pending().await } else { Self::later(number).await }
    }
}

fn is_skipped(number: u64) -> bool {
    number % 50 == 49
}

/// Calls from many threads over one connection, each with a number of its own.
fn from_all_threads(client: &Client, calls: u64, call: impl AsyncFn(&Client, u64) + Sync) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let call = &call;
            scope.spawn(move || {
                block_on(async {
                    for number in thread * calls..(thread + 1) * calls {
                        call(client, number).await;
                    }
                });
            });
        }
    });
}

#[test]
fn c_03_concurrent_requests_with_the_same_ids() {
    let server = start(server().service(Delays));
    for wire in WIRES {
        let address = format!("{}{}", server.address(), way(wire));
        let client = block_on(Client::connect(address).into_future()).unwrap();
        from_all_threads(&client, 100, async |client, number| {
            assert_eq!(client.execute::<_, u64>(5, &number).timeout(PATIENCE).await.unwrap(), number);
        });
        block_on(client.read::<()>(4711)).unwrap();
    }
    probe(server.address());
}

#[test]
fn c_04_concurrent_calls_where_the_first_one_times_out() {
    let server = start(server().service(Delays));
    let client = block_on(Client::connect(server.address()).into_future()).unwrap();
    let timed_out = AtomicUsize::new(0);
    from_all_threads(&client, 100, async |client, number| {
        let timeout = if is_skipped(number) { Duration::from_millis(50) } else { PATIENCE };
        match client.execute::<_, u64>(6, &number).timeout(timeout).await {
            Ok(answer) => assert_eq!(answer, number),
            Err(error) => {
                assert!(matches!(error, Error::TimedOut { .. }) && is_skipped(number), "{error}");
                timed_out.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    assert_eq!(timed_out.into_inner(), 16);
    block_on(client.read::<()>(4711)).unwrap();
    probe(server.address());
}

#[test]
fn c_05_reconnect_while_a_request_is_outstanding() {
    for wire in WIRES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}{}", listener.local_addr().unwrap(), way(wire));
        let fake = thread::spawn(move || {
            let mut seen = Vec::new();
            for round in 0..2 {
                let mut peer = Raw::accept(&listener, wire);
                let mut request = first_call(&mut peer, HELLO);
                while let Some(call) = request {
                    seen.push(call.show());
                    if round == 0 {
                        break;
                    }
                    peer.send_text(call.answer("null"));
                    request = peer.receive();
                }
            }
            seen
        });
        block_on(async {
            let client = Client::connect(address).await.unwrap();
            let begun = Instant::now();
            let error = client.write(1, "once").timeout(PATIENCE * 3).await.unwrap_err();
            assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
            assert!(begun.elapsed() < PATIENCE, "at once, not when its time is over");
            client.write(1, "again").timeout(PATIENCE).await.unwrap();
            client.close().await;
        });
        assert_eq!(fake.join().unwrap(), [r#"20/1: "once""#, r#"20/1: "again""#], "nothing is sent twice");
    }
}

#[test]
fn c_11_odd_time_outs_given_by_the_user() {
    let server = start(server().service(Delays));
    block_on(async {
        let client = Client::connect(server.address()).await.unwrap();
        for timeout in [0, 1, 200].map(Duration::from_millis) {
            let begun = Instant::now();
            let error = client.execute::<_, u64>(6, &49).timeout(timeout).await.unwrap_err();
            let took = begun.elapsed();
            assert!(matches!(error, Error::TimedOut { timeout: given, .. } if given == timeout), "{error}");
            // The upper bound is for a machine at work.
            assert!((timeout..timeout + Duration::from_secs(2)).contains(&took), "{timeout:?}: {took:?}");
        }
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX), PATIENCE] {
            assert_eq!(client.execute::<_, u64>(6, &1).timeout(timeout).await.unwrap(), 1);
        }
        // Units are those of the type: nothing here takes a bare number.
        client.read::<()>(4711).await.unwrap();
    });
    probe(server.address());
}

#[test]
fn c_12_answer_arrives_before_the_caller_starts_to_wait() {
    const CALLS: u32 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };

    let memory = Server::bind("mem://").register_callback(Some(ServiceId::READ_REQUEST), None, echo);
    for server in [start(server()), start(memory)] {
        block_on(async {
            let client = Client::connect(server.address()).await.unwrap();
            for number in 0..CALLS / 2 {
                let answer: u32 = client.call(ServiceId::READ_REQUEST, 7, &number).await.unwrap();
                assert_eq!(answer, number);
            }
        });
    }
}

#[test]
fn c_17_commands_issued_while_disconnected() {
    let (sender, received) = mpsc::channel();
    let serve = |address: &str| {
        let sender = sender.clone();
        let take = move |message: &Message| {
            sender.send(message.json().to_string()).unwrap();
            Ok(Json::NULL)
        };
        Server::bind(address).register_callback(Some(ServiceId::WRITE_REQUEST), Some(1.into()), take)
    };
    block_on(async {
        let server = serve("tcp://127.0.0.1:0").start().await.unwrap();
        let address = server.address().to_owned();
        let quick = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        let client = Client::connect(&address).backoff(quick).await.unwrap();
        server.shutdown().await.unwrap();
        // Each waits for the line within its own time, and is gone with it.
        let timeout = Duration::from_millis(200);
        let stale = join_all((0..10).map(|number| client.write(1, &number).timeout(timeout))).await;
        for outcome in stale {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. } | Error::ConnectionLost { .. }), "{error}");
        }
        let _server = start_again(|| serve(&address)).await;
        client.write(1, "fresh").timeout(PATIENCE).await.unwrap();
        let got: BTreeSet<_> = received.try_iter().collect();
        assert_eq!(got, BTreeSet::from([r#""fresh""#.to_owned()]));
    });
}

#[test]
fn calls_of_many_clients_leave_the_process_at_its_base_line() {
    let echo = Echo::start();
    let mut base = echo.base();
    for round in 0..20_u32 {
        block_on(async {
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(Client::connect(&echo.address).await.expect("the server listens"));
            }
            let calls = clients.iter().flat_map(|client| {
                (0..50).map(move |number| async move {
                    let answer: u32 = client.execute(round, &number).await.expect("an answer");
                    assert_eq!(answer, number);
                })
            });
            join_all(calls).await;
            // Half of them leave with calls under way, and with calls that were given up.
            for client in &clients[..4] {
                let given_up = client.execute::<_, u32>(1, &2).timeout(Duration::ZERO);
                let under_way = client.execute::<_, u32>(1, &2);
                let _ = futures_util::future::select(given_up, under_way).await;
            }
        });
    }
    echo.is_back_at(&mut base, 16 << 20);
    echo.is_idle();
    echo.end();
}
