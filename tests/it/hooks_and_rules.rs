//! Rules that judge requests before their handlers, and closures that follow connections.

use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Peer};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::{Teller, disconnected, limits, teller, within};

const FOR_EVER: Duration = Duration::from_secs(100_000);
/// What panics in here says.
const ON_PURPOSE: &str = "a rule that fails";
const ADDRESSES: [&str; 2] = ["tcp://127.0.0.1:0", "mem://"];

/// Notes what reaches it.
#[derive(Service, Client)]
#[did(2, execute = fn note(number: u32) -> usize)]
struct Notebook {
    #[did(1, read, write)]
    title: String,
    notes: Arc<Mutex<Vec<u32>>>,
}

impl Notebook {
    fn new() -> (Self, Arc<Mutex<Vec<u32>>>) {
        let notes = Arc::default();
        (Self { title: "notes".to_owned(), notes: Arc::clone(&notes) }, notes)
    }

    fn note(&mut self, number: u32) -> usize {
        let mut notes = self.notes.lock().expect("no panic");
        notes.push(number);
        notes.len()
    }
}

/// Panics on purpose are not printed, all others are.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
                print(info);
            }
        }));
    });
}

#[track_caller]
fn assert_fault<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: &Fault) {
    let error = outcome.unwrap_err();
    assert_eq!(error.fault(), Some(expected), "{error}");
}

fn numbers(notes: &Mutex<Vec<u32>>) -> Vec<u32> {
    notes.lock().expect("no panic").clone()
}

// Rules

/// Refuses what it is told to; reads pass.
async fn by_number(call: Call<()>) -> Result<(), Fault> {
    match (call.service_id(), call.data_id().value(), call.name()) {
        (ServiceId::EXECUTE_REQUEST, 2, "note") => Err(Fault::custom(4711, "not today")),
        (ServiceId::WRITE_REQUEST, 1, "title") => Err(Fault::not_permitted("read only")),
        (ServiceId::READ_REQUEST, 1, "title") => Ok(()),
        other => Err(Fault::callback_error(format!("{other:?}"))),
    }
}

#[tokio::test]
async fn a_rule_refuses_with_any_status_on_both_sides() {
    for address in ADDRESSES {
        let ((served, server_notes), (own, client_notes)) = (Notebook::new(), Notebook::new());
        let server =
            within(Server::bind(address).authorize(by_number).service(served).start()).await.unwrap();
        let client = Client::connect(server.address()).authorize(by_number).service(own);
        let client = within(client.into_future()).await.unwrap();
        let up = NotebookClient::new(&client);
        assert_eq!(within(up.title()).await.unwrap(), "notes");
        let down = NotebookClient::new(&server.peers()[0]);
        for book in [&up, &down] {
            assert_fault(within(book.note(1)).await, &Fault::custom(4711, "not today"));
            assert_fault(within(book.set_title("x".into())).await, &Fault::not_permitted("read only"));
            assert_eq!(within(book.title()).await.unwrap(), "notes");
        }
        assert_eq!((numbers(&server_notes), numbers(&client_notes)), (vec![], vec![]));
        // What nobody serves is refused for that.
        assert_fault(within(client.read::<u8>(99)).await, &Fault::unknown(""));
    }
}

#[tokio::test]
async fn a_rule_knows_who_asks_and_can_ask_back() {
    for address in ADDRESSES {
        let (served, notes) = Notebook::new();
        let rule = async |call: Call<()>| {
            if call.service_id() == ServiceId::READ_REQUEST {
                return Ok(());
            }
            let title = NotebookClient::new(call.peer()).title().await?;
            let name = call.peer().channel_name();
            if title == "friend" && name.as_deref() == Some("door") {
                return Ok(());
            }
            Err(Fault::not_permitted(title))
        };
        let server = within(Server::bind(address).authorize(rule).service(served).start()).await.unwrap();
        for (title, allowed) in [("friend", true), ("stranger", false)] {
            let own = Notebook { title: title.to_owned(), notes: Arc::default() };
            let client = Client::connect(server.address()).channel_name("door").service(own);
            let client = within(client.into_future()).await.unwrap();
            let outcome = within(NotebookClient::new(&client).note(7)).await;
            assert_eq!(outcome.is_ok(), allowed, "{outcome:?}");
        }
        assert_eq!(numbers(&notes), [7]);
    }
}

