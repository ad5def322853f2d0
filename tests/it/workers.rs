//! Servers on several threads: who runs where, and that all else stays as on one.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::future::{join, join_all};
use socketproto::prelude::*;
use socketproto::testing::{Direction, Line};
use socketproto::transport::{Accept, Connect, Connected};
use socketproto::{ConnectionEvent, Error, Lifecycle, Runtime, blocking};
use tokio::io::duplex;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::support::{TellOnDrop, Teller, block_on, disconnected, limits, teller, within};
use crate::tls::made::{localhost, trusting};

const ADDRESSES: [&str; 2] = ["tcp://127.0.0.1:0", "mem://"];
/// What panics in here says.
const ON_PURPOSE: &str = "a handler that fails";

/// Says on which thread its requests run.
#[derive(Service, Client)]
#[service(hooks)]
#[did(1, read = fn thread() -> String)]
#[did(2, execute = fn add(number: u64) -> u64)]
#[did(3, execute = async fn wait(cx) -> u64)]
#[did(4, execute = fn panics())]
#[did(5, execute = fn text(length: usize) -> String)]
#[did(6, read = fn peers() -> usize)]
#[did(7, execute = fn note(sender: usize, number: usize) -> usize)]
struct Station {
    total: u64,
    peers: usize,
    notes: Vec<(usize, usize)>,
    gate: Arc<Semaphore>,
    teller: Teller,
}

impl Station {
    fn new() -> Self {
        Self::with(&Arc::new(Semaphore::new(0)), &teller().0)
    }

    fn with(gate: &Arc<Semaphore>, teller: &Teller) -> Self {
        Self { total: 0, peers: 0, notes: Vec::new(), gate: Arc::clone(gate), teller: teller.clone() }
    }

    fn thread(&mut self) -> String {
        this_thread()
    }

    fn add(&mut self, number: u64) -> u64 {
        self.total += number;
        self.total
    }

    async fn wait(cx: Call<Self>) -> u64 {
        let (gate, _end) = cx
            .actor(|this| {
                this.teller.tell("begun");
                (Arc::clone(&this.gate), this.teller.on_drop("ended"))
            })
            .await;
        gate.acquire().await.expect("nobody closes the gate").forget();
        7
    }

    fn panics(&mut self) {
        std::panic::panic_any(ON_PURPOSE);
    }

    fn text(&mut self, length: usize) -> String {
        "x".repeat(length)
    }

    fn peers(&mut self) -> usize {
        self.peers
    }

    /// Gives how many notes there are, where this one is the sender's next.
    fn note(&mut self, sender: usize, number: usize) -> Result<usize, Fault> {
        let before = self.notes.iter().filter(|(of, _)| *of == sender).count();
        if before != number {
            return Err(Fault::custom(7, format!("{number} came after {before} others of {sender}")));
        }
        self.notes.push((sender, number));
        Ok(self.notes.len())
    }
}

impl Lifecycle for Station {
    fn peer_connected(&mut self, _: &Peer) {
        self.peers += 1;
    }

    fn peer_gone(&mut self, _: &Peer, _: &str) {
        self.peers -= 1;
        self.teller.tell("gone");
    }

    fn stopping(&mut self) {
        self.teller.tell("stopping");
    }
}

fn this_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn named(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| format!("socketproto-{number}")).collect()
}

async fn start(builder: socketproto::ServerBuilder) -> Server {
    within(builder.start()).await.unwrap()
}

async fn clients(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(within(Client::connect(server.address())).await.unwrap());
    }
    clients
}

fn station(client: &Client) -> StationClient {
    StationClient::new(client)
}

async fn threads(clients: &[Client]) -> Vec<String> {
    within(join_all(clients.iter().map(|client| async { station(client).thread().await.unwrap() }))).await
}

// Who runs where

