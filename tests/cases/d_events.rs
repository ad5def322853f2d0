//! D: what is told of a connection, and what may be done when it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use socketproto::prelude::*;
use socketproto::testing::Line;
use socketproto::{Backoff, ConnectionEvent, Error, Message, Peer, ServerBuilder};

use crate::support::{OWN_ADDRESS, PATIENCE, block_on, start_again};

fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(10), Duration::from_millis(200))
}

fn server(address: &str) -> ServerBuilder {
    let echo = |message: &Message| Ok(message.json().clone());
    Server::bind(address).register_callback(Some(ServiceId::READ_REQUEST), None, echo)
}

/// The first word of an event.
fn word(event: &ConnectionEvent) -> String {
    format!("{event:?}").split(' ').next().unwrap().to_owned()
}

// D10

#[test]
fn d_10_disconnect_and_connect_callbacks_once_in_order() {
    const CYCLES: usize = 10;

    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let slow = move |peer: &Peer, event: &ConnectionEvent| {
        let expected = match event {
            ConnectionEvent::Connected => (true, false),
            ConnectionEvent::Ready | ConnectionEvent::Reconnected => (true, true),
            _ => (false, false),
        };
        assert_eq!((peer.is_connected(), peer.is_ready()), expected, "{event:?}");
        // A follower should not do that; the order holds all the same.
        thread::sleep(Duration::from_millis(20));
        assert_eq!((peer.is_connected(), peer.is_ready()), expected, "{event:?}");
        list.lock().unwrap().push(word(event));
    };
    block_on(async {
        let mut server = server(OWN_ADDRESS).start().await.unwrap();
        let address = server.address().to_owned();
        let client = Client::connect(&address).backoff(quick()).on_event(slow).await.unwrap();
        for _ in 0..CYCLES {
            client.read::<()>(4711).timeout(PATIENCE).await.unwrap();
            server.shutdown().await.unwrap();
            // Attempts that fail belong to no connection, so nothing is told of them.
            tokio::time::sleep(Duration::from_millis(40)).await;
            server = start_again(|| self::server(&address)).await;
        }
        client.read::<()>(4711).timeout(PATIENCE).await.unwrap();
        client.close().await;
        let told = seen.lock().unwrap().len();
        drop(server);
        let _server = start_again(|| self::server(&address)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(seen.lock().unwrap().len(), told, "nothing is told once close has returned");
    });
    let mut expected = vec!["Connected", "Ready", "Disconnected"];
    expected.extend(["Connected", "Reconnected", "Disconnected"].repeat(CYCLES));
    assert_eq!(*seen.lock().unwrap(), expected);
}

// D11

/// What is done in the follower, once, when the line is lost.
type Act = Box<dyn FnOnce(&Peer) + Send>;

struct Follower {
    client: Client,
    act: mpsc::Sender<Act>,
    events: mpsc::Receiver<String>,
    line: Line,
    /// Kept: its end is none of the case.
    server: Server,
}

impl Follower {
    /// A client whose follower acts when its line is lost for the first time.
    fn start() -> Self {
        let (act, acts) = mpsc::channel::<Act>();
        let (sender, events) = mpsc::channel();
        let acts = Mutex::new(acts);
        let follow = move |peer: &Peer, event: &ConnectionEvent| {
            if matches!(event, ConnectionEvent::Disconnected { .. })
                && let Ok(act) = acts.lock().unwrap().try_recv()
            {
                act(peer);
            }
            let _ = sender.send(word(event));
        };
        let server = block_on(server("mem://").start()).unwrap();
        let line = Line::of(server.address()).unwrap();
        let client = Client::connect(server.address()).backoff(quick()).on_event(follow);
        let client = block_on(client.into_future()).unwrap();
        let follower = Self { client, act, events, line, server };
        follower.expect(&["Connected", "Ready"]);
        follower
    }

    fn expect(&self, events: &[&str]) {
        for event in events {
            assert_eq!(self.events.recv_timeout(PATIENCE).unwrap(), *event);
        }
    }

    fn lose(&self, act: impl FnOnce(&Peer) + Send + 'static) {
        self.act.send(Box::new(act)).unwrap();
        self.line.cut_now();
        self.expect(&["Disconnected"]);
    }

    /// No event more, and no line.
    fn end(self) {
        let Self { events, line, server, client, .. } = self;
        drop(client);
        // The follower is dropped with its connection, and with it the sender.
        let next = events.recv_timeout(PATIENCE);
        assert_eq!(next, Err(mpsc::RecvTimeoutError::Disconnected), "nothing is told after the end");
        let deadline = Instant::now() + PATIENCE;
        while line.connections() > 0 || !server.peers().is_empty() {
            assert!(Instant::now() < deadline, "a line is left");
            thread::yield_now();
        }
    }
}

#[test]
fn d_11_connecting_in_the_disconnect_callback_makes_a_client_of_its_own() {
    let follower = Follower::start();
    let address = follower.server.address().to_owned();
    let (sender, another) = mpsc::channel();
    follower.lose(move |_| {
        tokio::spawn(async move {
            let client = Client::connect(address).await.unwrap();
            sender.send(client.read::<()>(4711).await.is_ok()).unwrap();
            client.close().await;
        });
    });
    assert!(another.recv_timeout(PATIENCE).unwrap());
    // The client that lost its line connects again by itself.
    follower.expect(&["Connected", "Reconnected"]);
    block_on(follower.client.read::<()>(4711)).unwrap();
    block_on(follower.client.close());
    follower.expect(&["Disconnected"]);
    follower.end();
}

#[test]
fn d_11_closing_in_the_disconnect_callback_ends_the_client() {
    let follower = Follower::start();
    let (client, (sender, closed)) = (follower.client.clone(), mpsc::channel());
    follower.lose(move |_| {
        tokio::spawn(async move {
            client.close().await;
            sender.send(()).unwrap();
        });
    });
    closed.recv_timeout(PATIENCE).unwrap();
    // The next line may have come before the end was asked for; then it has gone again.
    let before: Vec<_> = follower.events.try_iter().collect();
    assert!(before.is_empty() || before.ends_with(&["Disconnected".to_owned()]), "{before:?}");
    let error = block_on(follower.client.read::<()>(4711).into_future()).unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    follower.end();
}

#[test]
fn d_11_sending_in_the_disconnect_callback_waits_for_the_next_line() {
    let follower = Follower::start();
    let (sender, sent) = mpsc::channel();
    follower.lose(move |peer| {
        let call = peer.read::<()>(4711).timeout(PATIENCE);
        tokio::spawn(async move { sender.send(call.await).unwrap() });
    });
    sent.recv_timeout(PATIENCE).unwrap().unwrap();
    follower.expect(&["Connected", "Reconnected"]);
    block_on(follower.client.close());
    follower.expect(&["Disconnected"]);
    follower.end();
}

#[test]
fn d_11_dropping_the_client_in_the_disconnect_callback_ends_it() {
    let mut follower = Follower::start();
    let last = std::mem::replace(
        &mut follower.client,
        block_on(Client::connect(follower.server.address()).into_future()).unwrap(),
    );
    follower.lose(move |_| drop(last));
    let Follower { events, .. } = follower;
    assert_eq!(events.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn d_11_at_a_server_a_send_fails_and_the_server_can_be_shut_down() {
    let (sender, sent) = mpsc::channel();
    let holder: Arc<Mutex<Option<Server>>> = Arc::default();
    let (held, over) = (Arc::clone(&holder), AtomicBool::new(false));
    let follow = move |peer: &Peer, event: &ConnectionEvent| {
        if matches!(event, ConnectionEvent::Disconnected { .. }) && !over.swap(true, Ordering::SeqCst) {
            let call = peer.read::<()>(4711).timeout(PATIENCE * 3);
            let (server, sender) = (held.lock().unwrap().take().unwrap(), sender.clone());
            tokio::spawn(async move {
                let outcome = call.await;
                server.shutdown().await.unwrap();
                sender.send(outcome).unwrap();
            });
        }
    };
    let server = block_on(server("mem://").on_event(follow).start()).unwrap();
    let address = server.address().to_owned();
    *holder.lock().unwrap() = Some(server);
    block_on(async {
        let client = Client::connect(&address).await.unwrap();
        client.close().await;
    });
    let error = sent.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    let error = block_on(Client::connect(&address).into_future()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}
