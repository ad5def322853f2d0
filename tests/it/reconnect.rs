//! Clients that lose their line and find the next one: what calls see of it, what is told, how long it takes.
//!
//! Where time matters the test runs in an actix system with paused time: waits then pass when nothing else is left to
//! do, and last exactly as long as they should.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::testing::Line;
use socketproto::{AuthState, Backoff, ConnectionEvent, Error, Peer, ServerBuilder};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::process::{descriptors, is_alone, threads};
use crate::support::{TellOnDrop, Teller, Told, disconnected, limits, teller, within};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes, in time that is paused.
const FOR_EVER: Duration = Duration::from_secs(100 * 24 * 60 * 60);
/// What a timer may be late by: tokio's count milliseconds.
const TICK: Duration = Duration::from_millis(5);
const ADDRESSES: [&str; 2] = ["tcp://127.0.0.1:0", "mem://"];
const LOST: &str = "Disconnected: closed by the peer";

/// A shop that counts who came in.
#[derive(Service, Client)]
#[did(2, execute = fn enter() -> usize)]
#[did(3, execute = async fn stay(cx))]
struct Shop {
    #[did(1, read)]
    name: String,
    entered: Arc<AtomicUsize>,
    teller: Teller,
}

impl Shop {
    fn enter(&mut self) -> usize {
        self.entered.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Never ends by itself.
    async fn stay(cx: Call<Self>) {
        let _leaves = cx
            .actor(|this| {
                this.enter();
                this.teller.tell("entered");
                this.teller.on_drop("left")
            })
            .await;
        std::future::pending::<()>().await;
    }
}

/// What a client serves to its server.
#[derive(Service, Client)]
struct Doorbell {
    #[did(1, read, write)]
    rings: u32,
}

/// Shops that come and go under one address, and count together.
struct Street {
    entered: Arc<AtomicUsize>,
    teller: Teller,
    told: Told,
}

impl Street {
    fn new() -> Self {
        let (teller, told) = teller();
        Self { entered: Arc::default(), teller, told }
    }

    async fn open(&self, address: &str) -> Server {
        self.open_with(Server::bind(address)).await
    }

    async fn open_with(&self, builder: ServerBuilder) -> Server {
        let entered = Arc::clone(&self.entered);
        let shop = Shop { name: "shop".to_owned(), entered, teller: self.teller.clone() };
        within(builder.service(shop).start()).await.expect("the address is free")
    }

    /// Opens where a server is on its way out.
    async fn open_again(&self, address: &str) -> Server {
        let open = async {
            loop {
                let entered = Arc::clone(&self.entered);
                let shop = Shop { name: "shop".to_owned(), entered, teller: self.teller.clone() };
                match Server::bind(address).service(shop).start().await {
                    Err(Error::Bind { .. }) => tokio::task::yield_now().await,
                    other => return other.expect("only the address can be missing"),
                }
            }
        };
        within(open).await
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

/// What one side tells of its connections, with the time.
struct Events(mpsc::UnboundedReceiver<(String, Instant)>);

fn events() -> (impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        let text = match event {
            ConnectionEvent::Disconnected { reason } => format!("Disconnected: {reason}"),
            other => format!("{other:?}"),
        };
        let _ = sender.send((text, Instant::now()));
    };
    (follow, Events(receiver))
}

impl Events {
    async fn next(&mut self) -> String {
        patiently(self.0.recv()).await.expect("the endpoint lives").0
    }

    /// When the next event of this kind comes; others are passed over.
    async fn time_of(&mut self, kind: &str) -> Instant {
        loop {
            let (event, time) = patiently(self.0.recv()).await.expect("the endpoint lives");
            if event.starts_with(kind) {
                return time;
            }
        }
    }

    /// Those that have come.
    fn come(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|(event, _)| event).collect()
    }
}

/// Waits, but not for ever.
async fn patiently<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(FOR_EVER, work).await.expect("it ends by itself")
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text).expect("it is not empty")
}

/// Waits that end soon after the server is there.
fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(10))
}

