//! Secure mode over every kind of line: large data both ways, many calls at once, whatever runtime the program has.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use socketproto::prelude::*;
use socketproto::transport::{Accept, Connect, Connected};
use socketproto::{ClientBuilder, Level, Limits, ServerBuilder};
use tokio::io::duplex;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message as Web;
use tokio_tungstenite::{accept_async, client_async};

use crate::between::Middle;
use crate::desk::{DIGITS, DeskClient, Notes, client, place, secret, within};
use crate::made::{localhost, trusting};

const MIB: usize = 1 << 20;

/// Twice 64 calls of some kilobytes at once, and a megabyte each way; the server calls too.
async fn talk(server: ServerBuilder, connect: impl FnOnce(&Server) -> ClientBuilder) {
    let (notes, own) = (Notes::default(), Notes::default());
    let server = within(notes.server(server.secret(secret(DIGITS))).start()).await.expect("it listens");
    let client =
        within(own.client(connect(&server).secret(secret(DIGITS)))).await.expect("it knows the secret");
    assert_eq!(client.level(), Some(Level::Secure));
    let peer = server.peers().pop().expect("a peer");
    assert_eq!(peer.level(), Some(Level::Secure));
    let (ours, theirs) = (DeskClient::new(&client), DeskClient::new(&peer));
    let texts: Vec<String> = (0..64).map(|number| format!("{number} ").repeat(1500)).collect();
    let calls = texts.iter().flat_map(|text| [ours.echo(text.clone()), theirs.echo(text.clone())]);
    for (echo, text) in
        within(join_all(calls)).await.into_iter().zip(texts.iter().flat_map(|text| [text, text]))
    {
        assert!(echo.expect("an echo") == *text);
    }
    let large = "x".repeat(MIB);
    let (up, down) =
        within(async { tokio::join!(ours.echo(large.clone()), theirs.echo(large.clone())) }).await;
    assert!(up.expect("an echo") == large && down.expect("an echo") == large);
    assert_eq!((notes.all_heard().len(), own.all_heard().len()), (65, 65));
    within(client.close()).await;
    within(server.shutdown()).await.expect("nothing is left");
    assert_eq!(notes.ends(), ["closed by the peer"]);
}

