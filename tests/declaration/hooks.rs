//! `#[service(hooks)]`

use socketproto::Lifecycle;
use tokio::sync::mpsc;

use super::*;

#[derive(Service, Client)]
#[service(hooks)]
#[did(1, execute = fn ping())]
#[did(2, execute = async fn wait(cx))]
struct Watch {
    events: mpsc::UnboundedSender<String>,
    peers: Vec<Peer>,
}

impl Watch {
    fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (events, told) = mpsc::unbounded_channel();
        (Self { events, peers: Vec::new() }, told)
    }

    fn tell(&self, event: impl Into<String>) {
        let _ = self.events.send(event.into());
    }

    fn ping(&mut self) {
        self.tell("ping");
    }

    async fn wait(cx: Call<Self>) {
        struct Dropped(mpsc::UnboundedSender<String>);

        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send("wait is dropped".to_owned());
            }
        }

        let _dropped = Dropped(cx.actor(|this| this.events.clone()).await);
        cx.actor(|this| this.tell("wait")).await;
        std::future::pending::<()>().await;
    }
}

impl Lifecycle for Watch {
    fn started(&mut self) {
        self.tell("started");
    }

    fn peer_connected(&mut self, peer: &Peer) {
        assert!(peer.is_connected());
        self.peers.push(peer.clone());
        self.tell("connected");
    }

    fn peer_gone(&mut self, peer: &Peer, reason: &str) {
        assert!(!peer.is_connected());
        self.peers.retain(Peer::is_connected);
        self.tell(format!("gone, {reason}, {} left", self.peers.len()));
    }

    fn stopping(&mut self) {
        self.tell("stopping");
    }
}

#[tokio::test]
async fn a_service_is_told_of_its_start_its_peers_and_its_end_in_order() -> Result<()> {
    let (watch, mut events) = Watch::new();
    let (server, client) = serve(watch).await?;
    let watch = WatchClient::new(&client);
    watch.ping().await?;
    let wait = tokio::spawn(watch.wait());
    for expected in ["started", "connected", "ping", "wait"] {
        assert_eq!(events.recv().await.as_deref(), Some(expected));
    }
    client.close().await;
    assert_eq!(events.recv().await.as_deref(), Some("gone, closed by the peer, 0 left"));
    assert_eq!(events.recv().await.as_deref(), Some("wait is dropped"));
    assert!(wait.await.unwrap().is_err());
    server.shutdown().await?;
    assert_eq!(events.recv().await.as_deref(), Some("stopping"));
    assert_eq!(events.recv().await, None);
    Ok(())
}

#[tokio::test]
async fn every_peer_is_announced_once_and_leaves_once_over_tcp() -> Result<()> {
    let (watch, mut events) = Watch::new();
    let server = Server::bind("tcp://127.0.0.1:0").service(watch).start().await?;
    let first = Client::connect(server.address()).await?;
    let second = Client::connect(server.address()).await?;
    for expected in ["started", "connected", "connected"] {
        assert_eq!(events.recv().await.as_deref(), Some(expected));
    }
    first.close().await;
    assert_eq!(events.recv().await.as_deref(), Some("gone, closed by the peer, 1 left"));
    server.shutdown().await?;
    assert_eq!(events.recv().await.as_deref(), Some("gone, closed by this side, 0 left"));
    assert_eq!(events.recv().await.as_deref(), Some("stopping"));
    drop(second);
    Ok(())
}

#[tokio::test]
async fn a_client_s_service_is_told_of_the_server() -> Result<()> {
    let (watch, mut events) = Watch::new();
    let server = Server::bind("mem://").start().await?;
    let client = Client::connect(server.address()).service(watch).await?;
    client.close().await;
    for expected in ["started", "connected", "gone, closed by this side, 0 left", "stopping"] {
        assert_eq!(events.recv().await.as_deref(), Some(expected));
    }
    Ok(())
}

