//! Group W, WebSocket lines: kinds of messages, fragments, pings, limits, handshakes, ends.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Backoff, Client, ConnectionEvent, Limits};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{Echo, HELLO, Received, block_on, m, sealed, start};
use crate::web::{BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT, Web, framed, header, request};

fn echo() -> Echo {
    Echo::with(&["--websocket"], "warn")
}

/// A client of this process that connects to a listener of the test, and what becomes of its lines.
fn client(listener: &TcpListener, options: &str) -> (Client, Receiver<String>) {
    let (sender, told) = channel();
    let address = format!("ws://{}{options}", listener.local_addr().unwrap());
    let client = Client::connect(address)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
        .on_event(move |_, event| {
            if let ConnectionEvent::Disconnected { reason } = event {
                let _ = sender.send(reason.to_string());
            }
        })
        .lazy();
    (block_on(async { client.await }).unwrap(), told)
}

/// Waits for the client, and takes what it begins with.
fn accepted(listener: &TcpListener) -> Web {
    let mut web = Web::accept(listener);
    let hello = web.message();
    web.send_text(hello.answer(HELLO));
    let name = web.message();
    web.send_text(name.answer("null"));
    web
}

/// A call under way.
fn asked(client: &Client) -> JoinHandle<socketproto::Result<f64>> {
    let client = client.clone();
    thread::spawn(move || block_on(client.read(1)))
}

#[test]
fn w_01_text_or_binary_messages() {
    let echo = echo();
    let text = m(0, 20, 5, r#""22 °C""#);
    let mut peer = Web::connect(&echo.address);
    peer.send_frame(FINAL | BINARY, &sealed(&text));
    assert_eq!(peer.answer(), r#"21/5: "22 °C""#);

    peer.send_frame(FINAL | TEXT, text.as_bytes());
    let reason = "a text message; frames are sent as binary messages";
    assert_eq!(peer.closed(), (u16::from(CloseCode::Unsupported), reason.to_owned()));

    let mut peer = Web::connect(&echo.address);
    peer.send_frame(FINAL | TEXT, &sealed(&text));
    let (code, _) = peer.closed();
    assert_eq!(code, u16::from(CloseCode::Invalid), "a checksum is no UTF-8");
    echo.end();
}

#[test]
fn w_01_our_client_sends_binary_messages_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, _told) = client(&listener, "");
    let mut server = accepted(&listener);
    let call = asked(&client);
    let request = server.message();
    server.send_text(request.answer("22.5"));
    assert_eq!(call.join().unwrap().unwrap(), 22.5);
    block_on(client.close());
    assert_eq!(server.closed(), (u16::from(CloseCode::Normal), String::new()));
}

