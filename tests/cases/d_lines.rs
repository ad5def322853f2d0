//! D: single TCP lines, and how they end.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socketproto::prelude::*;
use socketproto::{Backoff, ConnectionEvent, Error, Message, ServerBuilder};

use crate::program::wait_for_signal_handler;
use crate::support::{Echo, HELLO, PATIENCE, Raw, WIRES, Wire, block_on, example, m, nobody, probe, start};

fn echo(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// A server that answers reads with what was sent, for PROBE.
fn server(address: &str) -> ServerBuilder {
    Server::bind(address).register_callback(Some(ServiceId::READ_REQUEST), None, echo)
}

// D01

/// The timers of both ends of the connections with a port, as the kernel shows them: `02` is that of keepalive.
fn timers(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local address, remote address, state (01 is established), queues, timer.
    let ours = rows.filter(|row| (row[1].ends_with(&port) || row[2].ends_with(&port)) && row[3] == "01");
    ours.map(|row| row[5].split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn d_01_peer_vanishes_without_fin() {
    let echo = Echo::start();
    let port: u16 = echo.address.rsplit(':').next().unwrap().parse().unwrap();
    block_on(async {
        let client = Client::connect(&echo.address).await.unwrap();
        client.read::<()>(4711).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        // What was sent last may still have a timer of its own.
        while timers(port) != ["02", "02"] {
            assert!(Instant::now() < deadline, "no keepalive on both sides: {:?}", timers(port));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.close().await;
    });
    echo.end();
}

// D13

/// Works for 300 ms and says what became of it.
#[derive(Service)]
#[did(1, execute = async fn work(cx) -> u32)]
struct Worker {
    ended: mpsc::Sender<&'static str>,
}

struct Work(mpsc::Sender<&'static str>, &'static str);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

impl Worker {
    async fn work(cx: Call<Self>) -> u32 {
        let mut work = Work(cx.actor(|this| this.ended.clone()).await, "cancelled");
        let _ = work.0.send("begun");
        tokio::time::sleep(Duration::from_millis(300)).await;
        work.1 = "done";
        1
    }
}

#[test]
fn d_13_peer_half_closes_after_its_request() {
    let (ended, outcomes) = mpsc::channel();
    let disconnects = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&disconnects);
    let builder = server("tcp://127.0.0.1:0").service(Worker { ended }).on_event(move |_, event| {
        if let ConnectionEvent::Disconnected { reason } = event {
            list.lock().unwrap().push(reason.to_string());
        }
    });
    let server = start(builder);
    for (round, wire) in WIRES.into_iter().enumerate() {
        let mut peer = Raw::connect(server.address(), wire);
        peer.send_text(m(0, 30, 1, "null"));
        assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), "begun");
        // Whether it still reads or has gone for good cannot be told: what runs for it ends, and so does the line.
        peer.finish();
        assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), "cancelled");
        peer.expect_end();
        let deadline = Instant::now() + PATIENCE;
        while disconnects.lock().unwrap().len() <= round || !server.peers().is_empty() {
            assert!(Instant::now() < deadline, "the end is not told");
            thread::yield_now();
        }
    }
    assert_eq!(*disconnects.lock().unwrap(), ["closed by the peer"; 2], "once for each");
    probe(server.address());
}

#[test]
fn d_13_half_closed_lines_cost_nothing() {
    let echo = Echo::start();
    let mut base = echo.base();
    let mut peers: Vec<_> = (0..50).map(|_| echo.connect(Wire::Length)).collect();
    for peer in &mut peers {
        peer.probe();
        peer.finish();
    }
    // They are given up although the other side keeps its end.
    echo.is_back_at(&mut base, 16 << 20);
    echo.is_idle();
    drop(peers);
    echo.end();
}

// D14

/// As many requests as go into one connection, with answers that do not fit into the buffers of both sockets.
const REQUESTS: usize = 100;
const LARGE: usize = 128 * 1024;

fn large_request() -> String {
    m(0, 10, 1, &format!("\"{}\"", "x".repeat(LARGE)))
}

/// Reads whole answers up to the end of the line, which has to be a clean one.
fn answers_up_to_the_end(peer: &mut Raw) -> usize {
    let mut answers = 0;
    while let Some(answer) = peer.receive_clean() {
        assert_eq!((answer.service_id, answer.data_id, answer.data().len()), (11, 1, LARGE + 2));
        answers += 1;
    }
    answers
}