async fn talk_everywhere() {
    let (authority, tls) = localhost();
    let folder = tempfile::tempdir().expect("a folder");
    let mut addresses =
        vec!["tcp://127.0.0.1:0".to_owned(), "mem://".to_owned(), "ws://127.0.0.1:0/room".to_owned()];
    if cfg!(unix) {
        addresses.push(format!("unix://{}", folder.path().join("socket").display()));
    }
    for address in addresses {
        talk(Server::bind(address), |server| client(server.address())).await;
    }
    for address in ["tls://127.0.0.1:0", "wss://127.0.0.1:0"] {
        talk(Server::bind(address).tls(tls.clone()), |server| {
            client(server.address()).tls(trusting(&authority))
        })
        .await;
    }
    for framing in ["stp", "length"] {
        let to = format!("?framing={framing}");
        talk(Server::bind("tcp://127.0.0.1:0"), |server| client(&format!("{}{to}", server.address()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_carries_it_in_a_program_of_tokio() {
    talk_everywhere().await;
    let workers = Server::bind("tcp://127.0.0.1:0").workers(2);
    talk(workers, |server| client(server.address())).await;
}

#[test]
fn every_line_carries_it_in_a_program_of_actix() {
    actix::System::new().block_on(talk_everywhere());
}

// Transports of a program's own

struct Plug(UnboundedSender<Connected>, fn() -> (Connected, Connected));

impl Connect for Plug {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (ours, theirs) = (self.1)();
        self.0.send(theirs).map_err(|_| io::Error::other("the socket is gone"))?;
        Ok(ours)
    }
}

struct Socket(UnboundedReceiver<Connected>);

impl Accept for Socket {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        match self.0.recv().await {
            Some(line) => Ok(line),
            None => std::future::pending().await,
        }
    }
}

fn streams() -> (Connected, Connected) {
    let (ours, theirs) = duplex(1000);
    (Connected::stream(ours, "pipe://server"), Connected::stream(theirs, "pipe://client"))
}

/// Each datagram is one frame, then one record.
struct Datagrams {
    sender: UnboundedSender<Bytes>,
    receiver: UnboundedReceiver<Bytes>,
    sent: usize,
}

impl Stream for Datagrams {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|datagram| datagram.map(Ok))
    }
}

impl Sink<Bytes> for Datagrams {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> io::Result<()> {
        assert_eq!(datagram.starts_with(b"{\""), self.sent == 0);
        assert!(datagram.len() <= 65_535 && (self.sent != 1 || datagram.len() == 17));
        self.sent += 1;
        self.sender.send(datagram).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn datagrams() -> (Connected, Connected) {
    let ((a, b), (c, d)) = (unbounded_channel(), unbounded_channel());
    let ours = Datagrams { sender: a, receiver: d, sent: 0 };
    let theirs = Datagrams { sender: c, receiver: b, sent: 0 };
    (Connected::datagrams(ours, "radio://server"), Connected::datagrams(theirs, "radio://client"))
}

#[tokio::test]
async fn lines_of_a_programs_own_carry_it() {
    for make in [streams, datagrams] {
        let (lines, socket) = unbounded_channel();
        talk(Server::over(Socket(socket)), |_| Client::over(Plug(lines, make))).await;
    }
}

// WebSocket

/// Notes how long each message of both sides is, and how it begins.
async fn look_at(server: &Server, seen: &Arc<Mutex<[Vec<Bytes>; 2]>>) -> Middle {
    let (to, seen) = (place(server.address()).to_owned(), Arc::clone(seen));
    Middle::new("ws", move |near| {
        let (to, seen) = (to.clone(), Arc::clone(&seen));
        async move {
            let far = TcpStream::connect(&to).await.expect("the server listens");
            let near = accept_async(near).await.expect("a WebSocket");
            let (far, _) = client_async(format!("ws://{to}/"), far).await.expect("a WebSocket");
            let ((mut to_client, mut from_client), (mut to_server, mut from_server)) =
                (near.split(), far.split());
            loop {
                let (side, message) = tokio::select! {
                    message = from_client.next() => (0, message),
                    message = from_server.next() => (1, message),
                };
                let Some(Ok(message)) = message else { return };
                if let Web::Binary(bytes) = &message {
                    seen.lock().expect("nobody panics")[side].push(bytes.clone());
                }
                let sent =
                    if side == 0 { to_server.send(message).await } else { to_client.send(message).await };
                if sent.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// Frames below the largest that is taken may share a record that is larger than it.
#[tokio::test]
async fn one_message_of_a_websocket_is_one_record_however_small_frames_have_to_be() {
    let mut limits = Limits::default();
    limits.max_frame = 4096;
    let (notes, own) = (Notes::default(), Notes::default());
    let server = notes.server(Server::bind("ws://127.0.0.1:0").secret(secret(DIGITS)).limits(limits.clone()));
    let server = within(server.start()).await.expect("it listens");
    let seen = Arc::default();
    let middle = look_at(&server, &seen).await;
    let client = own.client(client(&middle.url).secret(secret(DIGITS)).limits(limits));
    let client = within(client).await.expect("it knows the secret");
    let desk = DeskClient::new(&client);
    let text = "y".repeat(3000);
    for echo in within(join_all((0..64).map(|_| desk.echo(text.clone())))).await {
        assert!(echo.expect("an echo") == text);
    }
    within(client.close()).await;
    let seen = seen.lock().expect("nobody panics");
    for side in seen.iter() {
        assert!(side[0].starts_with(b"{\"") && side[1].len() == 17);
        assert!(side[2..].iter().all(|record| record.len() <= 65_535));
    }
    assert!(seen[0].iter().any(|record| record.len() > 4096), "calls made at once share a record");
    assert_eq!((notes.ends(), own.events().len()), (vec!["closed by the peer".to_owned()], 3));
}