#[tokio::test]
async fn connections_are_spread_and_each_worker_has_a_service_of_its_own() {
    for address in ADDRESSES {
        let made = Arc::new(Mutex::new(HashSet::new()));
        let making = Arc::clone(&made);
        let make = move || {
            making.lock().unwrap().insert(this_thread());
            Station::new()
        };
        let server = start(Server::bind(address).workers(3).service_per_worker(make)).await;
        assert_eq!(
            *made.lock().unwrap(),
            HashSet::from_iter(named(&[0, 1, 2])),
            "before the first connection"
        );
        let clients = clients(&server, 7).await;
        assert_eq!(threads(&clients).await, named(&[0, 1, 2, 0, 1, 2, 0]), "{address}");
        for (number, client) in clients.iter().enumerate() {
            let total = within(station(client).add(1)).await.unwrap();
            assert_eq!(total, number as u64 / 3 + 1, "they share nothing");
            let expected = if number % 3 == 0 { 3 } else { 2 };
            assert_eq!(within(station(client).peers()).await.unwrap(), expected, "each knows its own peers");
        }
        assert_eq!(server.peers().len(), 7, "the server knows all of them");
        within(server.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_goes_where_others_have_ended() {
    let server = start(Server::bind("mem://").workers(3).service_per_worker(Station::new)).await;
    let mut clients = clients(&server, 6).await;
    assert_eq!(threads(&clients).await, named(&[0, 1, 2, 0, 1, 2]));
    for at in [4, 1] {
        clients.remove(at).close().await;
    }
    within(async {
        while server.peers().len() > 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let more = self::clients(&server, 2).await;
    assert_eq!(threads(&more).await, named(&[1, 1]));
}

#[tokio::test]
async fn a_single_service_is_reached_from_every_worker_and_sees_the_order_of_each_peer() {
    const NOTES: usize = 500;

    for address in ADDRESSES {
        let server = start(Server::bind(address).workers(3).service(Station::new())).await;
        let clients = clients(&server, 6).await;
        assert_eq!(threads(&clients).await, vec!["socketproto-0"; 6]);
        assert_eq!(within(station(&clients[5]).peers()).await.unwrap(), 6);
        let calls = clients.iter().enumerate().flat_map(|(sender, client)| {
            (0..NOTES).map(move |number| async move { station(client).note(sender, number).await })
        });
        let mut counts = Vec::new();
        for outcome in within(join_all(calls)).await {
            counts.push(outcome.unwrap());
        }
        let mut sorted = counts.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, Vec::from_iter(1..=6 * NOTES), "one after the other");
        assert!(counts.chunks(NOTES).all(<[_]>::is_sorted), "in the order in which each peer sent them");
        within(server.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn every_kind_of_socket_is_spread_and_its_handshake_with_it() {
    let (authority, tls) = localhost();
    let trusting = trusting(&authority);
    let server = Server::bind("tcp://127.0.0.1:0").tls(tls).websocket(true).workers(2);
    let server = start(server.service_per_worker(Station::new)).await;
    let place = server.address().strip_prefix("tcp://").unwrap();
    for scheme in ["tcp", "tls", "ws", "wss"] {
        let mut pair = Vec::new();
        for _ in 0..2 {
            let client = Client::connect(format!("{scheme}://{place}"));
            let client = if matches!(scheme, "tls" | "wss") { client.tls(trusting.clone()) } else { client };
            pair.push(within(client).await.unwrap());
        }
        let mut threads = threads(&pair).await;
        threads.sort_unstable();
        assert_eq!(threads, named(&[0, 1]), "{scheme}");
    }
    within(server.shutdown()).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn sockets_of_the_file_system_are_spread_too() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix://{}", directory.path().join("spread.sock").display());
    let server = start(Server::bind(address).workers(2).service_per_worker(Station::new)).await;
    assert_eq!(threads(&clients(&server, 4).await).await, named(&[0, 1, 0, 1]));
    within(server.shutdown()).await.unwrap();
}

/// A transport of the user's own: its lines are made by the server's end, in a handshake that says where it is done.
struct Plug(mpsc::UnboundedSender<tokio::io::DuplexStream>);

impl Connect for Plug {
    fn address(&self) -> String {
        "plug://here".to_owned()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (ours, theirs) = duplex(4096);
        self.0.send(theirs).map_err(|_| io::Error::other("the socket is gone"))?;
        Ok(Connected::stream(ours, self.address()))
    }
}

struct Socket {
    lines: mpsc::UnboundedReceiver<tokio::io::DuplexStream>,
    on_any_thread: bool,
    handshakes: Arc<Mutex<Vec<String>>>,
}

impl Accept for Socket {
    fn address(&self) -> String {
        "plug://here".to_owned()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        let Some(stream) = self.lines.recv().await else { return std::future::pending().await };
        let handshakes = Arc::clone(&self.handshakes);
        let handshake = async move {
            handshakes.lock().unwrap().push(this_thread());
            Ok(Connected::stream(stream, "plug://there"))
        };
        let line = Connected::opening(handshake, "plug://there").with_ip([192, 0, 2, 7].into());
        Ok(if self.on_any_thread { line.on_any_thread() } else { line })
    }

    fn is_exposed(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn lines_of_an_own_transport_are_spread_where_it_says_so() {
    for (on_any_thread, expected) in [(true, [0, 1, 2, 0]), (false, [0; 4])] {
        let (lines, socket) = mpsc::unbounded_channel();
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let socket = Socket { lines: socket, on_any_thread, handshakes: Arc::clone(&handshakes) };
        let builder = Server::over(socket).limits(limits(|limits| limits.max_connections_per_address = 4));
        let server = start(builder.workers(3).service_per_worker(Station::new)).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(within(Client::over(Plug(lines.clone()))).await.unwrap());
        }
        assert_eq!(threads(&clients).await, named(&expected));
        assert_eq!(*handshakes.lock().unwrap(), named(&expected), "handshakes are done there");
        let error = within(Client::over(Plug(lines.clone()))).await.unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }), "the limit is for all threads together: {error}");
        within(server.shutdown()).await.unwrap();
    }
}

#[actix::test]
async fn inside_an_actix_program_the_workers_are_threads_of_their_own() {
    let server = start(Server::bind("tcp://127.0.0.1:0").workers(2).service_per_worker(Station::new)).await;
    let clients = clients(&server, 2).await;
    assert_eq!(threads(&clients).await, named(&[0, 1]));
    within(server.shutdown()).await.unwrap();
}

// What stays as on one thread

#[tokio::test]
async fn connections_are_counted_over_all_workers() {
    for address in ADDRESSES {
        let builder = Server::bind(address).limits(limits(|limits| limits.max_connections = 4));
        let server = start(builder.workers(3).service_per_worker(Station::new)).await;
        let mut four = clients(&server, 4).await;
        assert!(within(Client::connect(server.address())).await.is_err(), "there are four places");
        four.remove(2).close().await;
        let next = within(async {
            loop {
                if let Ok(client) = Client::connect(server.address()).await {
                    return client;
                }
            }
        });
        assert_eq!(threads(&[next.await]).await, named(&[2]), "where a place is free");
        within(server.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn the_memory_of_all_workers_is_one_budget() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        if let ConnectionEvent::Disconnected { reason } = event {
            let _ = sender.send(reason.to_string());
        }
    };
    let builder = Server::bind("mem://").limits(limits(|limits| limits.max_memory = 19_000_000));
    let server = start(builder.on_event(follow).workers(3).service_per_worker(Station::new)).await;
    let clients = clients(&server, 3).await;
    assert_eq!(threads(&clients).await, named(&[0, 1, 2]));
    let line = Line::of(server.address()).unwrap();
    line.block(Direction::ToClient);
    let calls = join_all(
        clients
            .iter()
            .zip([5_000_000, 7_900_000, 6_000_000])
            .map(|(client, length)| station(client).text(length)),
    );
    let told = async {
        let reason = reasons.recv().await.unwrap();
        line.thaw();
        reason
    };
    let (outcomes, reason) = within(join(calls, told)).await;
    assert!(reason.contains("max_memory"), "{reason}");
    let lengths = outcomes.iter().map(|outcome| outcome.as_ref().ok().map(String::len));
    assert_eq!(Vec::from_iter(lengths), [Some(5_000_000), None, Some(6_000_000)], "the largest was closed");
    within(server.shutdown()).await.unwrap();
}

/// Answers each peer that calls back.
#[derive(Service)]
struct Answering {
    #[did(1, read)]
    number: usize,
}

#[tokio::test]
async fn the_server_calls_the_peers_of_all_workers() {
    let server = start(Server::bind("tcp://127.0.0.1:0").workers(3)).await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let client = Client::connect(server.address()).service(Answering { number });
        clients.push(within(client).await.unwrap());
    }
    let peers = server.peers();
    let answers = within(join_all(peers.iter().map(|peer| peer.read::<usize>(1)))).await;
    let answers: Result<Vec<_>, _> = answers.into_iter().collect();
    assert_eq!(answers.unwrap(), [0, 1, 2, 3, 4, 5]);
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_its_caller_alone() {
    quiet();
    for shared in [false, true] {
        let builder = Server::bind("tcp://127.0.0.1:0").workers(2);
        let server = start(match shared {
            false => builder.service_per_worker(Station::new),
            true => builder.service(Station::new()),
        })
        .await;
        let clients = clients(&server, 4).await;
        for client in &clients {
            let error = within(station(client).panics()).await.unwrap_err();
            assert_eq!(error.fault(), Some(&Fault::callback_error("handler panicked")));
        }
        assert_eq!(threads(&clients).await, named(if shared { &[0; 4] } else { &[0, 1, 0, 1] }));
        within(server.shutdown()).await.unwrap();
    }
}

/// Panics on purpose are not printed, all others are.
fn quiet() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
            print(info);
        }
    }));
}

#[tokio::test]
async fn what_a_peer_that_has_gone_had_asked_for_is_cancelled_across_threads() {
    let (teller, mut told) = teller();
    let service = Station::with(&Arc::new(Semaphore::new(0)), &teller);
    let server = start(Server::bind("tcp://127.0.0.1:0").workers(2).service(service)).await;
    let clients = clients(&server, 2).await;
    let mut call = Box::pin(async { station(&clients[1]).wait().await });
    within(async {
        tokio::select! {
            outcome = &mut call => panic!("the gate is closed: {outcome:?}"),
            begun = told.next() => assert_eq!(begun, "begun"),
        }
    })
    .await;
    clients[1].close().await;
    let mut ends = [within(told.next()).await, within(told.next()).await];
    ends.sort_unstable();
    assert_eq!(ends, ["ended", "gone"]);
    assert_eq!(within(station(&clients[0]).peers()).await.unwrap(), 1);
    within(server.shutdown()).await.unwrap();
}

#[test]
fn a_wait_that_might_never_end_is_refused_on_every_worker() {
    let server = Server::bind("mem://").workers(2).service_per_worker(|| Waiting);
    let server = blocking::Server::start(server).unwrap();
    for _ in 0..2 {
        let client = blocking::Client::connect(server.address()).unwrap();
        assert!(client.read::<bool>(1).wait().unwrap());
    }
    server.shutdown().unwrap();
}

#[derive(Service)]
#[did(1, read = fn refused(cx) -> bool)]
struct Waiting;

impl Waiting {
    fn refused(&mut self, cx: Call<Self>) -> bool {
        let called = cx.peer().read::<u8>(1).wait();
        matches!(called, Err(Error::WouldDeadlock))
    }
}

// The end

#[tokio::test]
async fn a_shutdown_lets_run_what_runs_on_every_worker() {
    for shared in [false, true] {
        let (teller, mut told) = teller();
        let gate = Arc::new(Semaphore::new(0));
        let made = Arc::clone(&gate);
        let make = move || Station::with(&made, &teller);
        let builder = Server::bind("tcp://127.0.0.1:0").workers(3);
        let builder = if shared { builder.service(make()) } else { builder.service_per_worker(make) };
        let server = start(builder).await;
        let clients = clients(&server, 6).await;
        let calls = join_all(clients.iter().map(|client| async { station(client).wait().await }));
        let shut_down = async {
            for _ in 0..6 {
                assert_eq!(told.next().await, "begun");
            }
            let mut down = Box::pin(server.shutdown());
            tokio::select! {
                biased;
                _ = &mut down => panic!("six requests run"),
                () = std::future::ready(()) => {}
            }
            gate.add_permits(6);
            down.await.unwrap();
            // All has ended when the shutdown has.
            Vec::from_iter(std::iter::from_fn(|| told.now()))
        };
        let (answers, ends) = within(join(calls, shut_down)).await;
        for answer in answers {
            assert_eq!(answer.unwrap(), 7);
        }
        let count = |what| ends.iter().filter(|end| **end == what).count();
        let services = if shared { 1 } else { 3 };
        assert_eq!((count("ended"), count("gone"), count("stopping")), (6, 6, services));
        assert!(within(Client::connect(server.address())).await.is_err(), "nobody listens");
        within(server.shutdown()).await.expect("once more");
    }
}

thread_local! {
    /// Dropped with the thread.
    static LAST: RefCell<Option<TellOnDrop>> = const { RefCell::new(None) };
}

/// Tells when each thread has ended.
fn watching(teller: &Teller) -> impl Fn() -> Station + Send + Sync + 'static {
    let teller = teller.clone();
    move || {
        LAST.with_borrow_mut(|last| *last = Some(teller.on_drop("thread ended")));
        Station::new()
    }
}