fn is_lost<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::ConnectionLost { .. }))
}

fn is_timed_out<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::TimedOut { .. }))
}

// Servers that come back

#[tokio::test]
async fn a_server_that_comes_back_is_found_and_both_sides_are_told_in_order() {
    for address in ADDRESSES {
        let street = Street::new();
        let (follow, mut seen) = events();
        let (follow_server, mut server_saw) = events();
        let mut server = street.open_with(Server::bind(address).on_event(follow_server)).await;
        let client = Client::connect(server.address()).backoff(quick()).on_event(follow);
        let client = within(client.into_future()).await.unwrap();
        let shop = ShopClient::new(&client);
        assert_eq!(within(shop.enter()).await.unwrap(), 1);
        for round in 2..5 {
            within(server.shutdown()).await.unwrap();
            disconnected(&client).await;
            assert_eq!(server_saw.come(), ["Connected", "Ready", "Disconnected: closed by this side"]);
            let follow_server;
            (follow_server, server_saw) = events();
            server = street.open_with(Server::bind(server.address()).on_event(follow_server)).await;
            assert_eq!(within(shop.enter()).await.unwrap(), round, "{address}");
        }
        within(client.close()).await;
        assert_eq!(within(server_saw.next()).await, "Connected");
        assert_eq!(within(server_saw.next()).await, "Ready");
        assert_eq!(within(server_saw.next()).await, LOST);
        let again = [LOST, "Connected", "Reconnected"];
        let expected: Vec<_> =
            ["Connected", "Ready"].into_iter().chain([again; 3].into_iter().flatten()).collect();
        let come = seen.come();
        assert_eq!(come[..11], expected, "{address}");
        assert_eq!(come[11..], ["Disconnected: closed by this side"], "{address}");
    }
}

#[actix::test]
async fn each_line_that_is_cut_is_reported_once_with_its_reason() {
    tokio::time::pause();
    let street = Street::new();
    let (follow, mut seen) = events();
    let (follow_server, mut server_saw) = events();
    let server = street.open_with(Server::bind("mem://").on_event(follow_server)).await;
    let line = Line::of(server.address()).unwrap();
    let client = Client::connect(server.address()).on_event(follow);
    let client = patiently(client.into_future()).await.unwrap();
    let shop = ShopClient::new(&client);
    for _ in 0..20 {
        line.cut_now();
        disconnected(&client).await;
        patiently(shop.enter().timeout(FOR_EVER)).await.unwrap();
    }
    let mut expected = vec!["Connected", "Ready"];
    expected.extend([LOST, "Connected", "Reconnected"].repeat(20));
    assert_eq!(seen.come(), expected);
    let expected: Vec<_> = [["Connected", "Ready", LOST].repeat(20), vec!["Connected", "Ready"]].concat();
    let mut saw = server_saw.come();
    // Each line has an actor of its own at the server, so one may begin before the other has ended.
    saw.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(saw, sorted);
    assert_eq!(street.entered(), 20);
}

#[actix::test]
async fn calls_that_were_sent_when_the_line_dies_fail_at_once_and_are_never_sent_again() {
    tokio::time::pause();
    let mut street = Street::new();
    let server = street.open("mem://").await;
    let line = Line::of(server.address()).unwrap();
    let client = patiently(Client::connect(server.address())).await.unwrap();
    let shop = ShopClient::new(&client);
    let calls: Vec<_> = (0..20).map(|_| actix::spawn(shop.stay().timeout(FOR_EVER).into_future())).collect();
    for _ in &calls {
        assert_eq!(patiently(street.told.next()).await, "entered");
    }
    let cut = Instant::now();
    line.cut_now();
    for call in calls {
        let outcome = patiently(call).await.unwrap();
        assert!(is_lost(&outcome), "{outcome:?}");
        let text = outcome.unwrap_err().to_string();
        assert!(text.ends_with("connection lost, outcome unknown: closed by the peer"), "{text}");
    }
    assert_eq!(cut.elapsed(), Duration::ZERO, "they do not wait for their timeout, nor for the next line");
    for _ in 0..20 {
        assert_eq!(patiently(street.told.next()).await, "left", "what ran for the line is cancelled");
    }
    assert_eq!(patiently(shop.enter()).await.unwrap(), 21, "each was sent once");
    assert!(cut.elapsed() <= Duration::from_millis(100) + TICK, "the first wait is 100 ms at most");
}

