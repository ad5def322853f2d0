//! `exclusive`

use std::sync::Arc;

use socketproto::Json;
use tokio::sync::Notify;

use super::*;

/// Two gates that a test opens.
#[derive(Clone, Default)]
struct Gates {
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

#[derive(Service, Client)]
#[did(1, execute = async fn hold(cx) -> Vec<u32>, exclusive)]
#[did(2, execute = fn note(number: u32))]
#[did(3, execute = async fn later(number: u32, cx))]
#[did(4, execute = async fn ask(cx) -> String, exclusive)]
#[did(5, execute = async fn fail(cx), exclusive)]
#[did(6, execute = async fn hurry(cx), exclusive, timeout = "20ms")]
#[did(7, execute = async fn at_once(cx) -> usize, exclusive)]
struct Desk {
    #[did(9, read)]
    notes: Vec<u32>,
    gates: Gates,
}

impl Desk {
    fn new() -> (Self, Gates) {
        let gates = Gates::default();
        (Self { notes: Vec::new(), gates: gates.clone() }, gates)
    }

    async fn wait(cx: &Call<Self>) {
        let gates = cx.actor(|this| this.gates.clone()).await;
        gates.begun.notify_one();
        gates.go.notified().await;
    }

    /// What had been noted when it ended.
    async fn hold(cx: Call<Self>) -> Vec<u32> {
        Self::wait(&cx).await;
        cx.actor(|this| this.notes.clone()).await
    }

    fn note(&mut self, number: u32) {
        self.notes.push(number);
    }

    async fn later(number: u32, cx: Call<Self>) {
        tokio::task::yield_now().await;
        cx.actor(|this| this.notes.push(number)).await;
    }

    /// Lets the peer call back while this waits for it.
    async fn ask(cx: Call<Self>) -> Result<String> {
        cx.peer().execute(1, &()).await
    }

    async fn fail(cx: Call<Self>) {
        Self::wait(&cx).await;
        panic!("on purpose");
    }

    async fn hurry(cx: Call<Self>) {
        Self::wait(&cx).await;
    }

    async fn at_once(cx: Call<Self>) -> usize {
        cx.actor(|this| this.notes.len()).await
    }
}

/// A server of a desk and of a probe: what was sent before a probe has been given to the desk when it is answered.
async fn serve_probed(desk: Desk) -> Result<(Server, Client)> {
    let (execute, probe) = (Some(ServiceId::EXECUTE_REQUEST), Some(99.into()));
    let server = Server::bind("mem://")
        .service(desk)
        .register_callback(execute, probe, |_| Ok(Json::NULL))
        .start()
        .await?;
    let client = Client::connect(server.address()).await?;
    Ok((server, client))
}

async fn probe(peer: &Peer) -> Result<()> {
    peer.execute(99, &()).await
}

/// A call that has been sent, and waits in a task of its own.
fn spawn<T: Send + serde::de::DeserializeOwned + 'static>(
    call: socketproto::PendingCall<T>,
) -> tokio::task::JoinHandle<Result<T>> {
    tokio::spawn(call)
}

#[tokio::test]
async fn no_request_begins_while_an_exclusive_method_runs_and_then_all_do_in_order() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (server, client) = serve_probed(desk).await?;
    let desk = DeskClient::new(&client);
    let other = Client::connect(server.address()).await?;
    let hold = spawn(desk.hold());
    gates.begun.notified().await;
    let notes: Vec<_> = (1..=4).map(|n| spawn(desk.note(n))).collect();
    let strange = spawn(DeskClient::new(&other).note(99));
    probe(&client).await?;
    probe(&other).await?;
    assert!(notes.iter().all(|note| !note.is_finished()) && !strange.is_finished());
    gates.go.notify_one();
    assert_eq!(hold.await.unwrap()?, [0; 0], "nothing was noted before it ended");
    for note in notes {
        note.await.unwrap()?;
    }
    strange.await.unwrap()?;
    let mut notes = desk.notes().await?;
    notes.retain(|note| *note != 99);
    assert_eq!(notes, [1, 2, 3, 4]);
    Ok(())
}

#[tokio::test]
async fn an_exclusive_method_waits_for_the_one_before_it() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (_server, client) = serve_probed(desk).await?;
    let desk = DeskClient::new(&client);
    let first = spawn(desk.hold());
    gates.begun.notified().await;
    let (note, second, last) = (spawn(desk.note(1)), spawn(desk.hold()), spawn(desk.note(2)));
    probe(&client).await?;
    gates.go.notify_one();
    assert_eq!(first.await.unwrap()?, [0; 0]);
    gates.begun.notified().await;
    note.await.unwrap()?;
    probe(&client).await?;
    assert!(!last.is_finished());
    gates.go.notify_one();
    assert_eq!(second.await.unwrap()?, [1]);
    last.await.unwrap()?;
    assert_eq!(desk.notes().await?, [1, 2]);
    Ok(())
}

