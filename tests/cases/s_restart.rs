//! S: peers that are not there yet, or come back as others.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Limits, Peer};

use crate::cable::{Cable, Tty};
use crate::s_wire::{RawPort, echo_server};
use crate::support::{Echo, HELLO, PATIENCE, block_on, example, m, start};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret() -> Secret {
    Secret::from_text(SECRET).unwrap()
}

/// What an endpoint was told.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn follow(&self) -> impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static {
        let list = Arc::clone(&self.0);
        move |_, event| {
            let event = match event {
                ConnectionEvent::Disconnected { reason } => reason.to_string(),
                other => format!("{other:?}"),
            };
            list.lock().unwrap().push(event);
        }
    }

    fn list(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A program that was killed leaves a pseudo terminal exclusive for as long as its other end is open; a port of the
/// machine is free again.
fn release(tty: &Tty) {
    rustix::termios::ioctl_tiocnxcl(&tty.port).unwrap();
}

// S06

#[test]
fn s_06_boot_chatter_and_reset_on_open() {
    const BOOT: Duration = Duration::from_millis(1_200);

    let tty = Tty::new();
    let events = Events::default();
    let heard = events.clone();
    let url = tty.url();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            block_on(async {
                let client = Client::connect(url).on_event(events.follow()).await.unwrap();
                assert_eq!(client.call::<_, u32>(10, 1, &5).await.unwrap(), 5);
                client.close().await;
            });
        });
        // The board resets when the port is opened, which its first bytes show.
        let mut first = Vec::new();
        while first.is_empty() {
            first = tty.read();
        }
        let begun = Instant::now();
        let mut chatter = b"ets Jun  8 2016\r\nrst:0x1 (POWERON_RESET):<\r\n".chunks(5).cycle();
        while begun.elapsed() < BOOT {
            tty.write(chatter.next().unwrap());
            tty.read();
        }
        assert_eq!(heard.list(), ["Connected"], "ready before anybody has answered");
        let mut port = RawPort::new(&tty);
        loop {
            let message = port.receive();
            match message.service_id {
                10 => {
                    port.send_text(message.answer("5"));
                    break;
                }
                service_id if service_id == ServiceId::HELLO_REQUEST.value() => {
                    port.send_text(message.answer(HELLO));
                }
                _ => port.send_text(message.answer("null")),
            }
        }
        client.join().unwrap();
    });
    assert_eq!(events.list()[..2], ["Connected", "Ready"]);
}

#[test]
fn s_06_a_server_that_comes_later_is_waited_for() {
    let (left, right) = (Tty::new(), Tty::new());
    let url = left.url();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            block_on(async {
                let client = Client::connect(url).secret(secret()).await.unwrap();
                assert_eq!(client.call::<_, u32>(10, 1, &5).await.unwrap(), 5);
                client.close().await;
            });
        });
        while left.read().is_empty() {}
        let _cable = Cable::new(&left, &right);
        let server = start(echo_server(right.url()).secret(secret()));
        client.join().unwrap();
        block_on(server.shutdown()).unwrap();
    });
}