#[tokio::test]
async fn over_tcp_too_a_call_that_was_sent_is_never_sent_again() {
    let mut street = Street::new();
    let mut server = street.open("tcp://127.0.0.1:0").await;
    let address = server.address().to_owned();
    let client = within(Client::connect(&address).backoff(quick()).into_future()).await.unwrap();
    let shop = ShopClient::new(&client);
    for round in 1..4 {
        let call = tokio::spawn(shop.stay().timeout(FOR_EVER));
        assert_eq!(within(street.told.next()).await, "entered");
        assert_eq!(street.entered(), 2 * round - 1);
        // A server whose last handle is dropped waits for nothing.
        drop(server);
        let outcome = within(call).await.unwrap();
        assert!(is_lost(&outcome), "{outcome:?}");
        assert_eq!(within(street.told.next()).await, "left");
        server = street.open_again(&address).await;
        assert_eq!(within(shop.enter()).await.unwrap(), 2 * round);
    }
}

#[actix::test]
async fn calls_made_while_the_server_is_down_wait_for_it_or_time_out_on_time() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open("mem://").await;
    let address = server.address().to_owned();
    let client = patiently(Client::connect(&address)).await.unwrap();
    let shop = ShopClient::new(&client);
    patiently(server.shutdown()).await.unwrap();
    let down = Instant::now();
    let (short, long) =
        tokio::join!(async { shop.enter().timeout(3 * SECOND).await.map(|_| down.elapsed()) }, async {
            let outcome = shop.enter().timeout(7 * SECOND).await;
            (outcome, down.elapsed())
        });
    assert!(is_timed_out(&short), "{short:?}");
    assert!(is_timed_out(&long.0), "{long:?}");
    assert!((7 * SECOND..7 * SECOND + TICK).contains(&long.1), "{long:?}");
    assert!(!client.is_connected() && !client.is_ready());

    let waiting: Vec<_> = (0..300).map(|_| actix::spawn(shop.enter().timeout(60 * SECOND))).collect();
    tokio::time::sleep(5 * SECOND).await;
    let _server = street.open(&address).await;
    let mut numbers = Vec::new();
    for call in waiting {
        numbers.push(patiently(call).await.unwrap().expect("the server is there in time"));
    }
    assert_eq!(numbers, Vec::from_iter(1..=300), "once each, and in their order");
}

#[actix::test]
async fn each_line_is_authenticated_anew() {
    tokio::time::pause();
    let key = || secret("a secret of some length");
    let street = Street::new();
    let (follow, mut server_saw) = events();
    let server = street.open_with(Server::bind("mem://").secret(key()).on_event(follow)).await;
    let line = Line::of(server.address()).unwrap();
    let client = patiently(Client::connect(server.address()).secret(key()).into_future()).await.unwrap();
    let shop = ShopClient::new(&client);
    for round in 1..5 {
        assert_eq!(patiently(shop.enter()).await.unwrap(), round);
        assert!(client.is_trusted() && server.peers()[0].is_trusted());
        server_saw.time_of("Ready").await;
        line.cut_now();
        server_saw.time_of("Disconnected").await;
        disconnected(&client).await;
        assert_eq!(client.auth_state(), AuthState::Untrusted, "trust ends with the line");
    }
}

