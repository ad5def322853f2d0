//! C: handlers and callbacks.

use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};
use std::thread;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::{BlockingCall, ConnectionEvent, Error, Message, Peer, ServerBuilder};
use tokio::sync::Semaphore;

use crate::support::{Noise, PATIENCE, Raw, WIRES, Wire, block_on, m, probe, start};

fn echo(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// A server that answers reads with what was sent, for PROBE.
fn server() -> ServerBuilder {
    Server::bind("tcp://127.0.0.1:0").register_callback(Some(ServiceId::READ_REQUEST), None, echo)
}

// C07

/// Passes a write on as three others, back to where it came from.
#[derive(Service)]
#[did(1, write = async fn pass_on(cx, number: u32))]
struct Bridge;

impl Bridge {
    async fn pass_on(cx: Call<Self>, number: u32) -> Result<(), Error> {
        for sent in join_all([2, 3, 4].map(|data_id| cx.peer().write(data_id, &number))).await {
            sent?;
        }
        Ok(())
    }
}

#[test]
fn c_07_callback_sends_on_the_same_connection() {
    const TIMES: u32 = 1_000;

    let server = start(server().service(Bridge));
    for way in ["", "?peer=old"] {
        let got = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&got);
        let client = Client::connect(format!("{}{way}", server.address())).register_callback(
            Some(ServiceId::WRITE_REQUEST),
            None,
            move |message| {
                list.lock().unwrap().push((message.data_id().value(), message.json().to_string()));
                Ok(Json::NULL)
            },
        );
        let client = block_on(client.into_future()).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(async {
                    while !over.load(Ordering::SeqCst) {
                        client.read::<()>(4711).timeout(PATIENCE).await.unwrap();
                    }
                });
            });
            block_on(async {
                for number in 0..TIMES {
                    client.write(1, &number).timeout(PATIENCE).await.unwrap();
                    let all = std::mem::take(&mut *got.lock().unwrap());
                    let expected = [2, 3, 4].map(|data_id| (data_id, number.to_string()));
                    assert_eq!(all, expected, "in this order, and before the reply");
                }
            });
            over.store(true, Ordering::SeqCst);
        });
    }
    probe(server.address());
}

// C09

/// An expensive operation beside a cheap one, each in its way.
#[derive(Service)]
#[did(1, execute = async fn slow(cx) -> u32)]
#[did(2, execute = fn slow_blocking(cx) -> u32, blocking)]
struct Mixed {
    #[did(12, read, write)]
    value: u32,
    gate: Gate,
}

impl Mixed {
    async fn slow(cx: Call<Self>) -> u32 {
        let gate = cx.actor(|this| this.gate.clone()).await;
        gate.begun.send(()).unwrap();
        gate.open.acquire().await.unwrap().forget();
        1
    }

    fn slow_blocking(cx: BlockingCall<Self>) -> Result<u32, Fault> {
        cx.actor_blocking(|this| this.gate.clone())?.wait();
        Ok(2)
    }
}

/// The same as a sync method, on a thread of its own.
#[derive(Service)]
#[service(own_thread)]
#[did(3, execute = fn slow_alone() -> u32)]
struct Alone {
    #[did(13, read)]
    value: u32,
    gate: Gate,
}

impl Alone {
    fn slow_alone(&mut self) -> u32 {
        self.gate.wait();
        self.value = 3;
        3
    }
}

/// Holds an operation until the case lets it end.
#[derive(Clone)]
struct Gate {
    begun: mpsc::Sender<()>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn wait(&self) {
        self.begun.send(()).unwrap();
        loop {
            match self.open.try_acquire() {
                Ok(permit) => return permit.forget(),
                Err(_) => thread::yield_now(),
            }
        }
    }
}

#[test]
fn c_09_slow_handler_blocks_the_others() {
    let (begun, has_begun) = mpsc::channel();
    let gate = Gate { begun, open: Arc::new(Semaphore::new(0)) };
    let server = start(
        server()
            .service(Mixed { value: 0, gate: gate.clone() })
            .service(Alone { value: 0, gate: gate.clone() }),
    );
    for (data_id, answer) in [(1, 1), (2, 2), (3, 3)] {
        block_on(async {
            let client = Client::connect(server.address()).await.unwrap();
            let other = Client::connect(server.address()).await.unwrap();
            let slow = tokio::spawn(client.execute::<_, u32>(data_id, &()).timeout(PATIENCE));
            tokio::task::yield_now().await;
            has_begun.recv_timeout(PATIENCE).unwrap();
            for asks in [&other, &client] {
                asks.read::<()>(2).await.unwrap();
            }
            let writes = (0..100_u32).map(|number| client.write(12, &number));
            for written in join_all(writes).await {
                written.unwrap();
            }
            assert_eq!(client.read::<u32>(12).await.unwrap(), 99);
            // What has a thread of its own keeps those waiting who ask it, and no others.
            let same = tokio::spawn(client.read::<u32>(13).timeout(PATIENCE));
            probe(server.address());
            assert!(!slow.is_finished());
            gate.open.add_permits(1);
            assert_eq!(slow.await.unwrap().unwrap(), answer);
            assert_eq!(same.await.unwrap().unwrap(), if data_id == 3 { 3 } else { 0 });
        });
    }
}

