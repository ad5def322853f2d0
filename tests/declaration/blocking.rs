//! `blocking`

use std::sync::mpsc;
use std::thread::{self, ThreadId};

use socketproto::BlockingCall;
use tokio::sync::oneshot;

use super::*;

/// What a test holds of a method that blocks: told when it has begun, and tells it to go on.
struct Test {
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    go: mpsc::Sender<()>,
}

#[derive(Service, Client)]
#[did(1, execute = fn measure(cx, times: u32) -> u32, blocking)]
#[did(2, execute = fn wait(cx) -> String, blocking)]
#[did(3, execute = fn wait_briefly(cx) -> String, blocking, timeout = "20ms")]
#[did(4, execute = fn fail(), blocking)]
#[did(5, execute = fn fail_inside(cx), blocking)]
#[did(6, execute = fn hold(cx) -> String, blocking, exclusive)]
#[did(7, execute = fn add(a: u32, b: u32) -> u32, blocking)]
#[did(8, execute = fn ask(cx) -> u32, blocking)]
#[did(9, read = fn is_elsewhere() -> bool, blocking, write = fn refuse(value: u32))]
struct Bench {
    #[did(10, read, write)]
    offset: u32,
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    go: Option<mpsc::Receiver<()>>,
    ended: Option<oneshot::Sender<bool>>,
    home: Option<ThreadId>,
}

impl Bench {
    fn new() -> (Self, Test) {
        let ((begun, told), (go, going)) = (tokio::sync::mpsc::unbounded_channel(), mpsc::channel());
        let bench = Self { offset: 100, begun, go: Some(going), ended: None, home: None };
        (bench, Test { begun: told, go })
    }

    fn measure(cx: BlockingCall<Self>, times: u32) -> Result<u32, Fault> {
        assert_eq!((cx.name(), cx.data_id().value(), cx.service_id().value()), ("measure", 1, 30));
        let sum: u32 = (0..times).sum();
        cx.actor_blocking(move |this| {
            this.home = Some(thread::current().id());
            this.offset + sum
        })
    }

    /// Blocks its thread until the test lets it go.
    fn wait(cx: BlockingCall<Self>) -> Result<String, Fault> {
        let (go, ended) = cx.actor_blocking(|this| {
            let _ = this.begun.send(());
            (this.go.take(), this.ended.take())
        })?;
        let told = go.is_some_and(|go| go.recv().is_ok());
        if let Some(ended) = ended {
            let _ = ended.send(told);
        }
        Ok(format!("told: {told}"))
    }

    fn wait_briefly(cx: BlockingCall<Self>) -> Result<String, Fault> {
        Self::wait(cx)
    }

    fn fail() {
        panic!("on purpose");
    }

    fn fail_inside(cx: BlockingCall<Self>) -> Result<(), Fault> {
        cx.actor_blocking(|this| {
            this.offset += 1;
            panic!("on purpose");
        })
    }

    fn hold(cx: BlockingCall<Self>) -> Result<String, Fault> {
        Self::wait(cx)
    }

    fn add(a: u32, b: u32) -> u32 {
        a + b
    }

    /// Calls its peer from the thread that blocks.
    fn ask(cx: BlockingCall<Self>) -> Result<u32> {
        tokio::runtime::Handle::current().block_on(cx.peer().read(1).into_future())
    }

    fn is_elsewhere() -> bool {
        thread::current().name() != Some("socketproto")
    }

    fn refuse(_: u32) -> Result<(), Fault> {
        Err(Fault::not_permitted("no"))
    }
}

#[tokio::test]
async fn a_blocking_method_steps_into_the_service_and_answers() -> Result<()> {
    let (bench, _test) = Bench::new();
    let (_server, client) = serve(bench).await?;
    let bench = BenchClient::new(&client);
    assert_eq!(bench.measure(5).await?, 110);
    assert_eq!(bench.add(1, 2).await?, 3);
    assert!(bench.is_elsewhere().await?);
    assert_eq!(fault(bench.refuse(1).await), "operation not permitted (6): no");
    assert!(fault(client.execute::<_, u32>(7, &[1]).await).starts_with("callback error (2): invalid length"));
    Ok(())
}

#[tokio::test]
async fn the_service_answers_others_while_a_method_blocks() -> Result<()> {
    let (bench, mut test) = Bench::new();
    let (_server, client) = serve(bench).await?;
    let bench = BenchClient::new(&client);
    let wait = tokio::spawn(bench.wait());
    test.begun.recv().await;
    bench.set_offset(7).await?;
    assert_eq!(bench.measure(0).await?, 7);
    test.go.send(()).unwrap();
    assert_eq!(wait.await.unwrap()?, "told: true");
    Ok(())
}

