//! D: clients that look for their server.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use socketproto::prelude::*;
use socketproto::testing::Line;
use socketproto::{Backoff, ConnectionEvent, Error, Limits, Message, Peer, ServerBuilder};

use crate::support::{Echo, HELLO, Noise, OWN_ADDRESS, PATIENCE, Raw, Wire, block_on, nobody, start_again};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// In place of 100 ms to 30 s.
const QUICK: Duration = Duration::from_millis(10);

fn secret() -> Secret {
    Secret::from_text(SECRET).unwrap()
}

fn quick() -> Backoff {
    Backoff::new(QUICK, QUICK * 20)
}

fn echo(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// A server that answers reads with what was sent, for PROBE.
fn server(address: &str) -> ServerBuilder {
    Server::bind(address).register_callback(Some(ServiceId::READ_REQUEST), None, echo)
}

/// Counts how often something is told.
fn counter(what: &'static str) -> (Arc<AtomicUsize>, impl Fn(&Peer, &ConnectionEvent) + Send + Sync) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        if format!("{event:?}").starts_with(what) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    (count, follow)
}

// D02

/// Stops a process, and waits until it has been.
fn stop(process: Pid) {
    kill_process(process, Signal::STOP).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let threads = format!("/proc/{}/task", process.as_raw_nonzero());
    let runs = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        !stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    while std::fs::read_dir(&threads).unwrap().any(|thread| runs(thread.unwrap())) {
        assert!(Instant::now() < deadline, "it runs on");
        thread::yield_now();
    }
}

#[test]
fn d_02_half_open_server_restarted_client_does_not_know() {
    let mut echo = Echo::with(&["--listen", OWN_ADDRESS], "warn");
    let address = echo.address.clone();
    let echo = block_on(async {
        let client = Client::connect(&address).backoff(quick()).await.unwrap();
        for round in 0..5_u32 {
            // The server takes nothing more, and its system acknowledges all the same.
            stop(echo.process());
            let call = |number: u32| client.call::<_, u32>(ServiceId::WRITE_REQUEST, 1, &number);
            let write = tokio::spawn(call(round).timeout(PATIENCE).into_future());
            tokio::task::yield_now().await;
            // Once the one behind it has waited in vain it has been sent.
            let error = call(round).timeout(QUICK * 10).await.unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. }), "{error}");
            kill_process(echo.process(), Signal::KILL).unwrap();
            drop(echo);
            echo = Echo::with(&["--listen", &address], "warn");
            let begun = Instant::now();
            // One that was sent on the old line fails at once; the next one finds the new line.
            while let Err(error) = client.read::<()>(4711).timeout(PATIENCE).await {
                assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
            }
            let error = write.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::ConnectionLost { .. }), "not reported as delivered: {error}");
            assert!(begun.elapsed() < PATIENCE / 2, "the kernel's minutes are not waited for");
        }
        client.close().await;
        echo
    });
    echo.end();
}

// D03

#[test]
fn d_03_reconnect_storm_is_none() {
    /// Longer waits come with each attempt up to 30 s; so many attempts fit into the time if no wait was that long.
    const TIME: Duration = Duration::from_secs(600);
    actix::System::new().block_on(async {
        tokio::time::pause();
        // It refuses at once: nothing but the back-off holds the client up.
        let mut limits = Limits::default();
        limits.max_connections = 0;
        let server = Server::bind("mem://").limits(limits).start().await.unwrap();
        let (attempts, follow) = counter("Connected");
        let client = Client::connect(server.address()).lazy().on_event(follow).await.unwrap();
        tokio::time::sleep(TIME).await;
        // 9 attempts for the waits up to 30 s, then one in 15 s on the average.
        let attempts = attempts.load(Ordering::SeqCst);
        assert!((15..=100).contains(&attempts), "{attempts} attempts in {TIME:?}");
        client.close().await;
    });
}

// D04