#[test]
fn w_02_fragments_with_a_ping_between_them() {
    let echo = echo();
    let mut peer = Web::connect(&echo.address);
    let frame = sealed(m(0, 20, 7, r#""in three parts""#));
    let (first, rest) = frame.split_at(10);
    let (second, third) = rest.split_at(20);
    peer.send_frame(BINARY, first);
    let data = [7; 125];
    peer.send_frame(FINAL | PING, &data);
    let pong = peer.receive().unwrap();
    assert_eq!((pong.first, pong.payload), (FINAL | PONG, data.to_vec()));
    peer.send_frame(CONTINUATION, second);
    peer.send_frame(FINAL | CONTINUATION, third);
    assert_eq!(peer.answer(), r#"21/7: "in three parts""#);

    for byte in frame.clone() {
        peer.send_frame(if byte == b'{' { BINARY } else { CONTINUATION }, &[byte]);
    }
    peer.send_frame(FINAL | CONTINUATION, b"");
    assert_eq!(peer.answer(), r#"21/7: "in three parts""#);
    echo.end();
}

#[test]
fn w_02_one_message_is_one_frame() {
    let echo = echo();
    let mut peer = Web::connect(&echo.address);
    let frame = sealed(m(0, 20, 7, "1"));
    peer.send_frame(FINAL | BINARY, &[&frame[..], &frame].concat());
    let (half, other) = frame.split_at(frame.len() / 2);
    peer.send_frame(FINAL | BINARY, half);
    peer.send_frame(FINAL | BINARY, other);
    peer.send_frame(FINAL | BINARY, b"");
    peer.probe();
    let log = echo.end();
    assert_eq!(log.matches("malformed frame dropped").count(), 1, "{log}");
}

#[test]
fn w_02_what_the_rfc_forbids_closes_with_1002() {
    let echo = echo();
    for frame in [
        framed(FINAL | BINARY, b"unmasked", false),
        framed(FINAL | PING, &[0; 126], true),
        framed(PING, b"in fragments", true),
        framed(FINAL | CONTINUATION, b"of nothing", true),
        framed(FINAL | BINARY | 0x40, b"a reserved bit", true),
        framed(FINAL | 0x3, b"a reserved opcode", true),
        framed(FINAL | 0xB, b"another one", true),
        [framed(BINARY, b"a message", true), framed(FINAL | BINARY, b"in a message", true)].concat(),
        header(FINAL | PING, u64::MAX, true),
    ] {
        let mut peer = Web::connect(&echo.address);
        peer.send(&frame);
        let (code, reason) = peer.closed();
        assert_eq!(code, u16::from(CloseCode::Protocol), "{reason}");
    }
    echo.end();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, told) = client(&listener, "");
    let mut server = accepted(&listener);
    server.send(&framed(FINAL | BINARY, b"masked", true));
    assert_eq!(server.closed().0, u16::from(CloseCode::Protocol));
    let reason = "against the rules of WebSocket: Received a masked frame from server";
    assert_eq!(told.recv().unwrap(), reason);
    accepted(&listener);
    block_on(client.close());
}

#[test]
fn w_03_a_ping_is_answered_without_the_application() {
    let echo = echo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, _told) = client(&listener, "");
    for mut peer in [Web::connect(&echo.address), accepted(&listener)] {
        for data in [&b""[..], b"still there?"] {
            peer.send_frame(FINAL | PING, data);
            let pong = peer.receive().unwrap();
            assert_eq!((pong.first, &pong.payload[..]), (FINAL | PONG, data));
        }
        // A pong that nobody asked for is no message.
        peer.send_frame(FINAL | PONG, b"by the way");
        peer.send_frame(FINAL | PING, b"");
        assert_eq!(peer.receive().unwrap().first, FINAL | PONG);
    }
    block_on(client.close());
    echo.end();
}

#[test]
fn w_03_an_idle_line_is_pinged_and_one_that_does_not_answer_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, told) = client(&listener, "?ping=1");
    let mut server = accepted(&listener);
    let ping = server.receive().unwrap();
    assert_eq!((ping.first, ping.masked), (FINAL | PING, true));
    server.send_frame(FINAL | PONG, &ping.payload);
    assert_eq!(server.receive().unwrap().first, FINAL | PING);
    let reason = told.recv().unwrap();
    assert!(reason.starts_with("the peer has been silent for "), "{reason}");
    assert!(reason.ends_with(" and answers no ping"), "{reason}");
    accepted(&listener);
    block_on(client.close());

    let server = start(Server::bind("ws://127.0.0.1:0?ping=1"));
    let mut peer = Web::connect(server.address());
    let ping = peer.receive().unwrap();
    assert_eq!((ping.first, ping.masked), (FINAL | PING, false));
}

#[test]
fn w_03_pings_of_one_who_does_not_read_gather_nowhere() {
    // More than the buffers of both sockets take.
    const PINGS: usize = 120_000;
    let echo = echo();
    let mut base = echo.base();
    let mut peer = Web::connect(&echo.address);
    let pings = peer.frame(FINAL | PING, &[b'p'; 125]).repeat(PINGS / 100);
    for _ in 0..100 {
        peer.send(&pings);
    }
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    peer.send_text(m(0, 20, 7, &text));
    // While the server could not send, it answered the newest alone.
    let mut pongs = 0;
    let mut message = Vec::new();
    loop {
        let frame = peer.receive().expect("the connection lives");
        match frame.first {
            first if first == FINAL | PONG => pongs += 1,
            first => {
                message.extend(frame.payload);
                if first & FINAL != 0 {
                    break;
                }
            }
        }
    }
    assert!((1..=PINGS).contains(&pongs));
    assert_eq!(Received::read(&message).show(), format!("21/7: {text}"));
    drop(peer);
    echo.is_back_at(&mut base, 2 << 20);
    echo.end();
}

