//! Many calls at once, large ones, and peers that take up room: whoever reads is answered, and nothing hangs.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::testing::{Direction, Line};
use socketproto::{Backoff, ConnectionEvent, Error, Limits, Message, Peer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use crate::process::{is_alone, peak, resident};
use crate::support::{Raw, encoded, framed, json, limits, within};

/// More than a call may take here, on a machine at work.
const PATIENT: Duration = Duration::from_secs(50);
const ADDRESSES: [&str; 2] = ["tcp://127.0.0.1:0", "mem://"];
const MIB: usize = 1024 * 1024;

/// What both sides serve.
#[derive(Service, Client)]
#[did(1, execute = async fn descend(cx, depth: u32) -> u32)]
#[did(2, execute = async fn fan(cx, depth: u32) -> u32)]
#[did(3, execute = fn text(length: usize) -> String)]
#[did(4, execute = fn echo(text: String) -> String)]
#[did(5, execute = fn mark(number: usize) -> usize)]
#[did(6, execute = async fn wait(cx))]
struct Station {
    #[did(7, read)]
    name: String,
    /// How often each number was marked.
    marks: Arc<Vec<AtomicU8>>,
    gate: Arc<Semaphore>,
}

impl Station {
    fn new() -> Self {
        Self::with(Arc::default(), closed_gate())
    }

    fn with(marks: Arc<Vec<AtomicU8>>, gate: Arc<Semaphore>) -> Self {
        Self { name: "station".to_owned(), marks, gate }
    }

    /// Is called back until the bottom is reached; gives how many calls there were.
    async fn descend(cx: Call<Self>, depth: u32) -> Result<u32, Error> {
        match depth {
            0 => Ok(0),
            depth => Ok(StationClient::new(cx.peer()).descend(depth - 1).timeout(PATIENT).await? + 1),
        }
    }

    /// Calls back ten times at once, each of which does the same; gives how many calls there were.
    async fn fan(cx: Call<Self>, depth: u32) -> Result<u32, Error> {
        if depth == 0 {
            return Ok(1);
        }
        let back = StationClient::new(cx.peer());
        let mut sum = 1;
        for calls in join_all((0..10).map(|_| back.fan(depth - 1).timeout(PATIENT))).await {
            sum += calls?;
        }
        Ok(sum)
    }

    fn text(&mut self, length: usize) -> String {
        "x".repeat(length)
    }

    fn echo(&mut self, text: String) -> String {
        text
    }

    fn mark(&mut self, number: usize) -> usize {
        self.marks[number].fetch_add(1, Ordering::SeqCst);
        number
    }

    async fn wait(cx: Call<Self>) {
        let gate = cx.actor(|this| Arc::clone(&this.gate)).await;
        gate.acquire().await.expect("nobody closes the gate").forget();
    }
}

fn closed_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// A station at each end of a line.
struct Pair {
    _server: Server,
    _client: Client,
    up: StationClient,
    down: StationClient,
}

impl Pair {
    async fn new(address: &str) -> Self {
        let server = within(Server::bind(address).service(Station::new()).start()).await.unwrap();
        let client = Client::connect(server.address()).service(Station::new());
        let client = within(client.into_future()).await.unwrap();
        let up = StationClient::new(&client);
        within(up.name()).await.unwrap();
        let down = StationClient::new(&server.peers()[0]);
        Self { _server: server, _client: client, up, down }
    }
}

// Both ways at once

#[tokio::test]
async fn two_thousand_calls_each_way_at_once_are_answered() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let calls = |side: &StationClient| {
            let side = side.clone();
            join_all((0..2000).map(move |number: u32| {
                let call = side.echo(number.to_string()).timeout(PATIENT);
                async move { call.await.map(|text| text == number.to_string()) }
            }))
        };
        let (up, down) = within(async { tokio::join!(calls(&pair.up), calls(&pair.down)) }).await;
        for outcome in up.into_iter().chain(down) {
            assert!(outcome.unwrap(), "somebody else's answer");
        }
    }
}