/// Accepts, and does with each connection what it is told, until it is dropped.
struct Fake {
    address: String,
    accepted: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    fn start(behave: impl Fn(Raw) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let (accepted, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, ends) = (Arc::clone(&accepted), Arc::clone(&over));
        let accept = move || {
            loop {
                let peer = Raw::accept(&listener, Wire::Length);
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                behave(peer);
            }
        };
        Self { address, accepted, over, thread: Some(thread::spawn(accept)) }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // One last connection lets it see that.
        Raw::connect(&self.address, Wire::Length);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn d_04_server_accepts_but_is_not_the_server() {
    let kept = Mutex::new(Vec::new());
    let silent = Fake::start(move |peer| kept.lock().unwrap().push(peer));
    let http = Fake::start(|mut peer| {
        peer.try_send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    block_on(async {
        // Without an answer to HELLO for 5 s it is no server of this kind; the error says what to do.
        let begun = Instant::now();
        let error = Client::connect(&silent.address).await.unwrap_err();
        assert!(matches!(error, Error::PeerTooOld { .. }), "{error}");
        assert!(
            error.to_string().contains(&silent.address) && error.to_string().contains("old_peer"),
            "{error}"
        );
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        // An old server says nothing at first; one that never answers the login is found out in 2 s.
        let error = Client::connect(&silent.address).old_peer().secret(secret()).await.unwrap_err();
        assert!(matches!(error, Error::AuthenticationFailed { .. }), "{error}");
        assert!(error.to_string().contains("did not answer the authentication"), "{error}");

        // "HTTP" is the length of a frame that nobody would send, so it is told by that.
        let error = Client::connect(&http.address).await.unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
        assert!(error.to_string().contains("a web server answers there"), "{error}");
        let before = http.accepted();
        let client = Client::connect(&http.address).lazy().backoff(quick()).await.unwrap();
        tokio::time::sleep(QUICK * 100).await;
        client.close().await;
        // The mean wait is half of the bound; without waits there would be thousands.
        let attempts = http.accepted() - before;
        assert!((2..100).contains(&attempts), "{attempts} attempts in 1 s");
    });
}

#[test]
fn d_04_server_that_answers_hello_alone_is_taken_for_one() {
    let fake = Fake::start(|mut peer| {
        while let Some(request) = peer.receive() {
            if request.service_id == 0xFFFF_0000 {
                peer.send_text(request.answer(HELLO));
            }
        }
    });
    block_on(async {
        let client = Client::connect(&fake.address).await.unwrap();
        let error = client.read::<()>(1).timeout(QUICK * 10).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        client.close().await;
    });
}

// D06 and D28

#[test]
fn d_06_must_never_give_up() {
    actix::System::new().block_on(async {
        tokio::time::pause();
        let address = "mem://case-d06";
        let client = Client::connect(address).lazy().await.unwrap();
        // A month without a server: some hundred thousand attempts.
        for day in 0..30 {
            tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
            assert!(!client.is_connected(), "day {day}");
        }
        let _server = server(address).start().await.unwrap();
        let came = tokio::time::Instant::now();
        client.read::<()>(4711).timeout(PATIENCE * 100).await.unwrap();
        assert!(came.elapsed() <= Backoff::default().max() + Duration::from_secs(1), "{:?}", came.elapsed());
    });
}

#[test]
fn d_28_client_starts_before_the_network() {
    let (_held, address) = nobody();
    block_on(async {
        for wrong in [&*address, "tcp://nobody.invalid:4711"] {
            let begun = Instant::now();
            let error = Client::connect(wrong).await.unwrap_err();
            assert!(matches!(error, Error::Connect { .. }), "{error}");
            assert!(error.to_string().contains(wrong), "{error}");
            assert!(begun.elapsed() < PATIENCE, "an attempt ends after 5 s at the latest");

            let client = Client::connect(wrong).lazy().backoff(quick()).await.unwrap();
            assert!(!client.is_connected() && !client.is_ready());
            client.close().await;
        }
        let client = Client::connect(&address).lazy().backoff(quick()).await.unwrap();
        let call = tokio::spawn(client.read::<()>(4711).timeout(PATIENCE));
        tokio::time::sleep(QUICK * 50).await;
        let _server = server(&address).start().await.unwrap();
        call.await.unwrap().unwrap();
        assert!(client.is_ready());
    });
}

// D07

#[test]
fn d_07_server_restarts() {
    const RESTARTS: usize = 20;
    const CLIENTS: usize = 8;

    let hub = |address: &str| server(address).secret(secret()).channel_name("hub");
    block_on(async {
        let mut server = hub(OWN_ADDRESS).start().await.unwrap();
        let address = server.address().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let (mut clients, mut counts, mut load) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..CLIENTS {
            let (lines, follow_lines) = counter("Connected");
            let (back, follow_back) = counter("Reconnected");
            let client = Client::connect(&address)
                .secret(secret())
                .backoff(quick())
                .register_callback(Some(ServiceId::READ_REQUEST), Some(5.into()), move |_| {
                    Ok(Json::encode(&number).unwrap())
                })
                .on_event(move |peer, event| {
                    follow_lines(peer, event);
                    follow_back(peer, event);
                });
            let client = client.await.unwrap();
            let (caller, stop) = (client.clone(), Arc::clone(&stop));
            load.push(tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    match caller.read::<()>(4711).timeout(PATIENCE).await {
                        Ok(()) => answered += 1,
                        Err(error) => assert!(matches!(error, Error::ConnectionLost { .. }), "{error}"),
                    }
                }
                answered
            }));
            clients.push(client);
            counts.push((lines, back));
        }
        let mut noise = Noise(7);
        for restart in 0..RESTARTS {
            // The moment is what is tried here, so this waits for nothing.
            tokio::time::sleep(Duration::from_millis(noise.below(40) as u64)).await;
            if restart % 2 == 0 {
                server.shutdown().await.unwrap();
            } else {
                drop(server);
            }
            server = start_again(|| hub(&address)).await;
        }
        stop.store(true, Ordering::SeqCst);
        for answered in join_all(load).await {
            assert!(answered.unwrap() > 0);
        }
        for client in &clients {
            client.read::<()>(4711).timeout(PATIENCE).await.unwrap();
            assert!(client.is_trusted());
            assert_eq!(client.channel_name().as_deref(), Some("hub"));
        }
        // What each client serves is served on its new line.
        let mut served = BTreeSet::new();
        while served.len() < CLIENTS {
            for peer in server.peers() {
                served.extend(peer.read::<usize>(5).await);
            }
        }
        for (lines, back) in counts {
            let (lines, back) = (lines.load(Ordering::SeqCst), back.load(Ordering::SeqCst));
            assert!(back >= 1 && back < lines && lines <= RESTARTS * 10, "{back} of {lines} lines");
        }
    });
}

// D08

#[test]
fn d_08_thundering_herd_comes_back_one_by_one() {
    const CLIENTS: usize = 200;
    actix::System::new().block_on(async {
        tokio::time::pause();
        let server = server("mem://").start().await.unwrap();
        let times = Arc::new(Mutex::new(Vec::new()));
        let connect = || {
            let times = Arc::clone(&times);
            Client::connect(server.address()).on_event(move |_, event| {
                if *event == ConnectionEvent::Reconnected {
                    times.lock().unwrap().push(tokio::time::Instant::now());
                }
            })
        };
        let clients = join_all((0..CLIENTS).map(|_| connect().into_future())).await;
        let lost = tokio::time::Instant::now();
        Line::of(server.address()).unwrap().cut_now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for client in clients {
            client.unwrap().read::<()>(4711).timeout(PATIENCE).await.unwrap();
        }
        let times = times.lock().unwrap();
        assert_eq!(times.len(), CLIENTS);
        let moments: BTreeSet<_> = times.iter().map(|time| (*time - lost).as_millis()).collect();
        // 200 times over 100 ms hit 87 of them on the average; less than 50 come in no run.
        assert!(moments.len() > 50, "they come back together: {moments:?}");
    });
}

#[test]
fn d_08_thundering_herd_is_accepted_as_a_whole() {
    const CLIENTS: usize = 200;
    let echo = Echo::with(&["--listen", OWN_ADDRESS, "--secret", SECRET], "warn");
    let address = echo.address.clone();
    let mut echo = block_on(async {
        let clients = (0..CLIENTS).map(|_| Client::connect(&address).secret(secret()).backoff(quick()));
        let clients = join_all(clients.map(IntoFuture::into_future)).await;
        let clients: Vec<_> = clients.into_iter().map(Result::unwrap).collect();
        drop(echo);
        let echo = Echo::with(&["--listen", &address, "--secret", SECRET], "warn");
        let calls = clients.iter().map(|client| client.read::<()>(4711).timeout(PATIENCE));
        for answer in join_all(calls.map(IntoFuture::into_future)).await {
            // A call that was sent on a line of the old server is told so.
            assert!(matches!(answer, Ok(()) | Err(Error::ConnectionLost { .. })), "{answer:?}");
        }
        for client in &clients {
            client.read::<()>(4711).timeout(PATIENCE).await.unwrap();
            assert!(client.is_trusted());
        }
        echo
    });
    assert!(!echo.end_unasked().contains(SECRET));
}