#[tokio::test]
async fn the_requests_of_one_peer_are_judged_in_order_and_hold_up_no_other_peer() {
    for address in ADDRESSES {
        let (served, notes) = Notebook::new();
        let (teller, mut told) = teller();
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let rule = async move |call: Call<()>| {
            if call.peer().channel_name().as_deref() == Some("slow") {
                teller.tell("judging");
                opened.acquire().await.expect("nobody closes the gate").forget();
            }
            Ok(())
        };
        let server = within(Server::bind(address).authorize(rule).service(served).start()).await.unwrap();
        let slow = Client::connect(server.address()).channel_name("slow").into_future();
        let slow = within(slow).await.unwrap();
        let other = within(Client::connect(server.address())).await.unwrap();
        let book = NotebookClient::new(&slow);
        let calls: Vec<_> = (0..100).map(|number| tokio::spawn(book.note(number))).collect();
        assert_eq!(within(told.next()).await, "judging");
        assert_eq!(within(NotebookClient::new(&other).note(1000)).await.unwrap(), 1);
        gate.add_permits(1);
        assert_eq!(within(told.next()).await, "judging", "one after the other");
        assert!(numbers(&notes).len() <= 2);
        gate.add_permits(99);
        for (number, call) in (0..).zip(calls) {
            assert_eq!(within(call).await.unwrap().unwrap(), number + 2);
        }
        assert_eq!(numbers(&notes)[1..], Vec::from_iter(0..100));
    }
}

#[tokio::test]
async fn a_rule_that_panics_is_status_2_and_judges_the_next() {
    quiet();
    for address in ADDRESSES {
        let (served, notes) = Notebook::new();
        let asked = AtomicUsize::new(0);
        let rule = async move |_: Call<()>| match asked.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => panic::panic_any(ON_PURPOSE),
            1 => {
                tokio::task::yield_now().await;
                panic::panic_any(ON_PURPOSE)
            }
            _ => Ok(()),
        };
        let server = within(Server::bind(address).authorize(rule).service(served).start()).await.unwrap();
        let client = within(Client::connect(server.address())).await.unwrap();
        let book = NotebookClient::new(&client);
        for number in 0..300 {
            let outcome = within(book.note(number)).await;
            match number % 3 {
                2 => assert!(outcome.is_ok(), "{outcome:?}"),
                _ => assert_fault(outcome, &Fault::callback_error("handler panicked")),
            }
        }
        assert_eq!(numbers(&notes), Vec::from_iter((2..300).step_by(3)));
    }
}

#[actix::test]
async fn a_rule_slower_than_a_handler_may_be_is_status_2_and_nothing_runs() {
    tokio::time::pause();
    let (served, notes) = Notebook::new();
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    let rule = async move |_: Call<()>| {
        if is_slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        Ok(())
    };
    let limits = limits(|limits| limits.handler_timeout = Duration::from_secs(5));
    let server = Server::bind("mem://").limits(limits).authorize(rule).service(served);
    let server = within(server.start()).await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let book = NotebookClient::new(&client);
    let begin = Instant::now();
    let outcome = book.note(1).timeout(FOR_EVER).await;
    assert_fault(outcome, &Fault::callback_error("handler timed out"));
    assert_eq!(begin.elapsed().as_secs(), 5);
    slow.store(false, Ordering::SeqCst);
    assert_eq!(within(book.note(2)).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(numbers(&notes), [2]);
}

#[actix::test]
async fn a_rule_that_never_ends_holds_up_its_peer_until_the_request_is_over() {
    tokio::time::pause();
    let (served, notes) = Notebook::new();
    let asked = AtomicUsize::new(0);
    let rule = async move |_: Call<()>| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => std::future::pending().await,
        _ => Ok(()),
    };
    let limits = limits(|limits| limits.handler_timeout = Duration::from_secs(5));
    let server = Server::bind("mem://").limits(limits).authorize(rule).service(served);
    let server = within(server.start()).await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let book = NotebookClient::new(&client);
    let outcome = book.note(1).timeout(FOR_EVER).await;
    assert_fault(outcome, &Fault::callback_error("handler timed out"));
    assert_eq!(book.note(2).timeout(FOR_EVER).await.unwrap(), 1);
    assert_eq!(numbers(&notes), [2]);
}

#[actix::test]
async fn a_request_that_is_given_up_while_it_is_judged_is_not_run() {
    tokio::time::pause();
    let (served, notes) = Notebook::new();
    let (teller, mut told) = teller();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let rule = async move |_: Call<()>| {
        teller.tell("judging");
        opened.acquire().await.expect("nobody closes the gate").forget();
        Ok(())
    };
    let server = within(Server::bind("mem://").authorize(rule).service(served).start()).await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let book = NotebookClient::new(&client);
    let first = actix::spawn(book.note(1));
    assert_eq!(within(told.next()).await, "judging");
    let second = actix::spawn(book.note(2));
    tokio::task::yield_now().await;
    first.abort();
    assert!(within(first).await.unwrap_err().is_cancelled());
    // What the client answers comes behind what it has sent before.
    assert_fault(within(server.peers()[0].read::<u8>(99)).await, &Fault::unknown(""));
    gate.add_permits(2);
    assert_eq!(within(second).await.unwrap().unwrap(), 1);
    assert_eq!(numbers(&notes), [2]);
}