#[test]
fn w_04_a_peer_that_reads_nothing_is_cut() {
    let (sender, told) = channel();
    let mut limits = Limits::default();
    limits.write_timeout = Duration::from_millis(300);
    let server = start(
        Server::bind("ws://127.0.0.1:0")
            .limits(limits)
            .register_callback(None, None, |message| Ok(message.json().clone()))
            .on_event(move |_, event| {
                if let ConnectionEvent::Disconnected { reason } = event {
                    let _ = sender.send(reason.to_string());
                }
            }),
    );
    let mut peer = Web::connect(server.address());
    let request = peer.frame(FINAL | BINARY, &sealed(m(0, 20, 7, &format!("\"{}\"", "x".repeat(1 << 20)))));
    while std::io::Write::write_all(&mut peer.stream, &request).is_ok() {}
    let reason = told.recv().unwrap();
    assert!(reason.starts_with("slow reader"), "{reason}");
}

#[test]
fn w_04_a_message_above_the_limit_says_why_on_both_sides() {
    const LIMIT: u64 = 8 * 1024 * 1024;
    let echo = echo();
    let reason = "a frame of 8388609 bytes exceeds max_frame of 8388608";
    for fragments in [false, true] {
        let mut peer = Web::connect(&echo.address);
        if fragments {
            peer.send_frame(BINARY, &[0]);
            peer.send(&header(FINAL | CONTINUATION, LIMIT, true));
        } else {
            peer.send(&header(FINAL | BINARY, LIMIT + 1, true));
        }
        // The peer goes on sending, and still gets to see why.
        let _ = std::io::Write::write_all(&mut peer.stream, &[0; 100_000]);
        assert_eq!(peer.closed(), (u16::from(CloseCode::Size), reason.to_owned()));
    }
    let log = echo.end();
    assert!(log.contains(reason), "{log}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, told) = client(&listener, "");
    let mut server = accepted(&listener);
    let call = asked(&client);
    server.message();
    server.send(&header(FINAL | BINARY, LIMIT + 1, false));
    let error = call.join().unwrap().unwrap_err().to_string();
    assert!(error.ends_with(&format!("outcome unknown: {reason}")), "{error}");
    assert_eq!(told.recv().unwrap(), reason);
    assert_eq!(server.closed(), (u16::from(CloseCode::Size), reason.to_owned()));
    // The call is over: the next line does not carry it again.
    let mut server = accepted(&listener);
    server.send_frame(FINAL | PING, b"");
    assert_eq!(server.receive().unwrap().first, FINAL | PONG);
    block_on(client.close());
}

#[test]
fn w_04_before_trust_a_message_is_cut_at_4_kib() {
    let echo = Echo::with(&["--websocket", "--secret", "a secret of more than 16 bytes"], "warn");
    let mut peer = Web::connect(&echo.address);
    peer.send_frame(FINAL | BINARY, &[0; 4096]);
    peer.send(&header(FINAL | BINARY, 4097, true));
    let reason = "a frame of 4097 bytes exceeds untrusted_max_frame of 4096";
    assert_eq!(peer.closed(), (u16::from(CloseCode::Size), reason.to_owned()));
}

#[test]
fn w_05_bad_upgrade_requests() {
    let echo = echo();
    let mut never = Web::open(&echo.address);
    never.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnec");
    let large = format!("X-Padding: {}\r\n", "x".repeat(1 << 20));
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426 Upgrade Required"),
        (request("/", "").replace("Version: 13", "Version: 8"), "426 Upgrade Required"),
        (request("/", "").replace("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required"),
        (request("/", "").replace("GET", "GETX"), "405 Method Not Allowed"),
        (request("/", "").replace("Key: d", "Key: "), "400 Bad Request"),
        (request("/", "").replace("HTTP/1.1", "HTTP/1.0"), "400 Bad Request"),
        (request("/", "\0: x\r\n"), "400 Bad Request"),
        (request("/", "") + "more", "400 Bad Request"),
        (request("/other", ""), "404 Not Found"),
        (request("/", "Origin: http://evil.example\r\n"), "403 Forbidden"),
        (request("/other", "Origin: http://evil.example\r\n").replace("13", "8"), "403 Forbidden"),
        (request("/", "Origin: null\r\n"), "403 Forbidden"),
        (request("/", &large), "431 Request Header Fields Too Large"),
    ] {
        let mut peer = Web::open(&echo.address);
        let _ = std::io::Write::write_all(&mut peer.stream, request.as_bytes());
        let answer = peer.head();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{expected}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        if expected.starts_with("426") && request.contains("Upgrade: websocket") {
            assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
        }
        assert!(peer.rest().ends_with('\n'), "the reason in words");
    }
    // Whatever begins with another byte gets no answer at all (protocol.md section 3).
    for request in ["HEAD / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n"] {
        let mut peer = Web::open(&echo.address);
        peer.send(request.as_bytes());
        assert_eq!(peer.rest(), "");
    }
    Web::connect(&echo.address).probe();
    drop(never);
    echo.end();
}

#[test]
fn w_05_a_request_that_comes_byte_by_byte_is_taken() {
    let echo = echo();
    let mut peer = Web::open(&echo.address);
    let headers = format!("Cookie: {}\r\nX-Name: ü\r\n", "c".repeat(12_000));
    for byte in request("/?token=1", &headers).bytes() {
        peer.send(&[byte]);
    }
    assert!(peer.head().starts_with("HTTP/1.1 101 "));
    peer.probe();
    echo.end();
}

#[test]
fn w_05_an_upgrade_that_is_never_finished_ends_in_time() {
    let mut limits = Limits::default();
    limits.first_byte_timeout = Duration::from_millis(50);
    let server = start(Server::bind("ws://127.0.0.1:0").limits(limits));
    for begin in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut peer = Web::open(server.address());
        peer.send(begin.as_bytes());
        assert_eq!(peer.rest(), "");
    }
    // Behind the handshake a silent client may stay.
    let mut silent = Web::connect(server.address());
    Web::open(server.address()).rest();
    silent.send_frame(FINAL | PING, b"");
    assert_eq!(silent.receive().unwrap().first, FINAL | PONG);
}