#[tokio::test]
async fn a_shutdown_joins_the_threads() {
    let (teller, mut told) = teller();
    let server = start(Server::bind("mem://").workers(3).service_per_worker(watching(&teller))).await;
    let _clients = clients(&server, 3).await;
    within(server.shutdown()).await.unwrap();
    assert_eq!([(); 3].map(|()| told.now()), [Some("thread ended"); 3]);
}

#[test]
fn a_dropped_handle_ends_everything_without_waiting() {
    let (teller, mut told) = teller();
    let builder = Server::bind("mem://").workers(3).service_per_worker(watching(&teller));
    let server = block_on(builder.start()).unwrap();
    let client = block_on(Client::connect(server.address()).into_future()).unwrap();
    drop(server);
    for _ in 0..3 {
        assert_eq!(block_on(told.next()), "thread ended");
    }
    drop(client);
}

#[tokio::test]
async fn a_runtime_has_several_servers_and_clients_and_ends_them() {
    let (teller, mut told) = teller();
    let runtime = Runtime::builder().workers(2).start().unwrap();
    assert_eq!(runtime.workers(), 2);
    let first = start(Server::bind("mem://").runtime(&runtime).service_per_worker(watching(&teller))).await;
    let second = start(Server::bind("mem://").runtime(&runtime).service(Station::new())).await;
    let mut threads = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let seen = Arc::new(Mutex::new(String::new()));
        let note = Arc::clone(&seen);
        let client = Client::connect(first.address()).runtime(&runtime);
        let client = client.on_event(move |_, event| {
            if let ConnectionEvent::Ready = event {
                *note.lock().unwrap() = this_thread();
            }
        });
        clients.push(within(client).await.unwrap());
        threads.push(seen.lock().unwrap().clone());
    }
    assert_eq!(threads, named(&[0, 1, 0, 1]), "clients take turns");
    let other = within(Client::connect(second.address())).await.unwrap();
    let error = {
        let (down, again) = within(join(runtime.shutdown(), runtime.clone().shutdown())).await;
        down.and(again).unwrap();
        within(Server::bind("mem://").runtime(&runtime).start()).await.unwrap_err()
    };
    assert!(matches!(error, Error::ShutDown), "{error}");
    assert_eq!([told.now(), told.now()], [Some("thread ended"); 2]);
    within(join(first.closed(), second.closed())).await;
    for client in &clients {
        within(client.closed()).await;
    }
    within(disconnected(&other)).await;
    within(runtime.shutdown()).await.expect("once more");
}