#[tokio::test]
async fn two_thousand_calls_each_way_at_once_that_call_back_are_answered() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let calls = |side: &StationClient| {
            let side = side.clone();
            join_all((0..2000).map(move |_| side.descend(1).timeout(PATIENT)))
        };
        let (up, down) = within(async { tokio::join!(calls(&pair.up), calls(&pair.down)) }).await;
        for outcome in up.into_iter().chain(down) {
            assert_eq!(outcome.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn three_hundred_calls_each_way_at_once_of_each_depth_up_to_nine_are_answered() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        for depth in 1..10 {
            let calls = |side: &StationClient| {
                let side = side.clone();
                join_all((0..300).map(move |_| side.descend(depth).timeout(PATIENT)))
            };
            let (up, down) = within(async { tokio::join!(calls(&pair.up), calls(&pair.down)) }).await;
            for outcome in up.into_iter().chain(down) {
                assert_eq!(outcome.unwrap(), depth, "{address}");
            }
        }
    }
}

#[tokio::test]
async fn ten_calls_back_at_once_nest_two_deep() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let calls = |side: &StationClient| {
            let side = side.clone();
            join_all((0..20).map(move |_| side.fan(2).timeout(PATIENT)))
        };
        let (up, down) = within(async { tokio::join!(calls(&pair.up), calls(&pair.down)) }).await;
        for outcome in up.into_iter().chain(down) {
            assert_eq!(outcome.unwrap(), 111, "{address}");
        }
    }
}

// Large ones

#[tokio::test]
async fn sixty_four_answers_of_1_mb_on_their_way_to_a_peer_that_reads_arrive() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let side = if address == "mem://" { &pair.down } else { &pair.up };
        let calls = join_all((0..64).map(|_| side.text(1_000_000).timeout(PATIENT)));
        for text in within(calls).await {
            assert_eq!(text.unwrap().len(), 1_000_000, "{address}");
        }
    }
}

#[tokio::test]
async fn large_calls_in_both_directions_at_once_arrive() {
    for address in ADDRESSES {
        let pair = Pair::new(address).await;
        let calls = |side: &StationClient| {
            let side = side.clone();
            join_all((0..8).map(move |_| side.echo("x".repeat(1_000_000)).timeout(PATIENT)))
        };
        let (up, down) = within(async { tokio::join!(calls(&pair.up), calls(&pair.down)) }).await;
        for text in up.into_iter().chain(down) {
            assert_eq!(text.unwrap().len(), 1_000_000, "{address}");
        }
    }
}

// Lines that die

const REQUESTS: usize = 10_000;

/// Makes many calls, and lets the line die while they are under way. Each ends, and none is run twice.
async fn all_end(address: &str, die: impl AsyncFn(), marks: &Arc<Vec<AtomicU8>>) {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
    let client = within(Client::connect(address).backoff(backoff).into_future()).await.unwrap();
    let station = StationClient::new(&client);
    for round in 0..5 {
        let numbers = round * REQUESTS..(round + 1) * REQUESTS;
        let mut calls: Vec<_> =
            numbers.clone().map(|number| Box::pin(station.mark(number).timeout(PATIENT))).collect();
        // All are issued before anything else can happen.
        let mut issued = poll_fn(|cx| {
            std::task::Poll::Ready(calls.iter_mut().map(|call| call.as_mut().poll(cx)).collect::<Vec<_>>())
        })
        .await;
        if round > 0 {
            // Some are answered before the line dies.
            issued[0] = std::task::Poll::Ready(within(calls[0].as_mut()).await);
        }
        die().await;
        let (mut answered, mut lost) = (0, 0);
        for ((number, call), first) in numbers.zip(calls).zip(issued) {
            let outcome = match first {
                std::task::Poll::Ready(outcome) => outcome,
                std::task::Poll::Pending => within(call).await,
            };
            let runs = marks[number].load(Ordering::SeqCst);
            match outcome {
                Ok(marked) => {
                    assert_eq!((marked, runs), (number, 1));
                    answered += 1;
                }
                Err(Error::ConnectionLost { .. }) => {
                    assert!(runs <= 1, "{number} was run {runs} times");
                    lost += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(answered + lost, REQUESTS);
        assert!(lost <= 256, "what waits for its turn waits for the next line: {lost} are lost");
    }
    within(client.close()).await;
    assert!(marks.iter().all(|mark| mark.load(Ordering::SeqCst) <= 1), "late ones included");
}

fn marks() -> Arc<Vec<AtomicU8>> {
    Arc::new((0..5 * REQUESTS).map(|_| AtomicU8::new(0)).collect())
}

#[tokio::test]
async fn ten_thousand_requests_on_a_line_that_is_cut_all_end_and_none_runs_twice() {
    let marks = marks();
    let station = Station::with(Arc::clone(&marks), closed_gate());
    let server = within(Server::bind("mem://").service(station).start()).await.unwrap();
    let line = Line::of(server.address()).unwrap();
    all_end(server.address(), async || line.cut_now(), &marks).await;
}

#[tokio::test]
async fn ten_thousand_requests_on_a_connection_that_is_reset_all_end_and_none_runs_twice() {
    let marks = marks();
    let station = Station::with(Arc::clone(&marks), closed_gate());
    let server = within(Server::bind("tcp://127.0.0.1:0").service(station).start()).await.unwrap();
    let relay = Relay::start(server.address()).await;
    all_end(&relay.address, async || relay.reset().await, &marks).await;
}

/// Passes bytes on between clients and a server, until it resets both connections.
struct Relay {
    address: String,
    resets: Arc<Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>>,
    opened: Arc<Notify>,
}

impl Relay {
    async fn start(server: &str) -> Self {
        let server = server.strip_prefix("tcp://").expect("TCP").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let (resets, opened) = (Arc::new(Mutex::new(None)), Arc::new(Notify::new()));
        let relay = Self { address, resets: Arc::clone(&resets), opened: Arc::clone(&opened) };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = TcpStream::connect(&server).await.expect("the server listens");
                let (sender, reset) = oneshot::channel();
                *resets.lock().expect("no panic") = Some(sender);
                opened.notify_one();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    told = reset => {
                        let told: oneshot::Sender<()> = told.expect("the relay waits");
                        client.set_zero_linger().expect("a socket");
                        server.set_zero_linger().expect("a socket");
                        drop((client, server));
                        let _ = told.send(());
                    }
                }
            }
        });
        relay
    }

    /// Resets the connection that is there, or comes.
    async fn reset(&self) {
        within(self.opened.notified()).await;
        let reset = self.resets.lock().expect("no panic").take().expect("a connection");
        let (told, done) = oneshot::channel();
        reset.send(told).expect("the connection is there");
        within(done).await.expect("it is reset");
    }
}