#[test]
fn w_06_every_end_is_told_at_once_and_the_client_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, told) = client(&listener, "");
    let next = || accepted(&listener);
    let ended = |expected: &str| assert_eq!(told.recv().unwrap(), expected);

    drop(next());
    ended("the peer ended the connection without a close frame");

    let mut server = next();
    server.send(&[FINAL | BINARY, 100, 0]);
    drop(server);
    ended("the peer ended the connection without a close frame");

    // What was not read resets the connection.
    let server = next();
    let call = asked(&client);
    server.stream.peek(&mut [0]).unwrap();
    drop(server);
    call.join().unwrap().unwrap_err();
    ended("closed by the peer");

    for (code, reason, expected) in [
        (1012, "service restart", "closed by the peer: 1012 service restart"),
        (1012, "", "closed by the peer: 1012 service restart"),
        (1001, "", "closed by the peer: 1001 going away"),
        (4711, "ende\ngut", "closed by the peer: 4711 ende\u{FFFD}gut"),
        (4000, "", "closed by the peer: 4000"),
        (1000, "all done", "closed by the peer: 1000 all done"),
        (1000, "", "closed by the peer"),
    ] {
        // A close frame, then nothing: the connection stays open on this side.
        let mut server = next();
        server.close(code, reason);
        ended(expected);
        let answer = server.receive().unwrap();
        assert_eq!((answer.first, &answer.payload[..2]), (FINAL | CLOSE, &code.to_be_bytes()[..]));
    }
    let mut server = next();
    server.send_frame(FINAL | CLOSE, b"");
    ended("closed by the peer");
    next();
    block_on(client.close());
}

#[test]
fn w_06_a_server_that_shuts_down_says_1001_and_does_not_wait_long() {
    let server = start(Server::bind("ws://127.0.0.1:0"));
    let mut peer = Web::connect(server.address());
    let mut silent = Web::connect(server.address());
    block_on(server.shutdown()).unwrap();
    assert_eq!(peer.closed(), (u16::from(CloseCode::Away), String::new()));
    assert_eq!(silent.closed(), (u16::from(CloseCode::Away), String::new()));
}