#[test]
fn d_14_last_reply_lost_because_of_an_early_close() {
    for wire in WIRES {
        for stop_at in [1, 1, 1, 20, 60] {
            let answered = Arc::new(AtomicUsize::new(0));
            let holder: Arc<Mutex<Option<Server>>> = Arc::default();
            let (count, held) = (Arc::clone(&answered), Arc::clone(&holder));
            let answer = move |message: &Message| {
                if count.fetch_add(1, Ordering::SeqCst) + 1 == stop_at {
                    let server: Server = held.lock().unwrap().take().unwrap();
                    tokio::spawn(async move { server.shutdown().await });
                }
                Ok(message.json().clone())
            };
            let read = Some(ServiceId::READ_REQUEST);
            let server =
                start(Server::bind("tcp://127.0.0.1:0").register_callback(read, Some(1.into()), answer));
            let mut peer = Raw::connect(server.address(), wire);
            *holder.lock().unwrap() = Some(server);
            let mut writer = peer.writer();
            let writing = thread::spawn(move || {
                // Until the line ends.
                let request = wire.frame(large_request());
                (0..REQUESTS).take_while(|_| writer.try_send(&request)).count()
            });
            let received = answers_up_to_the_end(&mut peer);
            drop(peer);
            writing.join().unwrap();
            let answered = answered.load(Ordering::SeqCst);
            assert!(answered >= stop_at);
            assert_eq!(received, answered, "{wire:?}: every answer that was given is received");
        }
    }
}

#[test]
fn d_14_a_server_told_to_end_sends_what_it_has_answered() {
    let mut echo = Echo::start();
    let mut peer = echo.connect(Wire::Length);
    peer.send(&peer.wire.frame(large_request()).repeat(3));
    peer.wait_for_bytes();
    kill_process(echo.process(), Signal::TERM).unwrap();
    assert!((1..=3).contains(&answers_up_to_the_end(&mut peer)));
    echo.ended();
}

// D15

/// Answers what a client begins with.
fn begin(peer: &mut Raw) {
    for service_id in [0xFFFF_0000, 8] {
        let request = peer.receive().unwrap();
        assert_eq!(request.service_id, service_id, "each line begins anew, with a whole frame");
        peer.send_text(request.answer(if service_id == 8 { "null" } else { HELLO }));
    }
}

#[test]
fn d_15_write_to_a_dead_socket() {
    const RESETS: usize = 3;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let fake = thread::spawn(move || {
        for _ in 0..RESETS {
            let mut peer = Raw::accept(&listener, Wire::Length);
            begin(&mut peer);
            // A part of the large one has come. Closed with the rest unread, the line is reset.
            peer.wait_for_bytes();
        }
        let mut peer = Raw::accept(&listener, Wire::Length);
        begin(&mut peer);
        let request = peer.receive().unwrap();
        assert_eq!(request.show(), r#"20/1: "small""#, "nothing is left of the large one");
        peer.send_text(request.answer("null"));
        peer.expect_end();
    });
    block_on(async {
        let quick = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        let client = Client::connect(&address).backoff(quick).await.unwrap();
        let large = "x".repeat(7 << 20);
        for _ in 0..RESETS {
            let error = client.write(1, &large).timeout(PATIENCE).await.unwrap_err();
            assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
        }
        client.write(1, "small").timeout(PATIENCE).await.unwrap();
        client.close().await;
    });
    fake.join().unwrap();
}

#[test]
fn d_15_a_peer_that_resets_while_it_is_answered_harms_nobody_else() {
    let echo = Echo::start();
    let mut base = echo.base();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        peer.send(&wire.frame(m(0, 10, 1, &format!("\"{}\"", "x".repeat(1 << 20)))).repeat(10));
        // The rest is unread when it closes, so it resets.
        peer.wait_for_bytes();
    }
    echo.is_back_at(&mut base, 64 << 20);
    echo.end();
}

#[test]
fn d_15_programs_whose_output_nobody_reads_do_their_work() {
    let (_held, address) = nobody();
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(example(name));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().unwrap();
        // As behind `| head -1`.
        drop(program.stdout.take());
        program
    };
    let mut server = run("thermostat", &["--listen", &address]);
    let deadline = Instant::now() + PATIENCE;
    while block_on(Client::connect(&address).into_future()).is_err() {
        assert!(Instant::now() < deadline && server.try_wait().unwrap().is_none(), "it does not listen");
    }
    wait_for_signal_handler(server.id());
    let client = run("client", &[&address, "--setpoint", "21"]).wait_with_output().unwrap();
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    for output in [client, server.wait_with_output().unwrap()] {
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && log.is_empty(), "{}\n{log}", output.status);
    }
}