#[actix::test]
async fn a_secret_that_is_wrong_after_a_restart_waits_the_longest_time_at_once() {
    tokio::time::pause();
    const LONGEST: Duration = Duration::from_secs(300);
    let street = Street::new();
    let server = street.open_with(Server::bind("mem://").secret(secret("the first secret"))).await;
    let address = server.address().to_owned();
    let (follow, mut seen) = events();
    let client = Client::connect(&address).secret(secret("the first secret")).on_event(follow);
    let client = client.backoff(Backoff::new(Duration::from_millis(10), LONGEST));
    let client = patiently(client.into_future()).await.unwrap();
    patiently(server.shutdown()).await.unwrap();
    let server = street.open_with(Server::bind(&address).secret(secret("another secret"))).await;
    seen.time_of("Disconnected: closed").await;
    for _ in 0..3 {
        let refused = seen.time_of("Disconnected: the server does not take this secret").await;
        let wait = seen.time_of("Connected").await - refused;
        assert!((LONGEST..LONGEST + TICK).contains(&wait), "{wait:?}");
    }
    seen.time_of("Disconnected: the server does not take this secret").await;
    patiently(server.shutdown()).await.unwrap();
    let _server = street.open_with(Server::bind(&address).secret(secret("the first secret"))).await;
    seen.time_of("Reconnected").await;
    assert_eq!(patiently(ShopClient::new(&client).enter()).await.unwrap(), 1);
}

#[actix::test]
async fn what_a_client_serves_is_served_on_the_next_line_too() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open("mem://").await;
    let line = Line::of(server.address()).unwrap();
    let client = Client::connect(server.address()).service(Doorbell { rings: 0 });
    let client = patiently(client.into_future()).await.unwrap();
    for round in 0..4 {
        patiently(ShopClient::new(&client).enter()).await.unwrap();
        let [peer] = &server.peers()[..] else { panic!("{:?}", server.peers()) };
        let bell = DoorbellClient::new(peer);
        assert_eq!(patiently(bell.rings()).await.unwrap(), round, "one service for all lines");
        patiently(bell.set_rings(round + 1)).await.unwrap();
        let stale = peer.clone();
        line.cut_now();
        disconnected(&client).await;
        patiently(ShopClient::new(&client).enter()).await.unwrap();
        assert!(is_lost(&patiently(stale.read::<u32>(1)).await), "a server's peer is one line");
    }
}

#[actix::test]
async fn a_service_of_one_line_is_made_with_it_and_dropped_with_it() {
    tokio::time::pause();

    #[derive(Service, Client)]
    struct Ticket {
        #[did(5, read)]
        number: usize,
        _dropped: TellOnDrop,
    }

    for at_client in [false, true] {
        let (teller, mut told) = teller();
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let make = move |_: Peer| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Ticket { number, _dropped: teller.on_drop("dropped") }
        };
        let street = Street::new();
        let (mut builder, server_make) = (Server::bind("mem://"), make.clone());
        if !at_client {
            builder = builder.service_per_peer(server_make);
        }
        let server = street.open_with(builder).await;
        let line = Line::of(server.address()).unwrap();
        let mut builder = Client::connect(server.address());
        if at_client {
            builder = builder.service_per_peer(make);
        }
        let client = patiently(builder.into_future()).await.unwrap();
        for round in 0..5 {
            patiently(ShopClient::new(&client).enter()).await.unwrap();
            let peer = server.peers().pop().expect("the client");
            let ticket = if at_client { TicketClient::new(&peer) } else { TicketClient::new(&client) };
            assert_eq!(patiently(ticket.number()).await.unwrap(), round);
            line.cut_now();
            assert_eq!(patiently(told.next()).await, "dropped");
        }
        patiently(ShopClient::new(&client).enter()).await.unwrap();
        patiently(client.close()).await;
        assert_eq!(patiently(told.next()).await, "dropped");
        assert_eq!(made.load(Ordering::SeqCst), 6, "one for each line");
    }
}