#[tokio::test]
async fn methods_that_run_already_go_on_and_step_into_the_service() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (_server, client) = serve(desk).await?;
    let desk = DeskClient::new(&client);
    // One write carries both, and `later` is pending when `hold` begins.
    let (later, hold) = (spawn(desk.later(5)), spawn(desk.hold()));
    gates.begun.notified().await;
    later.await.unwrap()?;
    gates.go.notify_one();
    assert_eq!(hold.await.unwrap()?, [5]);
    Ok(())
}

#[tokio::test]
async fn one_that_is_ready_at_once_holds_up_nobody() -> Result<()> {
    let (desk, _gates) = Desk::new();
    let (_server, client) = serve(desk).await?;
    let desk = DeskClient::new(&client);
    let (at_once, note) = tokio::join!(desk.at_once(), desk.note(1));
    assert_eq!(at_once?, 0);
    note
}

/// A peer that, asked by the desk, asks the desk.
#[derive(Service)]
#[did(1, execute = async fn call_back(cx) -> String)]
struct Caller;

impl Caller {
    async fn call_back(cx: Call<Self>) -> String {
        fault(DeskClient::new(cx.peer()).note(1).await)
    }
}

#[tokio::test]
async fn a_call_back_by_the_peer_it_waits_for_is_answered_at_once() -> Result<()> {
    let (desk, _gates) = Desk::new();
    let server = Server::bind("mem://").service(desk).start().await?;
    let client = Client::connect(server.address()).service(Caller).await?;
    let desk = DeskClient::new(&client);
    assert_eq!(
        desk.ask().await?,
        "callback error (2): busy: an exclusive method of this service waits for an answer of this peer"
    );
    desk.note(2).await?;
    assert_eq!(desk.notes().await?, [2]);
    Ok(())
}

#[tokio::test]
async fn others_are_not_refused_while_it_waits_for_a_peer() -> Result<()> {
    /// Answers when the test lets it.
    #[derive(Service)]
    #[did(1, execute = async fn answer(cx) -> String)]
    struct Slow;

    impl Slow {
        async fn answer(_: Call<Self>) -> String {
            ASKED.notify_one();
            ANSWER.notified().await;
            "late".to_owned()
        }
    }

    static ASKED: Notify = Notify::const_new();
    static ANSWER: Notify = Notify::const_new();

    let (desk, _gates) = Desk::new();
    let (server, other) = serve_probed(desk).await?;
    let slow = Client::connect(server.address()).service(Slow).await?;
    let ask = spawn(DeskClient::new(&slow).ask());
    ASKED.notified().await;
    let note = spawn(DeskClient::new(&other).note(1));
    let refused = fault(DeskClient::new(&slow).note(2).await);
    assert!(refused.contains("busy"), "{refused}");
    probe(&other).await?;
    assert!(!note.is_finished());
    ANSWER.notify_one();
    assert_eq!(ask.await.unwrap()?, "late");
    note.await.unwrap()?;
    assert_eq!(DeskClient::new(&other).notes().await?, [1]);
    Ok(())
}

#[tokio::test]
async fn the_service_is_free_again_when_an_exclusive_method_panics() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (_server, client) = serve(desk).await?;
    let desk = DeskClient::new(&client);
    let fail = spawn(desk.fail());
    gates.begun.notified().await;
    let note = spawn(desk.note(1));
    gates.go.notify_one();
    assert_eq!(fault(fail.await.unwrap()), "callback error (2): handler panicked");
    note.await.unwrap()
}

#[tokio::test]
async fn the_service_is_free_again_when_the_peer_of_an_exclusive_method_goes() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (server, client) = serve_probed(desk).await?;
    let other = Client::connect(server.address()).await?;
    let hold = spawn(DeskClient::new(&client).hold());
    gates.begun.notified().await;
    let dropped = spawn(DeskClient::new(&client).note(1));
    let kept = spawn(DeskClient::new(&other).note(2));
    probe(&client).await?;
    client.close().await;
    kept.await.unwrap()?;
    assert!(hold.await.unwrap().is_err() && dropped.await.unwrap().is_err());
    assert_eq!(DeskClient::new(&other).notes().await?, [2], "what had not begun of the other is dropped");
    Ok(())
}

#[tokio::test]
async fn the_service_is_free_again_when_an_exclusive_method_takes_too_long() -> Result<()> {
    let (desk, gates) = Desk::new();
    let (_server, client) = serve(desk).await?;
    let desk = DeskClient::new(&client);
    let hurry = spawn(desk.hurry());
    gates.begun.notified().await;
    let note = spawn(desk.note(1));
    assert_eq!(fault(hurry.await.unwrap()), "callback error (2): handler timed out");
    note.await.unwrap()
}