// C10

const SECRET_OF_THE_APPLICATION: &str = "the row of Mr Smith is damaged";

#[derive(Service)]
#[did(1, execute = fn panics())]
#[did(2, execute = async fn panics_later())]
#[did(3, execute = fn panics_with_the_lock())]
#[did(4, execute = fn panics_with_a_number())]
#[did(5, execute = fn rows() -> usize)]
struct Faulty {
    rows: Arc<Mutex<Vec<u32>>>,
}

impl Faulty {
    fn panics(&mut self) {
        panic::panic_any(SECRET_OF_THE_APPLICATION);
    }

    async fn panics_later() {
        tokio::task::yield_now().await;
        panic::panic_any(SECRET_OF_THE_APPLICATION);
    }

    fn panics_with_the_lock(&mut self) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(1);
        panic::panic_any(SECRET_OF_THE_APPLICATION.to_owned());
    }

    fn panics_with_a_number(&mut self) {
        panic::panic_any(4711_u32);
    }

    fn rows(&mut self) -> usize {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[test]
fn c_10_handler_panics() {
    const TIMES: usize = 1_000;

    quiet();
    let server = start(server().service(Faulty { rows: Arc::default() }));
    for wire in WIRES {
        let mut same = Raw::connect(server.address(), wire);
        for data_id in 1..=4 {
            let expected = format!(r#"31/{data_id} status 2: {{"error":"handler panicked"}}"#);
            for _ in 0..TIMES / 4 {
                assert_eq!(same.ask(30, data_id, "null"), expected);
            }
            same.probe();
            probe(server.address());
        }
    }
    assert_eq!(Raw::connect(server.address(), Wire::Length).ask(30, 5, "null"), "31/5: 500");
}

/// What panics on purpose is not printed, all else is.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let on_purpose = payload.is::<u32>()
                || payload.downcast_ref::<&str>() == Some(&SECRET_OF_THE_APPLICATION)
                || payload.downcast_ref::<String>().is_some_and(|text| text == SECRET_OF_THE_APPLICATION);
            if !on_purpose {
                print(info);
            }
        }));
    });
}

// C14

#[test]
fn c_14_callbacks_multiply_after_reconnects() {
    let (ready, peers) = mpsc::channel();
    let serve = |address: &str| {
        let ready = ready.clone();
        start(Server::bind(address).on_event(move |peer: &Peer, event: &ConnectionEvent| {
            if *event == ConnectionEvent::Ready {
                ready.send(peer.clone()).unwrap();
            }
        }))
    };
    let mut server = serve("tcp://127.0.0.1:0");
    let address = server.address().to_owned();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let client = Client::connect(&address).register_callback(Some(20.into()), Some(1.into()), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Json::NULL)
    });
    let _client = block_on(client.into_future()).unwrap();
    for round in 0..6 {
        let peer = peers.recv_timeout(PATIENCE).unwrap();
        block_on(peer.write(1, &round)).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), round + 1, "one call for each message");
        block_on(server.shutdown()).unwrap();
        server = serve(&address);
    }

    // Whoever registers again replaces: one call still, of the last.
    let twice = Server::bind("tcp://127.0.0.1:0")
        .register_callback(Some(20.into()), Some(1.into()), |_| Err(Fault::custom(7, "the first")))
        .register_callback(Some(20.into()), Some(1.into()), echo);
    let server = block_on(twice.start()).unwrap();
    let client = block_on(Client::connect(server.address()).into_future()).unwrap();
    assert_eq!(block_on(client.call::<_, u8>(20, 1, &5)).unwrap(), 5);
}

// C15

#[test]
fn c_15_wildcard_and_exact_handler_both_match() {
    let keys: [(Option<u32>, Option<u32>); 4] =
        [(Some(20), Some(5)), (Some(20), None), (None, Some(5)), (None, None)];
    let orders = permutations(4);
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut builder = Server::bind("tcp://127.0.0.1:0");
        let runs = Arc::new(AtomicUsize::new(0));
        for key in order.iter().map(|at| keys[*at]) {
            let runs = Arc::clone(&runs);
            let (service_id, data_id) = (key.0.map(ServiceId::new), key.1.map(DataId::new));
            builder = builder.register_callback(service_id, data_id, move |_| {
                runs.fetch_add(1, Ordering::SeqCst);
                Json::encode(&key).map_err(|error| Fault::callback_error(error.to_string()))
            });
        }
        let server = start(builder);
        let mut peer = Raw::connect(server.address(), Wire::Length);
        let answers = [(20, 5), (20, 6), (30, 5), (30, 6)]
            .map(|(service_id, data_id)| peer.ask(service_id, data_id, "1"));
        let expected = ["21/5: [20,5]", "21/6: [20,null]", "31/5: [null,5]", "31/6: [null,null]"];
        assert_eq!(answers, expected, "{order:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 4, "one handler for each request");
    }
}

