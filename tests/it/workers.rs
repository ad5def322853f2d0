//! Servers on several threads: who runs where, and that all else stays as on one.

mod end;
mod same;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, mpsc as sync_mpsc};
use std::thread;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::transport::{Accept, Connect, Connected};
use socketproto::{Error, Lifecycle, ServerBuilder};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::support::{Teller, limits, teller, within};
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

async fn start(builder: ServerBuilder) -> Server {
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

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

async fn threads(clients: &[Client]) -> Vec<String> {
    within(join_all(clients.iter().map(|client| async { station(client).thread().await.unwrap() }))).await
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
    within(until(|| server.peers().len() == 4)).await;
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
struct Plug(mpsc::UnboundedSender<DuplexStream>);

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
    lines: mpsc::UnboundedReceiver<DuplexStream>,
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

/// Blocks its thread until the test lets it go.
#[derive(Service, Client)]
#[did(1, execute = fn block())]
#[did(2, read = fn thread() -> String)]
pub(super) struct Blocking {
    begun: Arc<Notify>,
    gate: Arc<Mutex<sync_mpsc::Receiver<()>>>,
}

impl Blocking {
    fn block(&mut self) {
        self.begun.notify_one();
        let _ = self.gate.lock().unwrap().recv();
    }

    fn thread(&mut self) -> String {
        this_thread()
    }
}

/// Makes such services; then what tells that one blocks, and what lets it go when it is dropped.
fn blocking() -> (impl Fn() -> Blocking + Send + Sync + 'static, Arc<Notify>, sync_mpsc::Sender<()>) {
    let (open, gate) = sync_mpsc::channel();
    let (begun, gate) = (Arc::new(Notify::new()), Arc::new(Mutex::new(gate)));
    let wakes = Arc::clone(&begun);
    let make = move || Blocking { begun: Arc::clone(&wakes), gate: Arc::clone(&gate) };
    (make, begun, open)
}

#[cfg(unix)]
#[tokio::test]
async fn a_blocked_thread_holds_up_its_own_connections_alone() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("unix://{}", directory.path().join("blocked.sock").display());
    for address in [ADDRESSES[0], ADDRESSES[1], &unix] {
        let (make, begun, open) = blocking();
        let server = start(Server::bind(address).workers(2).service_per_worker(make)).await;
        let clients = clients(&server, 2).await;
        let blocks = BlockingClient::new(&clients[0]);
        let call = tokio::spawn(async move { blocks.block().await });
        within(begun.notified()).await;
        let other = BlockingClient::new(&clients[1]);
        for _ in 0..3 {
            assert_eq!(within(other.thread()).await.unwrap(), "socketproto-1", "{address}");
        }
        drop(open);
        within(call).await.unwrap().unwrap();
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