#[test]
fn s_06_nobody_answers() {
    let tty = Tty::new();
    let refused = block_on(Client::connect(tty.url()).into_future()).unwrap_err();
    assert!(matches!(refused, Error::NotReady { .. }), "{refused}");
    for word in ["nobody answers", "baud rate", "crossed", "peer=old", &tty.url()] {
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

// S09

#[test]
fn s_09_the_server_restarts_on_a_line_without_connection_state() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    let run = || Echo::with(&["--listen", &right.url(), "--secret", SECRET], "warn");
    let echo = run();
    let events = Events::default();
    let client =
        block_on(Client::connect(left.url()).secret(secret()).on_event(events.follow()).into_future());
    let client = client.unwrap();
    let read = |number: u32| block_on(client.call::<_, u32>(10, 1, &number).timeout(PATIENCE).into_future());
    assert_eq!(read(1).unwrap(), 1);
    // Killed, not told to end.
    drop(echo);
    release(&right);
    let mut echo = run();
    // It may reach the new server before that has said that it is another.
    if let Err(error) = read(2) {
        assert!(matches!(error, Error::Fault { .. } | Error::ConnectionLost { .. }), "{error}");
    }
    assert_eq!(read(3).unwrap(), 3);
    assert_eq!(events.list(), ["Connected", "Ready", "the peer has restarted", "Connected", "Reconnected"]);
    block_on(client.close());
    echo.end_unasked();
}

#[test]
fn s_09_the_client_restarts_on_a_line_without_connection_state() {
    let (left, right) = (Tty::new(), Tty::new());
    let cable = Cable::new(&left, &right);
    let events = Events::default();
    let server = start(echo_server(right.url()).secret(secret()).on_event(events.follow()));
    let mut first = Command::new(example("client"))
        .args([&left.url(), "--secret", SECRET])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // HELLO, the channel name, both steps of the login, and a request.
    let begun = Instant::now();
    while !events.list().contains(&"Ready".to_owned()) {
        assert!(begun.elapsed() < PATIENCE, "the client never logs in: {:?}", events.list());
        thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    release(&left);
    let client = block_on(Client::connect(left.url()).secret(secret()).into_future()).unwrap();
    assert_eq!(block_on(client.call::<_, u32>(10, 1, &3).into_future()).unwrap(), 3);
    assert_eq!(events.list(), ["Connected", "Ready", "the peer has restarted", "Connected", "Reconnected"]);
    assert_eq!(server.peers().len(), 1);
    block_on(client.close());
    drop(cable);
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_09_a_heartbeat_tells_of_a_restart() {
    let tty = Tty::new();
    let mut port = RawPort::new(&tty);
    let url = tty.url();
    let events = Events::default();
    let mut limits = Limits::default();
    (limits.heartbeat_interval, limits.heartbeat_timeout) = (Duration::from_millis(50), PATIENCE);
    let hello = |session: &str| {
        format!(r#"{{"session":"{session}","features":["heartbeat"],"max_frame":100000,"max_in_flight":8}}"#)
    };
    let mut session = "00000000000000a1";
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            block_on(async {
                let client = Client::connect(url).limits(limits).on_event(events.follow()).await.unwrap();
                // Nobody is left who would answer.
                let answer = client.call::<_, u32>(10, 1, &5).timeout(PATIENCE).await;
                assert!(matches!(answer, Err(Error::ConnectionLost { .. })), "{answer:?}");
                assert_eq!(client.call::<_, u32>(10, 2, &6).timeout(PATIENCE).await.unwrap(), 6);
                client.close().await;
            });
        });
        let mut is_called = false;
        loop {
            let message = port.receive();
            match (ServiceId::new(message.service_id), message.data_id) {
                (ServiceId::HELLO_REQUEST, _) => port.send_text(message.answer(&hello(session))),
                (ServiceId::HEARTBEAT_REQUEST, _) => {
                    if is_called {
                        session = "00000000000000a2";
                    }
                    port.send_text(message.answer(&format!(r#"{{"session":"{session}"}}"#)));
                }
                (ServiceId::READ_REQUEST, 1) => is_called = true,
                (ServiceId::READ_REQUEST, 2) => {
                    port.send_text(message.answer("6"));
                    break;
                }
                _ => port.send_text(message.answer("null")),
            }
        }
        client.join().unwrap();
    });
    let told = ["Connected", "Ready", "the peer has restarted", "Connected", "Reconnected"];
    assert_eq!(events.list()[..5], told);
}

#[test]
fn s_09_status_3_alone_tells_of_a_restart() {
    let tty = Tty::new();
    let mut port = RawPort::new(&tty);
    let url = format!("{}&peer=old", tty.url());
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            block_on(async {
                let client = Client::connect(url).secret(secret()).await.unwrap();
                let refused = client.call::<_, u32>(10, 1, &5).await.unwrap_err();
                assert!(matches!(refused, Error::Fault { .. }), "{refused}");
                assert_eq!(client.call::<_, u32>(10, 2, &6).await.unwrap(), 6);
                client.close().await;
            });
        });
        let mut logins = 0;
        loop {
            let message = port.receive();
            match (message.service_id, message.data_id) {
                (0, 0) => port.send_text(message.answer(&format!("\"{}\"", "0f".repeat(32)))),
                (0, 1) => {
                    logins += 1;
                    port.send_text(message.answer("true"));
                }
                (10, 1) => port.send_text(m(3, 11, 1, "null")),
                (10, 2) => {
                    port.send_text(message.answer("6"));
                    break;
                }
                _ => port.send_text(message.answer("null")),
            }
        }
        assert_eq!(logins, 2);
        client.join().unwrap();
    });
}