#[tokio::test]
async fn a_runtime_lives_as_long_as_what_runs_on_it() {
    let (teller, mut told) = teller();
    let runtime = Runtime::builder().start().unwrap();
    let builder = Server::bind("mem://").runtime(&runtime);
    let server = start(builder.service_per_worker(watching(&teller))).await;
    drop(runtime);
    let clients = clients(&server, 1).await;
    assert_eq!(threads(&clients).await, named(&[0]));
    drop(server);
    assert_eq!(within(told.next()).await, "thread ended");
}

/// Blocks its thread until the test lets it go.
#[derive(Service, Client)]
#[did(1, execute = fn block())]
struct Blocking {
    begun: Arc<Notify>,
    gate: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl Blocking {
    fn block(&mut self) {
        self.begun.notify_one();
        let _ = self.gate.lock().unwrap().recv();
    }
}

#[tokio::test]
async fn a_blocked_worker_does_not_keep_the_others_from_ending() {
    let (open, gate) = std::sync::mpsc::channel();
    let (begun, gate, (teller, mut told)) = (Arc::new(Notify::new()), Arc::new(Mutex::new(gate)), teller());
    let wakes = Arc::clone(&begun);
    let station = Station::with(&Arc::new(Semaphore::new(0)), &teller);
    let builder = Server::bind("mem://").workers(2).service_at(100, station);
    let make = move || Blocking { begun: Arc::clone(&wakes), gate: Arc::clone(&gate) };
    let server = start(builder.service_per_worker(make)).await;
    let clients = clients(&server, 2).await;
    let blocking = BlockingClient::new(&clients[1]);
    let call = tokio::spawn(async move { blocking.block().await });
    within(begun.notified()).await;
    drop(server);
    assert_eq!(within(told.next()).await, "gone", "the peer of the first thread");
    assert_eq!(within(told.next()).await, "stopping", "a service of the first thread");
    drop(open);
    // What it is answered is all the same; it does not hang.
    let _ = within(call).await.unwrap();
}

#[tokio::test]
async fn mistakes_are_errors_of_the_start() {
    for (workers, expected) in [
        (0, "workers: 0 is outside of 1 to 1024"),
        (1025, "workers: 1025 is outside of 1 to 1024"),
        (usize::MAX, "workers: 18446744073709551615 is outside of 1 to 1024"),
    ] {
        let error = within(Server::bind("mem://").workers(workers).start()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(Runtime::builder().workers(workers).start().unwrap_err().to_string(), expected);
    }
    quiet();
    let made = AtomicUsize::new(0);
    let make = move || match made.fetch_add(1, Ordering::SeqCst) {
        2 => std::panic::panic_any(ON_PURPOSE),
        _ => Station::new(),
    };
    let builder = Server::bind("mem://").workers(3).service_per_worker(make);
    let error = within(builder.start()).await.unwrap_err().to_string();
    let expected =
        "service_per_worker: the closure that makes the service panicked; standard error has where";
    assert_eq!(error, expected);
}