/// All orders of the numbers below `count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, at| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |at| insert(order, at))).collect()
}

// C16

/// A fader: each step has to follow the one before.
#[derive(Service)]
#[did(1, write = fn step(value: u64))]
#[did(2, execute = fn restart() -> u64)]
struct Fader {
    next: u64,
}

impl Fader {
    fn step(&mut self, value: u64) -> Result<(), Fault> {
        // A handler takes its time, and never the same.
        for _ in 0..Noise(value).below(2_000) {
            std::hint::spin_loop();
        }
        if value != self.next {
            return Err(Fault::custom(7, format!("{value} instead of {}", self.next)));
        }
        self.next += 1;
        Ok(())
    }

    fn restart(&mut self) -> u64 {
        std::mem::take(&mut self.next)
    }
}

#[test]
fn c_16_order_of_messages() {
    const STEPS: u64 = 10_000;

    let server = start(server().service(Fader { next: 0 }));
    for wire in WIRES {
        let mut peer = Raw::connect(server.address(), wire);
        let mut bytes = Vec::new();
        for value in 0..STEPS {
            bytes.extend(wire.frame(m(0, 20, 1, &value.to_string())));
        }
        bytes.extend(wire.frame(m(0, 30, 2, "null")));
        peer.send(&bytes);
        for _ in 0..STEPS {
            assert_eq!(peer.answer(), "21/1: null");
        }
        assert_eq!(peer.answer(), format!("31/2: {STEPS}"));
        peer.probe();
    }
    for way in ["", "?peer=old"] {
        block_on(async {
            let client = Client::connect(format!("{}{way}", server.address())).await.unwrap();
            let steps = (0..STEPS).map(|value| client.write(1, &value).timeout(PATIENCE * 2));
            for step in join_all(steps).await {
                step.unwrap();
            }
            assert_eq!(client.execute::<_, u64>(2, &()).await.unwrap(), STEPS);
        });
    }
    probe(server.address());
}

// C18

/// Works for a peer, as an async method and as a blocking one.
#[derive(Service)]
#[did(1, execute = async fn work(cx) -> String)]
#[did(2, execute = fn work_blocking(cx) -> String, blocking)]
struct Worker {
    gate: Gate,
    ended: mpsc::Sender<&'static str>,
}

/// Tells what became of the work.
struct Work {
    ended: mpsc::Sender<&'static str>,
    outcome: &'static str,
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.ended.send(self.outcome);
    }
}

impl Worker {
    async fn work(cx: Call<Self>) -> String {
        let (gate, ended) = cx.actor(|this| (this.gate.clone(), this.ended.clone())).await;
        let mut work = Work { ended, outcome: "cancelled" };
        gate.begun.send(()).unwrap();
        gate.open.acquire().await.unwrap().forget();
        work.outcome = "done";
        "stale".to_owned()
    }

    fn work_blocking(cx: BlockingCall<Self>) -> Result<String, Fault> {
        let (gate, ended) = cx.actor_blocking(|this| (this.gate.clone(), this.ended.clone()))?;
        let mut work = Work { ended, outcome: "cancelled" };
        gate.wait();
        work.outcome = "done";
        Ok("stale".to_owned())
    }
}

#[test]
fn c_18_handler_is_still_running_when_its_connection_goes_away() {
    let (begun, has_begun) = mpsc::channel();
    let (ended, outcomes) = mpsc::channel();
    let gate = Gate { begun, open: Arc::new(Semaphore::new(0)) };
    let server = start(server().service(Worker { gate: gate.clone(), ended }));
    for wire in WIRES {
        for (data_id, outcome) in [(1, "cancelled"), (2, "done")] {
            let mut first = Raw::connect(server.address(), wire);
            assert_eq!(first.ask(8, 0, r#""line""#), "9/0: null");
            first.send_text(m(0, 30, data_id, "null"));
            has_begun.recv_timeout(PATIENCE).unwrap();
            drop(first);
            let mut second = Raw::connect(server.address(), wire);
            assert_eq!(second.ask(8, 0, r#""line""#), "9/0: null");
            if outcome == "cancelled" {
                assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), outcome);
            } else {
                // Once the server has seen the end of the first line nobody waits for the answer.
                while server.peers().len() > 1 {
                    thread::yield_now();
                }
                gate.open.add_permits(1);
                assert_eq!(outcomes.recv_timeout(PATIENCE).unwrap(), outcome);
            }
            // Nothing but what it asked for reaches the new line.
            for _ in 0..20 {
                second.probe();
            }
        }
    }
    probe(server.address());
}