#[actix::test]
async fn the_name_of_the_channel_is_that_of_the_next_server() {
    tokio::time::pause();
    let street = Street::new();
    let mut server = street.open_with(Server::bind("mem://").channel_name("cellar")).await;
    let address = server.address().to_owned();
    let client = patiently(Client::connect(&address)).await.unwrap();
    let named = patiently(Client::connect(&address).channel_name("attic").into_future()).await.unwrap();
    for name in [Some("kitchen"), None, Some("cellar")] {
        patiently(server.shutdown()).await.unwrap();
        let mut builder = Server::bind(&address);
        if let Some(name) = name {
            builder = builder.channel_name(name);
        }
        server = street.open_with(builder).await;
        for (client, name) in [(&client, name), (&named, Some("attic"))] {
            patiently(ShopClient::new(client).enter()).await.unwrap();
            // The name is asked for before anything else, so its answer has come.
            assert_eq!(client.channel_name().as_deref(), name);
        }
    }
}

#[actix::test]
async fn a_name_that_was_taken_over_is_forgotten_at_disconnect() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open_with(Server::bind("mem://").channel_name("cellar")).await;
    let client = patiently(Client::connect(server.address())).await.unwrap();
    patiently(ShopClient::new(&client).enter()).await.unwrap();
    assert_eq!(client.channel_name().as_deref(), Some("cellar"));
    patiently(server.shutdown()).await.unwrap();
    disconnected(&client).await;
    assert_eq!(client.channel_name(), None);
}

// Lazy clients

