//! `#[service(own_thread)]`

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::*;

#[derive(Service, Client)]
#[service(name = "device", own_thread)]
#[did(1, read = fn thread() -> String)]
#[did(2, execute = fn block())]
#[did(3, execute = async fn wait(cx) -> u8)]
#[did(4, execute = async fn hold(cx), exclusive)]
#[did(5, execute = fn measure(cx) -> u32, blocking)]
struct Device {
    #[did(9, read, write)]
    value: u32,
    gate: mpsc::Receiver<()>,
    /// Told when the struct is dropped, with the thread it lived on.
    gone: Option<oneshot::Sender<Option<String>>>,
    cancelled: Option<oneshot::Sender<()>>,
    begun: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Drop for Device {
    fn drop(&mut self) {
        let name = thread::current().name().map(str::to_owned);
        let _ = self.gone.take().map(|gone| gone.send(name));
    }
}

struct Test {
    gate: mpsc::Sender<()>,
    gone: oneshot::Receiver<Option<String>>,
    cancelled: oneshot::Receiver<()>,
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Device {
    fn new() -> (Self, Test) {
        let ((open, gate), (left, gone)) = (mpsc::channel(), oneshot::channel());
        let ((cancel, cancelled), (begin, begun)) =
            (oneshot::channel(), tokio::sync::mpsc::unbounded_channel());
        let device = Self { value: 1, gate, gone: Some(left), cancelled: Some(cancel), begun: begin };
        (device, Test { gate: open, gone, cancelled, begun })
    }

    fn thread(&self) -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    /// Blocks the service's own thread until the test opens the gate.
    fn block(&mut self) {
        let _ = self.begun.send(());
        let _ = self.gate.recv();
    }

    /// Never ends; its end is told by what it holds.
    async fn wait(cx: Call<Self>) -> u8 {
        let _held = cx.actor(|this| (this.begun.send(()), this.cancelled.take())).await;
        std::future::pending().await
    }

    async fn hold(cx: Call<Self>) {
        tokio::task::yield_now().await;
        cx.actor(|this| this.value += 1).await;
    }

    fn measure(cx: socketproto::BlockingCall<Self>) -> Result<u32, Fault> {
        cx.actor_blocking(|this| this.value)
    }
}

/// A service beside it, on the thread of the connections.
#[derive(Service, Client)]
#[did(101, read = fn thread_of_others() -> String)]
struct Neighbour;

impl Neighbour {
    fn thread_of_others(&self) -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }
}

async fn serve_both(device: Device) -> Result<(Server, Client)> {
    let server = Server::bind("mem://").service(device).service(Neighbour).start().await?;
    let client = Client::connect(server.address()).await?;
    Ok((server, client))
}

#[tokio::test]
async fn the_service_has_a_thread_with_its_name() -> Result<()> {
    let (device, _test) = Device::new();
    let (_server, client) = serve_both(device).await?;
    assert_eq!(DeviceClient::new(&client).thread().await?, "socketproto-device");
    assert_eq!(NeighbourClient::new(&client).thread_of_others().await?, "socketproto");
    Ok(())
}

#[tokio::test]
async fn what_blocks_its_thread_holds_up_nobody_else() -> Result<()> {
    let (device, mut test) = Device::new();
    let (server, client) = serve_both(device).await?;
    let block = tokio::spawn(DeviceClient::new(&client).block());
    test.begun.recv().await;
    assert_eq!(NeighbourClient::new(&client).thread_of_others().await?, "socketproto");
    let other = Client::connect(server.address()).await?;
    NeighbourClient::new(&other).thread_of_others().await?;
    test.gate.send(()).unwrap();
    block.await.unwrap()
}

#[tokio::test]
async fn the_answer_of_one_request_does_not_wait_for_the_next() -> Result<()> {
    let (device, test) = Device::new();
    let (_server, client) = serve_both(device).await?;
    let device = DeviceClient::new(&client);
    // Both are polled, and so sent, before either is answered: they arrive as one batch.
    let both = async { tokio::join!(device.value(), device.block()) };
    let first = async {
        let value = device.value().await;
        // Answered; now the others may go on.
        test.gate.send(()).unwrap();
        value
    };
    let (value, (before, block)) = tokio::join!(first, both);
    assert_eq!((value?, before?), (1, 1));
    block
}

#[tokio::test]
async fn requests_are_cancelled_across_threads() -> Result<()> {
    let (device, mut test) = Device::new();
    let (_server, client) = serve_both(device).await?;
    let wait = tokio::spawn(DeviceClient::new(&client).wait());
    test.begun.recv().await;
    client.close().await;
    assert!(test.cancelled.await.is_err(), "its sender is dropped with the method");
    assert!(wait.await.unwrap().is_err());
    Ok(())
}

#[tokio::test]
async fn the_other_words_work_there_too() -> Result<()> {
    let (device, _test) = Device::new();
    let (_server, client) = serve_both(device).await?;
    let device = DeviceClient::new(&client);
    let (hold, value) = tokio::join!(device.hold(), device.value());
    hold?;
    assert_eq!(value?, 2);
    device.set_value(7).await?;
    assert_eq!(device.measure().await?, 7);
    Ok(())
}

#[tokio::test]
async fn a_service_of_each_peer_has_a_thread_for_each() -> Result<()> {
    #[derive(Service)]
    #[service(name = "guest", own_thread)]
    #[did(1, read = fn thread() -> (String, String))]
    struct Guest {
        // Not `Send`: it is made where it lives.
        name: std::rc::Rc<str>,
    }

    impl Guest {
        fn thread(&self) -> (String, String) {
            (self.name.to_string(), format!("{:?}", thread::current().id()))
        }
    }

    let make = |_| Guest { name: thread::current().name().unwrap_or_default().into() };
    let server = Server::bind("mem://").service_per_peer(make).start().await?;
    let (first, second) =
        (Client::connect(server.address()).await?, Client::connect(server.address()).await?);
    let ((name, one), (_, other)): ((String, String), (String, String)) =
        (first.read(1).await?, second.read(1).await?);
    assert_eq!(name, "socketproto-guest");
    assert_ne!(one, other);
    Ok(())
}

#[tokio::test]
async fn the_thread_ends_with_the_endpoint() -> Result<()> {
    thread_local! {
        static LAST_WORD: std::cell::RefCell<Option<oneshot::Sender<()>>> = const { std::cell::RefCell::new(None) };
    }

    #[derive(Service)]
    #[service(own_thread)]
    #[did(1, execute = fn settle())]
    struct Mortal {
        last_word: Option<oneshot::Sender<()>>,
    }

    impl Mortal {
        fn settle(&mut self) {
            LAST_WORD.set(self.last_word.take());
        }
    }

    let (device, test) = Device::new();
    let (server, client) = serve_both(device).await?;
    drop((server, client));
    assert_eq!(test.gone.await.unwrap().as_deref(), Some("socketproto-device"));

    let (sender, ended) = oneshot::channel();
    let (server, client) = serve(Mortal { last_word: Some(sender) }).await?;
    client.execute::<_, ()>(1, &()).await?;
    server.shutdown().await?;
    assert!(ended.await.is_err(), "dropped with the thread's own variables");
    Ok(())
}