// D16

/// Whether the machine has IPv6; tests that need it pass without.
fn has_ipv6(test: &str) -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("{test}: this machine has no IPv6, so nothing is tested");
    }
    has
}

/// Connects through an address and asks.
fn ask(address: String) -> Result<(), Error> {
    block_on(async {
        let client = Client::connect(address).await?;
        client.read::<()>(4711).await?;
        client.close().await;
        Ok(())
    })
}

fn port(server: &Server) -> &str {
    server.address().rsplit(':').next().unwrap()
}

#[test]
fn d_16_localhost_is_tried_at_all_its_addresses() {
    let server = start(server("tcp://127.0.0.1:0"));
    ask(format!("tcp://localhost:{}", port(&server))).unwrap();
}

#[test]
fn d_16_ipv6_addresses_stand_in_brackets() {
    if !has_ipv6("d_16_ipv6_addresses_stand_in_brackets") {
        return;
    }
    let server = start(server("tcp://[::1]:0"));
    assert!(server.address().starts_with("tcp://[::1]:"), "{}", server.address());
    ask(server.address().to_owned()).unwrap();
    let error = ask(format!("tcp://::1:{}", port(&server))).unwrap_err();
    assert!(
        error.to_string().contains("an IPv6 address stands in brackets, write tcp://[::1]:PORT"),
        "{error}"
    );
    // Where a name has both addresses, that of IPv4 is tried as well, and refused.
    let localhost = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).unwrap();
    let is_both = localhost.into_iter().any(|address| address.is_ipv6());
    let outcome = ask(format!("tcp://localhost:{}", port(&server)));
    assert_eq!(outcome.is_ok(), is_both, "{outcome:?}");
}

#[test]
fn d_16_a_listener_on_all_addresses_is_reached_by_each() {
    for (place, reached) in [("0.0.0.0", &["127.0.0.1", "localhost"][..]), ("[::]", &["[::1]"])] {
        if place == "[::]" && !has_ipv6("d_16_a_listener_on_all_addresses_is_reached_by_each") {
            continue;
        }
        let address = format!("tcp://{place}:0");
        let error = block_on(server(&address).start()).unwrap_err();
        assert!(error.to_string().contains("allow_plaintext"), "{error}");
        let server = start(server(&address).allow_plaintext(true));
        for host in reached {
            ask(format!("tcp://{host}:{}", port(&server))).unwrap();
        }
        // The system says whether a listener on all addresses of IPv6 is one of IPv4 too.
        let only = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap_or_default();
        if place == "[::]" && only.trim() == "0" {
            ask(format!("tcp://127.0.0.1:{}", port(&server))).unwrap();
        }
    }
}

// D23

/// Begins something and is a long time about it.
#[derive(Service)]
#[did(1, execute = async fn begin(cx))]
struct Patient {
    begun: mpsc::Sender<()>,
}

impl Patient {
    async fn begin(cx: Call<Self>) {
        cx.actor(|this| this.begun.send(())).await.unwrap();
        std::future::pending::<()>().await;
    }
}

#[test]
fn d_23_small_message_latency() {
    /// Nagle's delay together with delayed acknowledgements costs 40 ms a call.
    const DELAYED: Duration = Duration::from_millis(20);

    let (begun, has_begun) = mpsc::channel();
    let server = start(server("tcp://127.0.0.1:0").service(Patient { begun }));
    for way in ["", "?peer=old"] {
        block_on(async {
            let client = Client::connect(format!("{}{way}", server.address())).await.unwrap();
            let (mut alone, mut behind_another) = (Vec::new(), Vec::new());
            let ask = async |number: u32| {
                let begun = Instant::now();
                let answer: u32 = client.call(ServiceId::READ_REQUEST, 1, &number).await.unwrap();
                assert_eq!(answer, number);
                begun.elapsed()
            };
            for number in 0..1_000 {
                alone.push(ask(number).await);
            }
            let mut unanswered = Vec::new();
            for number in 0..50 {
                // It has arrived and has no answer, so nothing has been acknowledged when the next one is sent.
                unanswered.push(tokio::spawn(client.execute::<_, ()>(1, &()).timeout(PATIENCE)));
                tokio::task::yield_now().await;
                has_begun.recv_timeout(PATIENCE).unwrap();
                behind_another.push(ask(number).await);
            }
            for mut times in [alone, behind_another] {
                times.sort_unstable();
                let median = times[times.len() / 2];
                assert!(median < DELAYED, "{way}: the median is {median:?}");
            }
        });
    }
}
