//! `#[service(actor)]`

use actix::{Actor, Addr, Context, Handler, Message};
use socketproto::Lifecycle;
use socketproto::actix::ActorCall;
use tokio::sync::mpsc;

use super::*;

#[derive(Service, Client)]
#[service(actor, hooks)]
#[did(2, execute = fn add(a: i32, cx, b: i32) -> i32)]
#[did(3, execute = async fn double(cx) -> i32)]
#[did(4, execute = async fn hold(cx) -> i32, exclusive)]
#[did(5, execute = fn slow(cx) -> i32, blocking)]
#[did(6, execute = async fn pend(cx))]
#[did(7, execute = fn fail())]
#[did(8, execute = async fn fail_later(cx))]
#[did(.., read, fallback = other)]
struct Sum {
    #[did(1, read, write = set)]
    value: i32,
    events: mpsc::UnboundedSender<&'static str>,
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl Lifecycle for Sum {
    fn peer_connected(&mut self, _: &Peer) {
        self.tell("connected");
    }

    fn peer_gone(&mut self, _: &Peer, _: &str) {
        self.tell("gone");
    }
}

/// A message of the actor's own.
#[derive(Message)]
#[rtype(result = "i32")]
struct Add(i32);

impl Handler<Add> for Sum {
    type Result = i32;

