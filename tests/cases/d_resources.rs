//! D: what connections cost, and what happens where there is not enough.

use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use socketproto::prelude::*;
use socketproto::{Backoff, ClientBuilder, ConnectionEvent, Error, Limits, Message};

use crate::program::{Program, part};
use crate::support::{Echo, HELLO, PATIENCE, Raw, Usage, WIRES, Wire, block_on, m, nobody};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret(text: &str) -> Secret {
    Secret::from_text(text).unwrap()
}

// D12

const D_12: &str = "d_resources::d_12_no_leak_of_sockets_threads_or_memory_per_reconnect";

/// Accepts, says HELLO where it is told to, and ends each line: with what came unread, which resets it, or cleanly.
fn fake(clean: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        loop {
            let mut peer = Raw::accept(&listener, Wire::Length);
            if !clean {
                continue;
            }
            if let (Some(hello), Some(name)) = (peer.receive(), peer.receive()) {
                let answers = [hello.answer(HELLO), name.answer("null")];
                if answers.iter().all(|text| peer.try_send(&peer.wire.frame(text))) {
                    peer.finish();
                    peer.expect_end();
                }
            }
        }
    });
    address
}

/// Lets clients of all kinds lose so many lines, and closes them.
async fn lose(lines: usize, addresses: &[(String, bool)]) {
    let lost = Arc::new(AtomicUsize::new(0));
    let follow = |builder: ClientBuilder| {
        let lost = Arc::clone(&lost);
        builder.on_event(move |_, event| {
            if matches!(event, ConnectionEvent::Disconnected { .. }) {
                lost.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let backoff = Backoff::new(Duration::from_micros(100), Duration::from_millis(2));
    let mut clients = Vec::new();
    for (address, with_secret) in addresses {
        let mut client = Client::connect(address).lazy().backoff(backoff);
        if *with_secret {
            client = client.secret(secret("fedcba9876543210fedcba9876543210"));
        }
        clients.push(follow(client).await.unwrap());
    }
    let deadline = Instant::now() + PATIENCE * 3;
    while lost.load(Ordering::SeqCst) < lines {
        assert!(Instant::now() < deadline, "only {} lines were lost", lost.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    join_all(clients.iter().map(Client::close)).await;
}

fn reconnect_often() {
    block_on(async {
        let server = Server::bind("tcp://127.0.0.1:0").secret(secret(SECRET)).start().await.unwrap();
        let (_held, refused) = nobody();
        let addresses = [
            (fake(false), false),
            (fake(true), false),
            (server.address().to_owned(), true),
            (refused, false),
            ("tcp://nobody.invalid:4711".to_owned(), false),
        ];
        // Until buffers and threads are there.
        lose(400, &addresses).await;
        let own = std::process::id();
        let base = Usage::of(own);
        lose(2_000, &addresses).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Usage::of(own);
            // Names are resolved on threads that stay for a while.
            let is_back = now.descriptors <= base.descriptors
                && now.threads <= base.threads + 2
                && now.rss <= base.rss + (8 << 20);
            if is_back {
                break;
            }
            assert!(Instant::now() < deadline, "{now:?} instead of {base:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("all is back");
        server.shutdown().await.unwrap();
    });
    std::process::exit(0)
}

#[test]
fn d_12_no_leak_of_sockets_threads_or_memory_per_reconnect() {
    if part().is_some() {
        reconnect_often();
    }
    let mut program = Program::start(D_12, "reconnects", "error");
    program.told("all is back");
    let ended = program.end();
    assert!(ended.status.success() && ended.log.is_empty(), "{ended:?}");
}

// D19

#[test]
fn d_19_out_of_file_descriptors() {
    let echo = Echo::start();
    let mut known = echo.connect(Wire::Length);
    known.probe();
    // What is open stays open; two more connections and no third.
    let limit = Some(echo.usage().descriptors as u64 + 2);
    prlimit(Some(echo.process()), Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let strangers: Vec<_> = (0..100).map(|_| echo.connect(Wire::Length)).collect();
    for _ in 0..100 {
        known.probe();
    }
    echo.is_idle();
    known.probe();
    drop(strangers);
    // The process ends only once a fresh connection has been answered.
    let log = echo.end();
    let told = log.lines().filter(|line| line.contains("cannot accept")).count();
    assert!((1..=10).contains(&told), "{log}");
}

// D20

/// Lets this process, and those it starts, open so many descriptors; gives how many it may.
fn raise_descriptors(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.unwrap_or(u64::MAX).min(wanted);
    if current.is_some_and(|current| current < allowed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum }).unwrap();
    }
    current.unwrap_or(u64::MAX).max(allowed)
}

#[test]
fn d_20_thousands_of_idle_connections() {
    /// Some 4 KiB, and what the allocator keeps.
    const BYTES_EACH: usize = 16 * 1024;
    const TEST_ITSELF: u64 = 500;

    let descriptors = raise_descriptors(4_000);
    let connections = usize::try_from(descriptors.saturating_sub(TEST_ITSELF).min(2_000)).unwrap();
    if connections < 2_000 {
        println!("only {connections} connections: this process may not open more descriptors");
    }
    let mut echo = Echo::with(&["--secret", SECRET], "warn");
    block_on(async {
        let connect = || Client::connect(&echo.address).secret(secret(SECRET)).into_future();
        let active = connect().await.unwrap();
        let before = echo.usage();
        let mut clients = Vec::with_capacity(connections);
        while clients.len() < connections {
            let more = join_all((0..100.min(connections - clients.len())).map(|_| connect())).await;
            clients.extend(more.into_iter().map(Result::unwrap));
        }
        let now = echo.usage();
        assert_eq!(now.threads, before.threads, "no connection has a thread");
        let each = now.rss.saturating_sub(before.rss) / connections;
        println!("{each} bytes a connection");
        assert!(each < BYTES_EACH, "{each} bytes a connection");
        echo.is_idle();
        // With all the others there the active one is answered as ever.
        for number in 0..1_000_u32 {
            let answer: u32 = active.execute(1, &number).timeout(PATIENCE).await.unwrap();
            assert_eq!(answer, number);
        }
        assert!(clients.iter().all(|client| client.is_trusted()));
        join_all(clients.iter().map(Client::close)).await;
    });
    assert!(!echo.end_unasked().contains(SECRET));
}

// D21

const D_21: &str = "d_resources::d_21_slow_consumer_costs_no_memory";

/// Sends 10 KiB as fast as it can to a peer that reads nothing, until the peer is closed.
fn flood() {
    const CALLERS: usize = 64;
    /// The buffer grows by copies, and there are the callers.
    const MEMORY: usize = 24 << 20;

    let mut limits = Limits::default();
    // In place of 24 MiB and 30 s.
    limits.max_unsent = 4 << 20;
    limits.write_timeout = Duration::from_secs(4);
    let server = Server::bind("tcp://127.0.0.1:0").limits(limits).register_callback(
        Some(ServiceId::READ_REQUEST),
        None,
        |message: &Message| Ok(message.json().clone()),
    );
    let server = block_on(server.start()).unwrap();
    for wire in WIRES {
        let mut reader = Raw::connect(server.address(), wire);
        reader.send_text(m(0, 10, 4711, "null"));
        reader.wait_for_bytes();
        let before = Usage::of(std::process::id()).peak;
        block_on(async {
            let peer = server.peers().pop().expect("it is connected");
            let value = "x".repeat(10 * 1024);
            let callers = (0..CALLERS).map(|_| async {
                loop {
                    match peer.write(1, &value).timeout(Duration::from_millis(20)).await {
                        Err(Error::TimedOut { .. } | Error::NotSendable { .. }) => {}
                        Err(Error::ConnectionLost { reason, .. }) => break reason,
                        other => panic!("nobody answered: {other:?}"),
                    }
                }
            });
            let reasons = tokio::time::timeout(PATIENCE, join_all(callers)).await.expect("it is closed");
            assert!(reasons.iter().all(|reason| reason.starts_with("slow reader")), "{reasons:?}");
        });
        // The kernel counts the pages of each core by itself, so a peak that stays may look smaller by some.
        let used = Usage::of(std::process::id()).peak.saturating_sub(before);
        assert!(used < MEMORY, "{wire:?}: {used} bytes");
        Raw::connect(server.address(), wire).probe();
    }
    println!("all is well");
    std::process::exit(0)
}

#[test]
fn d_21_slow_consumer_costs_no_memory() {
    if part().is_some() {
        flood();
    }
    let mut program = Program::start(D_21, "floods", "error");
    program.told("all is well");
    let ended = program.end();
    assert!(ended.status.success() && ended.log.is_empty(), "{ended:?}");
}