#[tokio::test]
async fn ten_thousand_calls_that_are_dropped_at_once_hold_up_nobody() {
    let server = within(Server::bind("mem://").service(Station::new()).start()).await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let station = StationClient::new(&client);
    let mut calls: Vec<_> = (0..REQUESTS).map(|_| Box::pin(station.wait().timeout(PATIENT))).collect();
    poll_fn(|cx| {
        for call in &mut calls {
            assert!(call.as_mut().poll(cx).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
    drop(calls);
    assert_eq!(within(station.name()).await.unwrap(), "station");
}

// Memory

fn request<T: serde::Serialize + ?Sized>(data_id: u32, data: &T) -> Message {
    Message::new(ServiceId::EXECUTE_REQUEST, data_id, json(data))
}

/// A server with limits that tells why its connections end.
async fn telling(address: &str, limits: Limits, gate: &Arc<Semaphore>) -> (Server, Reasons) {
    let (sender, reasons) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        if let ConnectionEvent::Disconnected { reason } = event {
            let _ = sender.send(reason.to_string());
        }
    };
    let server = Server::bind(address).limits(limits).on_event(follow);
    let server = server.service(Station::with(Arc::default(), Arc::clone(gate)));
    (within(server.start()).await.unwrap(), reasons)
}

type Reasons = mpsc::UnboundedReceiver<String>;

#[actix::test]
async fn where_memory_is_short_the_largest_connection_is_closed_and_the_others_are_answered() {
    tokio::time::pause();
    let limits = limits(|limits| limits.max_memory = 19_000_000);
    let (server, mut reasons) = telling("mem://", limits, &closed_gate()).await;
    let line = Line::of(server.address()).unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(within(Client::connect(server.address())).await.unwrap());
    }
    line.block(Direction::ToClient);
    let mut calls = Vec::new();
    for (client, length) in clients.iter().zip([5_000_000, 8_000_000, 6_000_000]) {
        calls.push(actix::spawn(StationClient::new(client).text(length).timeout(PATIENT)));
        // Time that passes at once when nothing else is left to do.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Together 100 % of what they may hold; without the largest 58 %.
    let reason = within(reasons.recv()).await.expect("the server lives");
    assert!(reason.contains("max_memory"), "{reason}");
    line.thaw();
    let mut lengths = Vec::new();
    for call in calls {
        lengths.push(within(call).await.unwrap().map(|text| text.len()));
    }
    assert!(matches!(lengths[1], Err(Error::ConnectionLost { .. })), "{lengths:?}");
    assert_eq!((lengths[0].as_ref().ok(), lengths[2].as_ref().ok()), (Some(&5_000_000), Some(&6_000_000)));
    assert!(reasons.try_recv().is_err(), "one was enough");
    assert_eq!(server.limit_counts().get("max_memory"), Some(1));
    let again = StationClient::new(&clients[1]).text(8_000_000).timeout(PATIENT);
    assert_eq!(within(again).await.unwrap().len(), 8_000_000, "on its next line it is served as all others");
}

#[tokio::test]
async fn peers_that_have_too_much_parked_are_closed_or_answered_and_the_small_are_served() {
    const OTHERS: usize = 8;

    let gate = closed_gate();
    let limits = limits(|limits| (limits.max_in_flight, limits.max_memory) = (1, 4 * MIB));
    let (server, mut reasons) = telling("tcp://127.0.0.1:0", limits, &gate).await;
    // What comes behind the first request waits for its end.
    let hold = framed(&encoded(&request(6, &())));
    let parked = |length: usize, count: usize| {
        let text = framed(&encoded(&request(4, &"x".repeat(length))));
        [&hold[..], &text.repeat(count)].concat()
    };
    let mut largest = Raw::connect(server.address()).await;
    largest.send_bytes(&parked(500_000, 4)).await;
    let client = within(Client::connect(server.address())).await.unwrap();
    let station = StationClient::new(&client);
    assert_eq!(within(station.echo("first".into())).await.unwrap(), "first");
    let others: Vec<_> = (0..OTHERS)
        .map(|_| {
            let (bytes, address) = (parked(300_000, 5), server.address().to_owned());
            tokio::spawn(async move {
                let mut other = Raw::connect(&address).await;
                other.send_bytes(&bytes).await;
                let mut answers = Vec::new();
                while answers.len() < 6
                    && let Some(answer) = other.receive().await
                {
                    answers.push((answer.data_id().value(), answer.json().as_str().len()));
                }
                answers
            })
        })
        .collect();
    within(largest.closed()).await;
    assert_eq!(within(station.echo("second".into())).await.unwrap(), "second");
    gate.add_permits(OTHERS + 1);
    let mut answered = 0;
    for other in others {
        let answers = within(other).await.expect("no panic");
        if answers.len() == 6 {
            assert_eq!(answers, [vec![(6, 4)], vec![(4, 300_002); 5]].concat());
            answered += 1;
        }
    }
    assert_eq!(within(station.echo("third".into())).await.unwrap(), "third");
    let mut closed = 0;
    while let Ok(reason) = reasons.try_recv() {
        closed += usize::from(reason.contains("max_memory"));
    }
    assert_eq!(answered + closed, OTHERS + 1, "who is not closed for it is answered");
}

#[test]
fn a_peer_that_asks_for_2_gb_and_reads_nothing_costs_less_than_64_mib_and_is_closed() {
    const NAME: &str =
        "load::a_peer_that_asks_for_2_gb_and_reads_nothing_costs_less_than_64_mib_and_is_closed";
    if is_alone(NAME) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(a_peer_that_reads_nothing());
    }
}

async fn a_peer_that_reads_nothing() {
    let limits = limits(|limits| limits.write_timeout = Duration::from_secs(2));
    let (server, mut reasons) = telling("tcp://127.0.0.1:0", limits, &closed_gate()).await;
    let client = within(Client::connect(server.address())).await.unwrap();
    let station = StationClient::new(&client);
    assert_eq!(within(station.text(1_000_000)).await.unwrap().len(), 1_000_000);
    let before = resident();

    let mut slow = Raw::connect(server.address()).await;
    slow.send_bytes(&framed(&encoded(&request(3, &1_000_000))).repeat(2000)).await;
    let mut served = 0;
    let reason = within(async {
        loop {
            tokio::select! {
                reason = reasons.recv() => return reason.expect("the server lives"),
                text = station.text(1_000_000) => {
                    assert_eq!(text.expect("the others are served").len(), 1_000_000);
                    served += 1;
                }
            }
        }
    });
    let reason = reason.await;
    assert!(reason.contains("slow reader"), "{reason}");
    assert!(served > 0);
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB more than before", grown / MIB);
}