#[actix::test]
async fn what_is_judged_for_a_peer_that_has_gone_is_dropped() {
    tokio::time::pause();
    let (served, notes) = Notebook::new();
    let (teller, mut told) = teller();
    let rule = async move |_: Call<()>| {
        teller.tell("judging");
        let _gone = teller.on_drop("gone");
        std::future::pending().await
    };
    let server = within(Server::bind("mem://").authorize(rule).service(served).start()).await.unwrap();
    let client = within(Client::connect(server.address())).await.unwrap();
    let call = actix::spawn(NotebookClient::new(&client).note(1).timeout(FOR_EVER));
    assert_eq!(within(told.next()).await, "judging");
    within(client.close()).await;
    assert_eq!(within(told.next()).await, "gone");
    assert!(matches!(within(call).await.unwrap(), Err(Error::ConnectionLost { .. })));
    assert_eq!(numbers(&notes), [0_u32; 0]);
}

#[tokio::test]
async fn answers_to_an_old_peer_keep_their_order_whatever_the_rule_says() {
    for address in ADDRESSES {
        let (served, notes) = Notebook::new();
        let asked = AtomicUsize::new(0);
        let rule = async move |_: Call<()>| match asked.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Ok(()),
            _ => Err(Fault::custom(7, "every other one")),
        };
        let server = within(Server::bind(address).authorize(rule).service(served).start()).await.unwrap();
        let client = Client::connect(format!("{}?peer=old", server.address())).into_future();
        let book = NotebookClient::new(&within(client).await.unwrap());
        let calls: Vec<_> = (0..50).map(|number| tokio::spawn(book.note(number))).collect();
        for (number, call) in (0..).zip(calls) {
            let outcome = within(call).await.unwrap();
            match number % 2 {
                0 => assert_eq!(outcome.unwrap(), number as usize / 2 + 1),
                _ => assert_fault(outcome, &Fault::custom(7, "every other one")),
            }
        }
        assert_eq!(numbers(&notes), Vec::from_iter((0..50).step_by(2)));
    }
}

// Followers

fn panics_but_tells(teller: Teller) -> impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static {
    move |_, event| {
        teller.tell(match event {
            ConnectionEvent::Connected => "connected",
            ConnectionEvent::Ready => "ready",
            ConnectionEvent::Reconnected => "reconnected",
            ConnectionEvent::Disconnected { .. } => "disconnected",
            _ => "?",
        });
        panic::panic_any(ON_PURPOSE)
    }
}

#[tokio::test]
async fn a_follower_that_panics_hears_of_everything_and_hurts_nobody() {
    quiet();
    for address in ADDRESSES {
        let ((teller_of_server, mut server_told), (teller_of_client, mut client_told)) = (teller(), teller());
        let (served, _notes) = Notebook::new();
        let server = Server::bind(address).on_event(panics_but_tells(teller_of_server)).service(served);
        let server = within(server.start()).await.unwrap();
        let client = Client::connect(server.address()).on_event(panics_but_tells(teller_of_client));
        let client = within(client.into_future()).await.unwrap();
        assert_eq!(within(NotebookClient::new(&client).title()).await.unwrap(), "notes");
        within(client.close()).await;
        for told in [&mut server_told, &mut client_told] {
            for event in ["connected", "ready", "disconnected"] {
                assert_eq!(within(told.next()).await, event, "{address}");
            }
        }
    }
}

#[tokio::test]
async fn a_follower_sees_the_state_that_the_event_tells_of() {
    for address in ADDRESSES {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let follow = move |peer: &Peer, event: &ConnectionEvent| {
            let kind = match event {
                ConnectionEvent::Disconnected { .. } => "Disconnected".to_owned(),
                other => format!("{other:?}"),
            };
            let name = peer.channel_name().map(|name| name.to_string());
            let entry = (kind, peer.is_connected(), peer.is_ready(), peer.is_trusted(), name);
            list.lock().expect("no panic").push(entry);
        };
        let secret = Secret::from_text("a secret of some length").unwrap();
        let (served, _notes) = Notebook::new();
        let server = Server::bind(address).secret(secret.clone()).on_event(follow).service(served);
        let server = within(server.start()).await.unwrap();
        let client = Client::connect(server.address()).secret(secret).channel_name("door");
        let client = within(client.into_future()).await.unwrap();
        within(NotebookClient::new(&client).title()).await.unwrap();
        within(server.shutdown()).await.unwrap();
        disconnected(&client).await;
        let door = || Some("door".to_owned());
        let expected = [
            ("Connected".to_owned(), true, false, false, None),
            ("Ready".to_owned(), true, true, true, door()),
            ("Disconnected".to_owned(), false, false, false, door()),
        ];
        assert_eq!(*seen.lock().expect("no panic"), expected, "{address}");
    }
}