#[tokio::test]
async fn a_hook_that_panics_costs_nothing_else() -> Result<()> {
    #[derive(Service)]
    #[service(hooks)]
    struct Clumsy {
        #[did(1, read)]
        peers: u8,
    }

    impl Lifecycle for Clumsy {
        fn started(&mut self) {
            panic!("on purpose");
        }

        fn peer_connected(&mut self, _: &Peer) {
            self.peers += 1;
            panic!("on purpose");
        }

        fn stopping(&mut self) {
            panic!("on purpose");
        }
    }

    let (server, client) = serve(Clumsy { peers: 0 }).await?;
    assert_eq!(client.read::<u8>(1).await?, 1);
    server.shutdown().await
}

#[tokio::test]
async fn hooks_run_while_an_exclusive_method_does_and_on_a_thread_of_its_own() -> Result<()> {
    #[derive(Service, Client)]
    #[service(hooks, own_thread)]
    #[did(1, execute = async fn hold(cx) -> usize, exclusive)]
    struct Hall {
        arrivals: tokio::sync::watch::Sender<usize>,
    }

    impl Hall {
        /// Ends when three peers have come.
        async fn hold(cx: Call<Self>) -> usize {
            let mut arrivals = cx.actor(|this| this.arrivals.subscribe()).await;
            arrivals.wait_for(|arrivals| *arrivals == 3).await.map_or(0, |arrivals| *arrivals)
        }
    }

    impl Lifecycle for Hall {
        fn peer_connected(&mut self, _: &Peer) {
            self.arrivals.send_modify(|arrivals| *arrivals += 1);
        }
    }

    let arrivals = tokio::sync::watch::Sender::new(0);
    let (server, client) = serve(Hall { arrivals }).await?;
    let hold = tokio::spawn(HallClient::new(&client).hold());
    let _second = Client::connect(server.address()).await?;
    let _third = Client::connect(server.address()).await?;
    assert_eq!(hold.await.unwrap()?, 3);
    Ok(())
}

#[tokio::test]
async fn the_last_hook_has_run_when_a_server_is_shut_down_or_a_client_is_closed() -> Result<()> {
    // Also where it takes a moment, and on a thread of its own.
    #[derive(Service)]
    #[service(hooks, own_thread)]
    struct Saver {
        #[did(1, read)]
        saved: bool,
        told: std::sync::mpsc::Sender<()>,
        slow: bool,
    }

    impl Lifecycle for Saver {
        fn stopping(&mut self) {
            for _ in 0..if self.slow { 1_000 } else { 1 } {
                std::thread::yield_now();
            }
            let _ = self.told.send(());
        }
    }

    for slow in [false, true] {
        let (told, saved) = std::sync::mpsc::channel();
        let (server, client) = serve(Saver { saved: false, told, slow }).await?;
        assert!(!client.read::<bool>(1).await?);
        server.shutdown().await?;
        assert_eq!(saved.try_recv(), Ok(()));
    }
    let (told, saved) = std::sync::mpsc::channel();
    let server = Server::bind("mem://").start().await?;
    let saver = Saver { saved: false, told, slow: false };
    Client::connect(server.address()).service(saver).await?.close().await;
    assert_eq!(saved.try_recv(), Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_service_that_does_not_end_holds_up_the_shutdown_for_a_while_only() -> Result<()> {
    #[derive(Service)]
    #[service(hooks, own_thread)]
    struct Stuck {
        #[did(1, read)]
        value: u8,
        release: std::sync::mpsc::Receiver<()>,
    }

    impl Lifecycle for Stuck {
        fn stopping(&mut self) {
            let _ = self.release.recv();
        }
    }

    let (release, released) = std::sync::mpsc::channel();
    let server = Server::bind("mem://").start().await?;
    let client = Client::connect(server.address()).service(Stuck { value: 7, release: released }).await?;
    client.close().await;
    let _ = release.send(());
    Ok(())
}
