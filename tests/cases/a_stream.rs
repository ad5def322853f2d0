//! Group A, frames in a byte stream: where reads end, where connections end, who writes at once.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha512};
use socketproto::prelude::*;
use socketproto::{Level, Message};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpSocket;

use crate::support::{Echo, HELLO, Noise, PATIENCE, Raw, WIRES, Wire, block_on, m, probe, start};

#[test]
fn a_01_two_messages_in_one_tcp_segment() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let server =
        start(Server::bind("tcp://127.0.0.1:0").register_callback(None, None, move |message: &Message| {
            seen.lock().unwrap().push((message.service_id().value(), message.data_id().value()));
            Ok(message.json().clone())
        }));
    for wire in WIRES {
        let mut peer = Raw::connect(server.address(), wire);
        let messages = [m(0, 10, 1, "null"), m(0, 10, 2, "null"), m(0, 20, 3, r#"{"level":125}"#)];
        peer.send(&messages.map(|text| wire.frame(text)).concat());
        assert_eq!(peer.answer(), "11/1: null");
        assert_eq!(peer.answer(), "11/2: null");
        assert_eq!(peer.answer(), r#"21/3: {"level":125}"#);
        assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), [(10, 1), (10, 2), (20, 3)]);
        peer.probe();
        calls.lock().unwrap().clear();
    }
}

#[test]
fn a_02_fifty_glued_messages_plus_the_head_of_the_next() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for data in ["51".to_owned(), format!("\"{}\"", "x".repeat(20 * 1024))] {
            let mut bytes: Vec<u8> =
                (1..=50).flat_map(|id| wire.frame(m(0, 20, 7, &id.to_string()))).collect();
            let last = wire.frame(m(0, 20, 7, &data));
            let (head, tail) = last.split_at(last.len() * 2 / 5);
            bytes.extend_from_slice(head);
            peer.send(&bytes);
            for id in 1..=50 {
                assert_eq!(peer.answer(), format!("21/7: {id}"));
            }
            peer.send(tail);
            assert_eq!(peer.answer(), format!("21/7: {data}"));
        }
        peer.probe();
    }
    echo.end();
}