#[tokio::test]
async fn panics_are_contained_on_both_sides_of_the_step() -> Result<()> {
    let (bench, _test) = Bench::new();
    let (_server, client) = serve(bench).await?;
    let bench = BenchClient::new(&client);
    assert_eq!(fault(bench.fail().await), "callback error (2): handler panicked");
    let inside = fault(bench.fail_inside().await);
    assert!(inside.contains("a step into the service was not finished"), "{inside}");
    assert_eq!(bench.offset().await?, 101, "what the step did before it panicked stands");
    Ok(())
}

#[tokio::test]
async fn a_method_that_takes_too_long_is_answered_for_and_runs_on() -> Result<()> {
    let (mut bench, mut test) = Bench::new();
    let (ended, end) = oneshot::channel();
    bench.ended = Some(ended);
    let (_server, client) = serve(bench).await?;
    let bench = BenchClient::new(&client);
    assert_eq!(fault(bench.wait_briefly().await), "callback error (2): handler timed out");
    assert_eq!(bench.offset().await?, 100);
    test.begun.recv().await;
    test.go.send(()).unwrap();
    assert_eq!(end.await, Ok(true));
    Ok(())
}

#[tokio::test]
async fn the_result_is_dropped_when_the_peer_has_gone() -> Result<()> {
    let (mut bench, mut test) = Bench::new();
    let (ended, end) = oneshot::channel();
    bench.ended = Some(ended);
    let (server, client) = serve(bench).await?;
    let wait = tokio::spawn(BenchClient::new(&client).wait());
    test.begun.recv().await;
    client.close().await;
    assert!(wait.await.unwrap().is_err());
    test.go.send(()).unwrap();
    assert_eq!(end.await, Ok(true));
    let other = Client::connect(server.address()).await?;
    assert_eq!(BenchClient::new(&other).measure(0).await?, 100);
    Ok(())
}

#[tokio::test]
async fn an_exclusive_one_excludes_others_until_its_thread_is_done_even_without_its_peer() -> Result<()> {
    let (bench, mut test) = Bench::new();
    let (server, client) = serve(bench).await?;
    let other = Client::connect(server.address()).await?;
    let hold = tokio::spawn(BenchClient::new(&client).hold());
    test.begun.recv().await;
    client.close().await;
    assert!(hold.await.unwrap().is_err());
    let mut offset = tokio::spawn(BenchClient::new(&other).offset());
    // The server hears of both in order, and this service alone is held up.
    let probe = Client::connect(server.address()).await?;
    assert_eq!(fault(probe.read::<u32>(99).await), "service or data unknown (4)");
    assert!(outcome_of(&mut offset).await.is_none());
    test.go.send(()).unwrap();
    assert_eq!(offset.await.unwrap()?, 100);
    Ok(())
}

/// The outcome of a task that is over.
async fn outcome_of<T>(task: &mut tokio::task::JoinHandle<T>) -> Option<T> {
    tokio::select! {
        biased;
        outcome = task => outcome.ok(),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn the_peer_can_be_called_from_a_blocking_method() -> Result<()> {
    #[derive(Service)]
    struct Answer {
        #[did(1, read)]
        answer: u32,
    }

    let (bench, _test) = Bench::new();
    let server = Server::bind("mem://").service(bench).start().await?;
    let client = Client::connect(server.address()).service(Answer { answer: 42 }).await?;
    assert_eq!(BenchClient::new(&client).ask().await?, 42);
    Ok(())
}

#[tokio::test]
async fn a_step_into_a_service_that_has_ended_is_a_fault() -> Result<()> {
    #[derive(Service, Client)]
    #[did(1, execute = fn leave(cx) -> u8, blocking)]
    struct Short {
        left: mpsc::Receiver<()>,
        outcome: Option<oneshot::Sender<String>>,
        begun: Option<oneshot::Sender<()>>,
        /// Lost when the service is dropped.
        _alive: oneshot::Sender<()>,
    }

    impl Short {
        fn leave(cx: BlockingCall<Self>) -> Result<u8, Fault> {
            let (outcome, left) = cx.actor_blocking(|this| {
                let _ = this.begun.take().map(|begun| begun.send(()));
                (this.outcome.take(), std::mem::replace(&mut this.left, mpsc::channel().1))
            })?;
            let _ = left.recv();
            let gone = cx.actor_blocking(|_| 1);
            let text = gone.as_ref().map_or_else(Fault::to_string, u8::to_string);
            let _ = outcome.map(|outcome| outcome.send(text));
            gone
        }
    }

    let ((go, left), (sender, outcome)) = (mpsc::channel(), oneshot::channel());
    let ((begun, told), (alive, gone)) = (oneshot::channel(), oneshot::channel::<()>());
    let short = Short { left, outcome: Some(sender), begun: Some(begun), _alive: alive };
    let (server, client) = serve(short).await?;
    let leave = tokio::spawn(ShortClient::new(&client).leave());
    told.await.unwrap();
    drop(server);
    assert!(leave.await.unwrap().is_err());
    assert!(gone.await.is_err());
    go.send(()).unwrap();
    let outcome = outcome.await.unwrap();
    assert!(outcome.contains("was not finished: it panicked, or the service has ended"), "{outcome}");
    Ok(())
}
