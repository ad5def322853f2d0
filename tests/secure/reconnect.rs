//! Secure lines that are lost, closed and made anew: what callers, followers and `Protocol` handles see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use socketproto::prelude::*;
use socketproto::{Error, Level};
use tokio::sync::Semaphore;

use crate::between::{Deed, FromServer, Hook, Middle};
use crate::desk::{DIGITS, DeskClient, Notes, client, secret, serve, until, within};

const CUT: &str =
    "the line ended without a word of the peer: it was cut by somebody in between, or the peer has died";
const CLOSED: &str = "closed by the peer";

/// Cuts the line in the middle of the next record of the server, while it is armed.
fn cutter(armed: &Arc<AtomicBool>) -> impl FnMut() -> Hook + Send + 'static {
    let armed = Arc::clone(armed);
    move || {
        let armed = Arc::clone(&armed);
        Box::new(move |side, _, mut unit| {
            if side == FromServer && armed.swap(false, Ordering::SeqCst) {
                unit.truncate(unit.len() / 2);
                return Deed::Cut(unit);
            }
            Deed::Pass(unit)
        })
    }
}

#[tokio::test]
async fn a_line_that_is_cut_in_a_record_is_made_anew_and_what_waits_goes_over_it() {
    let (server, server_notes) = serve("tcp://127.0.0.1:0").await;
    let armed = Arc::new(AtomicBool::new(false));
    let middle = Middle::hooked(&server, cutter(&armed)).await;
    let notes = Notes::default();
    let client =
        within(notes.client(client(&middle.url).secret(secret(DIGITS)))).await.expect("it knows the secret");
    let desk = DeskClient::new(&client);
    for round in 0..3 {
        armed.store(true, Ordering::SeqCst);
        let error = within(desk.tell(format!("lost {round}"))).await.expect_err("its answer was cut");
        let Error::ConnectionLost { reason, sent: true, .. } = &error else { panic!("{error}") };
        assert_eq!(**reason, *CUT);
        // Calls made meanwhile wait for the next line, and none of them is made twice.
        let calls = (0..20).map(|number| desk.tell(format!("{round} {number}")));
        for level in within(join_all(calls)).await {
            assert_eq!(level.expect("on the next line"), "secure");
        }
        assert_eq!(client.level(), Some(Level::Secure));
    }
    let mut heard = server_notes.all_heard();
    assert_eq!(heard.len(), 3 * 21);
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 3 * 21);
    assert_eq!(notes.ends(), [CUT; 3]);
    let again = ["connected", "reconnected"];
    let events = notes.events();
    let lines: Vec<&[String]> = events.split(|event| event.starts_with("end: ")).collect();
    assert!(lines.len() == 4 && lines[1..].iter().all(|line| *line == again), "{events:?}");
    until("the server has seen it", || server_notes.ends().len() == 3).await;
    assert_eq!(server_notes.ends(), [CUT; 3]);
}

#[tokio::test]
async fn authenticate_waits_until_calls_can_be_made_or_says_that_they_cannot() {
    let (server, _) = serve("tcp://127.0.0.1:0").await;
    let armed = Arc::new(AtomicBool::new(false));
    let middle = Middle::hooked(&server, cutter(&armed)).await;
    let lazy = within(client(&middle.url).secret(secret(DIGITS)).lazy()).await.expect("it waits");
    let protocol = lazy.protocol();
    assert!(within(protocol.authenticate(Duration::from_secs(20))).await);
    assert!(protocol.check_authentication_state() && protocol.connection_established() && lazy.is_ready());
    assert!(within(protocol.authenticate(None)).await, "at once");

    armed.store(true, Ordering::SeqCst);
    let _ = within(DeskClient::new(&lazy).tell("word".into())).await;
    until("the line is lost", || !protocol.check_authentication_state() || lazy.is_ready()).await;
    assert!(within(protocol.authenticate(Duration::from_secs(20))).await, "on the next line");
    assert!(lazy.is_ready());
    within(lazy.close()).await;
    assert!(!within(protocol.authenticate(None)).await && !protocol.check_authentication_state());

    let wrong = within(client(server.address()).secret(secret("another secret than that")).lazy())
        .await
        .expect("it waits");
    assert!(!within(wrong.protocol().authenticate(Duration::from_secs(20))).await);
    assert!(!wrong.protocol().check_authentication_state() && !wrong.protocol().connection_established());

    let nobody =
        within(client("mem://nobody-at-home").secret(secret(DIGITS)).lazy()).await.expect("it waits");
    assert!(!within(nobody.protocol().authenticate(Duration::from_millis(50))).await);

    // A server tells whether its client has proved the secret.
    let honest = within(client(server.address()).secret(secret(DIGITS))).await.expect("it knows the secret");
    let peer = within(server.protocol()).await.expect("a peer");
    assert!(within(peer.authenticate(None)).await && peer.check_authentication_state());
    drop(honest);
}

#[tokio::test]
async fn who_goes_says_so_and_who_is_cut_off_does_not() {
    // The client closes it, drops its last handle, or wants another line.
    for end in ["close", "drop", "reconnect"] {
        let (server, notes) = serve("tcp://127.0.0.1:0").await;
        let honest =
            within(client(server.address()).secret(secret(DIGITS))).await.expect("it knows the secret");
        match end {
            "close" => within(honest.close()).await,
            "drop" => drop(honest),
            _ => {
                honest.protocol().reconnect();
                until("it has come again", || {
                    notes.events().iter().filter(|event| *event == "ready").count() == 2
                })
                .await;
            }
        }
        until("the server has seen it", || !notes.ends().is_empty()).await;
        let expected = match end {
            "reconnect" => "closed by the peer: closed by this side, to connect again",
            _ => CLOSED,
        };
        assert_eq!(notes.ends()[0], expected, "{end}");
    }
}

/// Says that it has begun, and answers when it may.
#[derive(Service, Client)]
#[did(1, execute = async fn wait(cx) -> u32)]
struct Slow {
    begun: Arc<AtomicBool>,
    gate: Arc<Semaphore>,
}

impl Slow {
    async fn wait(cx: Call<Self>) -> u32 {
        let gate = cx
            .actor(|this| {
                this.begun.store(true, Ordering::SeqCst);
                Arc::clone(&this.gate)
            })
            .await;
        gate.acquire().await.expect("nobody closes it").forget();
        7
    }
}

#[tokio::test]
async fn a_server_that_shuts_down_answers_what_runs_and_says_goodbye() {
    let (begun, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let slow = Slow { begun: Arc::clone(&begun), gate: Arc::clone(&gate) };
    let server = Server::bind("tcp://127.0.0.1:0").secret(secret(DIGITS)).service(slow);
    let server = within(server.start()).await.expect("it listens");
    let notes = Notes::default();
    let honest = within(notes.client(client(server.address()).secret(secret(DIGITS)))).await;
    let honest = honest.expect("it knows the secret");
    let slow = SlowClient::new(&honest);
    let shut_down = async {
        until("it has begun", || begun.load(Ordering::SeqCst)).await;
        let (ended, ()) = tokio::join!(server.shutdown(), async { gate.add_permits(1) });
        ended
    };
    let (answer, ended) = within(async { tokio::join!(slow.wait().into_future(), shut_down) }).await;
    assert_eq!(answer.expect("it was running"), 7);
    ended.expect("nothing is left");
    until("the client has seen it", || !notes.ends().is_empty()).await;
    assert_eq!(notes.ends()[0], CLOSED);
}