#[test]
fn a_03_one_byte_at_a_time() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for byte in wire.frame(m(0, 10, 7, r#""é 😀 :""#)) {
            peer.send(&[byte]);
            // The gap is part of the case: without delay, each byte then is a segment of its own.
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(peer.answer(), r#"11/7: "é 😀 :""#);
        peer.probe();
    }
    echo.end();
}

#[test]
fn a_12_end_of_the_connection_in_the_middle_of_a_frame() {
    let echo = Echo::with(&[], "info");
    let mut base = echo.base();
    let mut opened = 1;
    for wire in WIRES {
        for _ in 0..50 {
            drop(echo.connect(wire));
        }
        let frame = wire.frame(m(0, 10, 1, "null"));
        let cuts = [1, 2, 3, 4, 5, 10, frame.len() / 2, frame.len() - 1];
        for cut in cuts {
            let mut peer = echo.connect(wire);
            peer.send(&frame[..cut]);
            drop(peer);
            let mut peer = echo.connect(wire);
            peer.send(&frame[..cut]);
            peer.finish();
            peer.expect_end();
        }
        opened += 50 + 2 * cuts.len();
    }
    echo.is_idle();
    echo.is_back_at(&mut base, 8 << 20);
    let log = echo.end();
    let count = |text| log.matches(text).count();
    assert!(count("connection accepted") > opened, "{log}");
    assert_eq!(count(" disconnected "), count("connection accepted"), "each ends once");
}

#[test]
fn a_13_parser_state_does_not_survive_into_the_next_connection() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    for wire in WIRES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let option = if wire == Wire::Stp { "?peer=old" } else { "" };
        let got = Arc::new(Mutex::new(Vec::new()));
        let connect = || {
            let got = Arc::clone(&got);
            Client::connect(format!("{address}{option}"))
                .secret(Secret::from_text(SECRET).unwrap())
                .level(Level::Legacy)
                .register_callback(Some(ServiceId::WRITE_REQUEST), None, move |message| {
                    got.lock().unwrap().push((message.data_id().value(), message.json().to_string()));
                    Ok(Json::NULL)
                })
        };
        let fake = thread::spawn(move || {
            // The first connection breaks in the middle of a frame, in both directions.
            let mut first = Raw::accept(&listener, wire);
            log_in(&mut first, SECRET);
            first.wait_for_bytes();
            let frame = wire.frame(m(0, 20, 9, r#""half""#));
            first.send(&frame[..frame.len() / 2]);
            drop(first);

            let mut second = Raw::accept(&listener, wire);
            log_in(&mut second, SECRET);
            assert_eq!(second.ask(20, 9, r#""ok""#), "21/9: null");
        });
        let client = block_on(async {
            let client = connect().await.unwrap();
            let half_sent = client.write(1, &"x".repeat(4 << 20));
            assert!(matches!(half_sent.await, Err(socketproto::Error::ConnectionLost { .. })));
            client
        });
        // It connects again by itself.
        fake.join().unwrap();
        drop(client);
        assert_eq!(*got.lock().unwrap(), [(9, r#""ok""#.to_owned())]);
    }
}

/// The server's side of all that comes before the first call. The client's first bytes are those of a frame.
fn log_in(peer: &mut Raw, secret: &str) {
    let seed = "5e".repeat(32);
    loop {
        let request = peer.receive().expect("the client connects");
        let data = match (request.service_id, request.data_id) {
            (0xFFFF_0000, 0) => HELLO.to_owned(),
            (8, 0) => "null".to_owned(),
            (0, 0) => format!("\"{seed}\""),
            (0, 1) => {
                let key: String =
                    Sha512::digest(format!("{seed}{secret}")).iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(request.data(), format!("\"{key}\""));
                peer.send_text(request.answer("true"));
                return;
            }
            _ => panic!("{}", request.show()),
        };
        peer.send_text(request.answer(&data));
    }
}

#[test]
fn a_14_utf_8_character_cut_in_two_by_the_read_boundary() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        // One period of the pattern has 9 bytes: with all shifts each edge meets each place in each character.
        for (shift, times) in (0..=16).map(|shift| (shift, 50)).chain((0..9).map(|shift| (shift, 8000))) {
            let data = format!("\"{}{}\"", "a".repeat(shift), "😀é—".repeat(times));
            assert_eq!(peer.ask(20, 1, &data), format!("21/1: {data}"), "{wire:?} {shift}");
        }
        let frame = wire.frame(m(0, 20, 1, r#""😀é—""#));
        let start = frame.windows(4).position(|window| window == "😀".as_bytes()).unwrap();
        for cut in start..start + 9 {
            peer.send(&frame[..cut]);
            // Another connection is answered: the first part has been read by then.
            probe(&echo.address);
            peer.send(&frame[cut..]);
            assert_eq!(peer.answer(), r#"21/1: "😀é—""#);
        }
        peer.probe();
    }
    echo.end();
}

/// Keeps the callers' numbers, in both directions.
#[derive(Default)]
struct Order {
    next: [AtomicUsize; THREADS],
    got: AtomicUsize,
}

const THREADS: usize = 8;
const SENDS: usize = 1_000;
/// Calls that a thread has under way at once.
const BATCH: usize = 10;

impl Order {
    /// Takes one message: whole, and the next of its thread.
    fn take(&self, message: &Message) -> Result<Json, Fault> {
        let (thread, number, text): (usize, usize, String) =
            message.data().map_err(|error| Fault::custom(7, error.to_string()))?;
        if text != filling(thread, number) {
            return Err(Fault::custom(8, "damaged"));
        }
        let expected = self.next[thread].fetch_add(1, Ordering::SeqCst);
        if expected != number {
            return Err(Fault::custom(9, format!("{number} instead of {expected}")));
        }
        self.got.fetch_add(1, Ordering::SeqCst);
        Json::encode(&number).map_err(|error| Fault::custom(7, error.to_string()))
    }
}

/// 1 to 20 KiB that thread and number determine.
fn filling(thread: usize, number: usize) -> String {
    let mut noise = Noise((thread << 32 | number) as u64);
    let letter = char::from(b'a' + u8::try_from(noise.below(26)).unwrap());
    let filling = String::from(letter).repeat(1024 + noise.below(19 * 1024));
    format!("{thread}:{number}:{filling}")
}

fn send_all(peer: &Peer) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                block_on(async {
                    for start in (0..SENDS).step_by(BATCH) {
                        let calls = (start..start + BATCH).map(|number| {
                            peer.execute::<_, usize>(1, &(thread, number, filling(thread, number)))
                                .timeout(PATIENCE * 3)
                        });
                        for (number, answer) in (start..).zip(join_all(calls).await) {
                            assert_eq!(answer.unwrap(), number);
                        }
                    }
                });
            });
        }
    });
}

#[derive(Service)]
#[did(2, execute = fn meet(cx))]
struct Meeting {
    met: mpsc::Sender<Peer>,
}

impl Meeting {
    fn meet(&mut self, cx: Call<Self>) {
        self.met.send(cx.peer().clone()).unwrap();
    }
}

#[test]
fn a_17_many_threads_write_on_one_connection() {
    let (to_server, to_client) = (Arc::new(Order::default()), Arc::new(Order::default()));
    let (met, meeting) = mpsc::channel();
    let order = Arc::clone(&to_server);
    let server = start(Server::bind("tcp://127.0.0.1:0").service(Meeting { met }).register_callback(
        Some(ServiceId::EXECUTE_REQUEST),
        Some(1.into()),
        move |message| order.take(message),
    ));
    // Small socket buffers in between: writes are cut in the middle of frames all the time.
    let relay = Relay::start(server.address());
    let order = Arc::clone(&to_client);
    let client = block_on(async {
        let connecting = Client::connect(&relay.0).register_callback(
            Some(ServiceId::EXECUTE_REQUEST),
            Some(1.into()),
            move |message| order.take(message),
        );
        let client = connecting.await.unwrap();
        client.execute::<_, ()>(2, &()).await.unwrap();
        client
    });
    let peer = meeting.recv().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| send_all(&client));
        scope.spawn(|| send_all(&peer));
    });
    for order in [to_server, to_client] {
        assert_eq!(order.got.load(Ordering::SeqCst), THREADS * SENDS);
    }
}

/// Passes bytes on between a client and a server, through small buffers.
struct Relay(String);

impl Relay {
    const BUFFER: u32 = 4 * 1024;

    fn start(server: &str) -> Self {
        let server = server.strip_prefix("tcp://").unwrap().parse().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            block_on(async {
                let small = || {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.set_send_buffer_size(Self::BUFFER).unwrap();
                    socket.set_recv_buffer_size(Self::BUFFER).unwrap();
                    socket
                };
                let socket = small();
                socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let listener = socket.listen(1).unwrap();
                tell.send(format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
                let mut client = listener.accept().await.unwrap().0;
                let mut server = small().connect(server).await.unwrap();
                // It ends with the connection, in whatever way.
                let _ = copy_bidirectional_with_sizes(&mut client, &mut server, 1000, 1000).await;
            });
        });
        Self(told.recv().unwrap())
    }
}