    fn handle(&mut self, Add(by): Add, _: &mut Context<Self>) -> i32 {
        self.value += by;
        self.value
    }
}

struct Pending(mpsc::UnboundedSender<&'static str>);

impl Drop for Pending {
    fn drop(&mut self) {
        let _ = self.0.send("cancelled");
    }
}

impl Sum {
    fn tell(&self, event: &'static str) {
        let _ = self.events.send(event);
    }

    fn set(&mut self, value: i32) -> Result<(), Fault> {
        self.value = if value > 99 { return Err(Fault::not_permitted("up to 99")) } else { value };
        Ok(())
    }

    fn add(&mut self, a: i32, cx: ActorCall<Self>, b: i32) -> i32 {
        assert_eq!(cx.name(), "add");
        self.value += a + b;
        self.value
    }

    async fn double(cx: ActorCall<Self>) -> Result<i32, Fault> {
        tokio::task::yield_now().await;
        cx.actor(|this| {
            this.value *= 2;
            this.value
        })
        .await
    }

    async fn hold(cx: ActorCall<Self>) -> Result<i32, Fault> {
        for _ in 0..10 {
            cx.actor(|this| this.value += 1).await?;
        }
        cx.actor(|this| this.value).await
    }

    fn slow(cx: ActorCall<Self>) -> Result<i32, Fault> {
        cx.actor_blocking(|this| this.value)
    }

    async fn pend(cx: ActorCall<Self>) -> Result<(), Fault> {
        let _pending = cx
            .actor(|this| {
                this.tell("pending");
                Pending(this.events.clone())
            })
            .await?;
        std::future::pending().await
    }

    fn fail(&mut self) {
        panic!("on purpose");
    }

    async fn fail_later(cx: ActorCall<Self>) -> Result<(), Fault> {
        cx.actor(|_| ()).await?;
        panic!("on purpose");
    }

    fn other(&mut self, data_id: DataId, _: Json) -> Result<Json, Fault> {
        Err(Fault::unknown(format!("no {data_id} here")))
    }
}

struct Test {
    sum: Addr<Sum>,
    events: mpsc::UnboundedReceiver<&'static str>,
    server: Server,
    client: Client,
}

/// Runs a test beside the actor and a server of it, which live on the same thread.
fn with_actor(test: impl AsyncFnOnce(Test) -> Result<()>) -> Result<()> {
    actix::System::new().block_on(async {
        let (sender, events) = mpsc::unbounded_channel();
        let sum = Sum { value: 1, events: sender }.start();
        let server = Server::bind("mem://").service_addr(sum.clone()).start().await?;
        let client = Client::connect(server.address()).await?;
        test(Test { sum, events, server, client }).await
    })
}

#[test]
fn an_actor_serves_its_data_and_keeps_its_own_messages() -> Result<()> {
    with_actor(async |test| {
        let sum = SumClient::new(&test.client);
        assert_eq!(sum.value().await?, 1);
        sum.set_value(10).await?;
        assert_eq!(fault(sum.set_value(100).await), "operation not permitted (6): up to 99");
        assert_eq!(test.sum.send(Add(5)).await.unwrap(), 15);
        assert_eq!(sum.add(1, 2).await?, 18);
        assert_eq!(sum.double().await?, 36);
        assert_eq!(sum.slow().await?, 36);
        assert_eq!(fault(test.client.read::<()>(9).await), "service or data unknown (4): no data 9 here");
        Ok(())
    })
}

#[test]
fn requests_are_served_in_order_and_an_exclusive_one_alone() -> Result<()> {
    with_actor(async |test| {
        let sum = SumClient::new(&test.client);
        let (first, hold, last) = tokio::join!(sum.add(1, 1), sum.hold(), sum.add(100, 100));
        assert_eq!((first?, hold?, last?), (3, 13, 213));
        Ok(())
    })
}

#[test]
fn panics_are_contained_and_the_actor_lives_on() -> Result<()> {
    with_actor(async |test| {
        let sum = SumClient::new(&test.client);
        assert_eq!(fault(sum.fail().await), "callback error (2): handler panicked");
        assert_eq!(fault(sum.fail_later().await), "callback error (2): handler panicked");
        assert_eq!(sum.value().await?, 1);
        Ok(())
    })
}

#[test]
fn hooks_and_cancelling_reach_the_actor() -> Result<()> {
    with_actor(async |mut test| {
        let pend = tokio::task::spawn_local(SumClient::new(&test.client).pend());
        assert_eq!(test.events.recv().await, Some("connected"));
        assert_eq!(test.events.recv().await, Some("pending"));
        test.client.close().await;
        let mut last = [test.events.recv().await, test.events.recv().await];
        last.sort_unstable();
        assert_eq!(last, [Some("cancelled"), Some("gone")]);
        assert!(pend.await.unwrap().is_err());
        Ok(())
    })
}

#[test]
fn the_actor_outlives_the_endpoint_and_the_endpoint_the_actor() -> Result<()> {
    with_actor(async |test| {
        test.server.shutdown().await?;
        assert_eq!(test.sum.send(Add(1)).await.unwrap(), 2);

        let (events, _) = mpsc::unbounded_channel();
        let addr = Sum::create(|_| Sum { value: 0, events });
        let server = Server::bind("mem://").service_addr(addr.clone()).start().await?;
        let client = Client::connect(server.address()).await?;
        addr.send(Stop).await.unwrap();
        assert_eq!(fault(client.read::<i32>(1).await), "callback error (2): the actor has ended");
        Ok(())
    })
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Sum {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Context<Self>) {
        actix::ActorContext::terminate(context);
    }
}

#[tokio::test]
async fn an_actor_on_another_thread_is_served_too() -> Result<()> {
    let (started, addr) = tokio::sync::oneshot::channel();
    let (events, _events) = mpsc::unbounded_channel();
    let thread = std::thread::spawn(|| {
        let system = actix::System::new();
        let stop = actix::System::current();
        let addr = system.block_on(async { Sum { value: 1, events }.start() });
        let _ = started.send((addr, stop));
        system.run().unwrap();
    });
    let (addr, system) = addr.await.unwrap();
    let server = Server::bind("tcp://127.0.0.1:0").service_addr(addr).start().await?;
    let client = Client::connect(server.address()).await?;
    assert_eq!(SumClient::new(&client).double().await?, 2);
    server.shutdown().await?;
    system.stop();
    thread.join().unwrap();
    Ok(())
}