#[actix::test]
async fn calls_of_a_lazy_client_wait_for_a_server_that_comes_or_time_out_on_time() {
    tokio::time::pause();
    let street = Street::new();
    let address = "mem://reconnect-lazy";
    let client = patiently(Client::connect(address).lazy().into_future()).await.unwrap();
    let shop = ShopClient::new(&client);
    let begin = Instant::now();
    let outcome = patiently(shop.enter().timeout(2 * SECOND)).await;
    assert!(is_timed_out(&outcome), "{outcome:?}");
    assert!((2 * SECOND..2 * SECOND + TICK).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    let waiting = actix::spawn(shop.enter().timeout(60 * SECOND));
    tokio::time::sleep(10 * SECOND).await;
    let _server = street.open(address).await;
    assert_eq!(patiently(waiting).await.unwrap().unwrap(), 1);
    assert!(client.is_ready());
}

/// Closes a client and makes sure that it is over: at once, for calls that wait and for later ones, for good.
async fn close_for_good(client: &Client, address: &str) {
    let call = actix::spawn(client.read::<String>(1).timeout(FOR_EVER));
    tokio::task::yield_now().await;
    let begin = Instant::now();
    patiently(client.close()).await;
    let outcome = patiently(call).await.unwrap();
    assert!(is_lost(&outcome), "{outcome:?}");
    let outcome = patiently(client.read::<String>(1)).await;
    assert!(matches!(outcome, Err(Error::ConnectionLost { sent: false, .. })), "{outcome:?}");
    let text = outcome.expect_err("it is closed").to_string();
    assert!(text.ends_with("not sent, the connection has ended: closed by this side"), "{text}");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let (follow, mut saw) = events();
    let server = Server::bind(address).on_event(follow).start().await.unwrap();
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(saw.come(), [""; 0], "nobody connects any more");
    patiently(server.shutdown()).await.unwrap();
}

#[actix::test]
async fn a_client_that_waits_for_its_first_line_closes_at_once_and_for_good() {
    tokio::time::pause();
    let address = "mem://reconnect-close-waiting";
    let client = patiently(Client::connect(address).lazy().into_future()).await.unwrap();
    close_for_good(&client, address).await;
    let client = patiently(Client::connect(address).lazy().into_future()).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    close_for_good(&client, address).await;
}

#[actix::test]
async fn a_client_that_is_ready_or_has_lost_its_line_closes_at_once_and_for_good() {
    tokio::time::pause();
    let street = Street::new();
    let address = "mem://reconnect-close-ready";
    let server = street.open(address).await;
    let client = patiently(Client::connect(address)).await.unwrap();
    patiently(server.shutdown()).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    close_for_good(&client, address).await;
    let server = street.open(address).await;
    let client = patiently(Client::connect(address)).await.unwrap();
    patiently(ShopClient::new(&client).enter()).await.unwrap();
    let begin = Instant::now();
    patiently(client.close()).await;
    assert!(begin.elapsed() < SECOND);
    patiently(server.shutdown()).await.unwrap();
    close_for_good(&client, address).await;
}

#[actix::test]
async fn a_client_that_is_told_to_close_while_its_line_comes_closes() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open("mem://").await;
    // The end is asked for before, while, and after it connects.
    for yields in 0..20 {
        let client = patiently(Client::connect(server.address()).lazy().into_future()).await.unwrap();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let begin = Instant::now();
        patiently(client.close()).await;
        assert!(begin.elapsed() < SECOND, "after {yields} turns: {:?}", begin.elapsed());
    }
    patiently(async {
        while !server.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix::test]
async fn a_client_that_is_told_to_close_in_the_moment_of_its_next_attempt_closes() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open_with(Server::bind("mem://").secret(secret("the first secret"))).await;
    let address = server.address().to_owned();
    let (follow, mut seen) = events();
    let client = Client::connect(&address).secret(secret("another secret")).lazy().on_event(follow);
    let client = patiently(client.into_future()).await.unwrap();
    let refused = seen.time_of("Disconnected: the server does not take this secret").await;
    patiently(server.shutdown()).await.unwrap();
    let _server = street.open_with(Server::bind(&address).secret(secret("another secret"))).await;
    // The one wait whose length is known.
    tokio::time::sleep_until(refused + Backoff::default().max()).await;
    patiently(client.close()).await;
    assert!(!client.is_connected());
}

#[actix::test]
async fn waits_of_no_time_starve_nobody() {
    tokio::time::pause();
    let address = "mem://reconnect-no-wait";
    let client = Client::connect(address).lazy().backoff(Backoff::new(Duration::ZERO, Duration::ZERO));
    let client = patiently(client.into_future()).await.unwrap();
    let street = Street::new();
    let _server = street.open(address).await;
    assert_eq!(patiently(ShopClient::new(&client).enter()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_client_closes_while_it_dials() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let place = listener.local_addr().unwrap();
    // Nobody accepts: once the queue is full the next ones wait for the system's answer.
    let fill = (0..8).map(|_| tokio::time::timeout(SECOND / 5, TcpStream::connect(place)));
    let _queue = join_all(fill).await;
    let client = within(Client::connect(format!("tcp://{place}")).lazy().into_future()).await.unwrap();
    let call = tokio::spawn(client.read::<u8>(1));
    tokio::task::yield_now().await;
    let begin = Instant::now();
    within(client.close()).await;
    assert!(is_lost(&within(call).await.unwrap()));
    assert!(begin.elapsed() < 4 * SECOND, "less than an attempt takes: {:?}", begin.elapsed());
}

// How long it waits

/// The times of the first attempts of a lazy client at a server that accepts and drops.
async fn attempts(backoff: Backoff, count: usize) -> Vec<Duration> {
    let limits = limits(|limits| limits.max_connections = 0);
    let server = within(Server::bind("mem://").limits(limits).start()).await.unwrap();
    let (follow, mut seen) = events();
    let client = Client::connect(server.address()).lazy().backoff(backoff).on_event(follow);
    let _client = patiently(client.into_future()).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(seen.time_of("Connected").await);
    }
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[actix::test]
async fn the_waits_are_within_a_bound_that_doubles() {
    tokio::time::pause();
    for (min, max) in [(100, 30_000), (10, 640), (50, 50)].map(|(min, max)| {
        let bound = |millis| Duration::from_millis(millis);
        (bound(min), bound(max))
    }) {
        let gaps = attempts(Backoff::new(min, max), 60).await;
        let mut bound = min;
        for gap in &gaps {
            assert!(*gap <= bound + TICK, "{gap:?} instead of {bound:?}: {gaps:?}");
            bound = (bound * 2).min(max);
        }
        // Of 48 times up to the largest bound, the mean is half of it; less than a quarter comes once in 10^10 runs.
        let late = &gaps[gaps.len() - 48..];
        let sum = late.iter().sum::<Duration>();
        assert!(sum > max * 12, "the waits do not grow: {gaps:?}");
        let distinct: std::collections::BTreeSet<_> = late.iter().collect();
        assert!(distinct.len() > 10, "they are not random: {gaps:?}");
    }
}

#[actix::test]
async fn only_a_line_that_was_ready_for_10_s_makes_the_next_wait_short_again() {
    tokio::time::pause();
    let street = Street::new();
    let server = street.open("mem://").await;
    let line = Line::of(server.address()).unwrap();
    let (follow, mut seen) = events();
    let client = Client::connect(server.address()).backoff(Backoff::new(SECOND, SECOND * (1 << 20)));
    let _client = patiently(client.on_event(follow).into_future()).await.unwrap();
    seen.time_of("Ready").await;
    let mut wait_after = async |ready: Duration| {
        tokio::time::sleep(ready).await;
        line.cut_now();
        let lost = seen.time_of("Disconnected").await;
        let back = seen.time_of("Reconnected").await;
        back - lost
    };
    for _ in 0..20 {
        wait_after(Duration::ZERO).await;
    }
    // Up to a million seconds: below one it is once in a million runs.
    let wait = wait_after(10 * SECOND - 2 * TICK).await;
    assert!(wait > SECOND, "{wait:?}");
    for _ in 0..3 {
        let wait = wait_after(10 * SECOND + TICK).await;
        assert!(wait <= SECOND + TICK, "{wait:?}");
    }
    let wait = wait_after(Duration::ZERO).await;
    assert!(wait <= 2 * SECOND + TICK, "{wait:?}");
}

// Many restarts

#[test]
fn two_hundred_restarts_at_any_moment_leave_nothing_behind() {
    if is_alone("reconnect::two_hundred_restarts_at_any_moment_leave_nothing_behind") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        for address in ADDRESSES {
            runtime.block_on(two_hundred_restarts(address));
        }
    }
}

async fn two_hundred_restarts(address: &str) {
    const RESTARTS: usize = 200;
    const CALLERS: usize = 4;

    let street = Street::new();
    let mut server = street.open(address).await;
    let address = server.address().to_owned();
    // The runtime's own descriptors are there from now on.
    let before = (threads(), descriptors());
    let client = Client::connect(&address).service(Doorbell { rings: 0 });
    let client = client.backoff(Backoff::new(Duration::from_millis(10), Duration::from_millis(200)));
    let client = within(client.into_future()).await.unwrap();
    let stop = Arc::new(Semaphore::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (shop, stop) = (ShopClient::new(&client), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut answered, mut failed) = (0, 0);
                while stop.available_permits() == 0 {
                    for outcome in join_all((0..8).map(|_| shop.enter())).await {
                        match outcome {
                            Ok(_) => answered += 1,
                            Err(Error::ConnectionLost { .. }) => failed += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                (answered, failed)
            })
        })
        .collect();
    let mut random = 7_u64;
    for restart in 0..RESTARTS {
        // The moment is what is tried here, so this waits for nothing.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_micros((random >> 33) % 20_000)).await;
        if restart % 2 == 0 {
            within(server.shutdown()).await.unwrap();
        } else {
            drop(server);
        }
        server = street.open_again(&address).await;
    }
    stop.add_permits(1);
    let (mut answered, mut failed) = (0, 0);
    for caller in callers {
        let (more_answered, more_failed) = within(caller).await.expect("every call ends as it should");
        (answered, failed) = (answered + more_answered, failed + more_failed);
    }
    let entered = street.entered();
    assert!((answered..=answered + failed).contains(&entered), "{entered} runs, {answered} + {failed} calls");
    assert!(answered > RESTARTS, "{answered}");
    within(ShopClient::new(&client).enter()).await.unwrap();
    within(client.close()).await;
    // Servers that were dropped are still on their way out.
    within(async {
        while (threads(), descriptors()) != before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(server.shutdown()).await.unwrap();
    // Whoever is left of the servers would hold their service, and with it the counter.
    within(async {
        while Arc::strong_count(&street.entered) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
