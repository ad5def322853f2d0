//! Transports of the user's own: byte streams, datagrams, and handshakes that take their time.

use std::future::IntoFuture;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Sink, Stream};
use socketproto::prelude::*;
use socketproto::transport::{Accept, Connect, Connected};
use socketproto::{Backoff, Error, Limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::support::{Teller, limits, teller, within};

/// What a client hands to the server: any line.
type Lines = UnboundedSender<Connected>;

/// Makes the two ends of a line.
type Make = fn() -> (Connected, Connected);

struct Plug {
    lines: Lines,
    make: Make,
}

impl Connect for Plug {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (ours, theirs) = (self.make)();
        self.lines.send(theirs).map_err(|_| io::Error::other("the socket is gone"))?;
        Ok(ours)
    }
}

struct Socket {
    lines: UnboundedReceiver<Connected>,
    exposed: bool,
}

impl Accept for Socket {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        match self.lines.recv().await {
            Some(line) => Ok(line),
            None => std::future::pending().await,
        }
    }

    fn is_exposed(&self) -> bool {
        self.exposed
    }
}

async fn echo(limits: Limits) -> (Server, Lines) {
    let (lines, socket) = unbounded_channel();
    let server = Server::over(Socket { lines: socket, exposed: false })
        .register_callback(Some(ServiceId::EXECUTE_REQUEST), None, |message| Ok(message.json().clone()))
        .limits(limits)
        .start()
        .await
        .expect("a pipe can be served");
    (server, lines)
}

fn streams() -> (Connected, Connected) {
    let (ours, theirs) = duplex(1000);
    (Connected::stream(ours, "pipe://server"), Connected::stream(theirs, "pipe://client"))
}

/// A line of whole datagrams, as a WebSocket is.
struct Datagrams {
    sender: UnboundedSender<Bytes>,
    receiver: UnboundedReceiver<Bytes>,
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

    fn start_send(self: Pin<&mut Self>, datagram: Bytes) -> io::Result<()> {
        assert!(datagram.starts_with(b"{"), "a datagram is one frame, without a length");
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
    let (ours, theirs) = (Datagrams { sender: a, receiver: d }, Datagrams { sender: c, receiver: b });
    (Connected::datagrams(ours, "radio://server"), Connected::datagrams(theirs, "radio://client"))
}

#[tokio::test]
async fn any_stream_and_any_datagrams_will_do() {
    for make in [streams as Make, datagrams] {
        let (server, lines) = echo(Limits::default()).await;
        let client = Client::over(Plug { lines, make }).await.expect("the line is there");
        let texts: Vec<String> = [0, 1, 10, 100_000].map(|length| ":<".repeat(length)).into();
        for text in &texts {
            assert_eq!(within(client.execute::<_, String>(1, text)).await.expect("an echo"), *text);
        }
        assert!(server.peers()[0].address().ends_with("://client"));
        assert!(client.address().ends_with("://server"));
        client.close().await;
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn a_line_that_is_lost_is_made_anew() {
    let (server, lines) = echo(Limits::default()).await;
    let client = Client::over(Plug { lines, make: streams })
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
        .await
        .expect("the line is there");
    server.shutdown().await.expect("nothing is left");
    let call = client.execute::<_, u32>(1, &1).timeout(Duration::from_millis(1));
    within(call).await.expect_err("nobody serves any more");
    client.close().await;
}

#[tokio::test]
async fn a_socket_that_others_reach_asks_for_leave() {
    let (_lines, socket) = unbounded_channel();
    let error = Server::over(Socket { lines: socket, exposed: true }).start().await.expect_err("in clear");
    assert!(error.to_string().starts_with("allow_plaintext: pipe://kitchen can be reached"), "{error}");
}

/// A handshake that waits for one byte of the peer.
fn waits_for_a_byte(mut stream: DuplexStream, done: Arc<AtomicUsize>) -> Connected {
    let handshake = async move {
        let byte = stream.read_u8().await?;
        done.fetch_add(1, Ordering::SeqCst);
        if byte == b'!' {
            Ok(Connected::stream(stream, "pipe://late"))
        } else {
            Err(io::Error::other("no `!`"))
        }
    };
    Connected::opening(handshake, "pipe://early")
}

#[tokio::test]
async fn a_silent_handshake_holds_up_nobody_and_ends_in_time() {
    let (server, lines) = echo(limits(|limits| limits.first_byte_timeout = Duration::from_millis(20))).await;
    let done = Arc::new(AtomicUsize::new(0));
    let (mut silent, theirs) = duplex(100);
    lines.send(waits_for_a_byte(theirs, Arc::clone(&done))).expect("the socket is there");
    let client = Client::over(Plug { lines, make: streams }).await.expect("the line is there");
    assert_eq!(client.execute::<_, u32>(1, &7).await.expect("an echo"), 7);
    assert_eq!(within(silent.read(&mut [0; 1])).await.expect("the end"), 0);
    assert_eq!(done.load(Ordering::SeqCst), 0);
    assert_eq!(server.limit_counts().get("first_byte_timeout"), Some(1));
    assert_eq!(client.execute::<_, u32>(1, &8).await.expect("an echo"), 8);
    server.shutdown().await.expect("nothing is left");
}

#[tokio::test]
async fn a_handshake_leads_to_a_line_or_to_the_end() {
    let (server, lines) = echo(Limits::default()).await;
    let done = Arc::new(AtomicUsize::new(0));
    for (byte, goes_on) in [(b'!', true), (b'?', false)] {
        let (mut ours, theirs) = duplex(100);
        lines.send(waits_for_a_byte(theirs, Arc::clone(&done))).expect("the socket is there");
        // Whatever is no frame ends the connection, once there is one.
        within(tokio::io::AsyncWriteExt::write_all(&mut ours, &[byte])).await.expect("a pipe");
        if goes_on {
            within(tokio::io::AsyncWriteExt::write_all(&mut ours, b"\0\0\0\x02{}")).await.expect("a pipe");
            tokio::task::yield_now().await;
            drop(ours);
        } else {
            assert_eq!(within(ours.read(&mut [0; 1])).await.expect("the end"), 0);
        }
    }
    assert_eq!(done.load(Ordering::SeqCst), 2);
    within(server.shutdown()).await.expect("nothing is left");
}

#[actix::test]
async fn a_shutdown_does_not_wait_for_a_handshake() {
    tokio::time::pause();
    let (server, lines) = echo(Limits::default()).await;
    let (mut silent, theirs) = duplex(100);
    lines.send(waits_for_a_byte(theirs, Arc::default())).expect("the socket is there");
    let client = Client::over(Plug { lines, make: streams }).await.expect("the line is there");
    client.close().await;
    // The time of this thread stands still but where everything waits.
    let start = tokio::time::Instant::now();
    within(server.shutdown()).await.expect("nothing is left");
    assert!(start.elapsed() < Duration::from_secs(5), "the whole time of a shutdown was waited for");
    assert_eq!(within(silent.read(&mut [0; 1])).await.expect("the end"), 0);
}

/// A line on which nothing can be written; only then is there something to read, and it says why.
#[derive(Default)]
struct Refusing {
    tried: bool,
}

impl AsyncRead for Refusing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.tried { Poll::Ready(Err(io::Error::other("you are not wanted here"))) } else { Poll::Pending }
    }
}

impl AsyncWrite for Refusing {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.tried = true;
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn why_a_peer_goes_counts_more_than_that_nothing_can_be_written() {
    let (lines, _socket) = unbounded_channel();
    let make = || (Connected::stream(Refusing::default(), "pipe://server"), streams().0);
    let error = within(Client::over(Plug { lines, make })).await.expect_err("nothing can be written");
    assert!(error.to_string().ends_with("ended before it was ready: you are not wanted here"), "{error}");
}

#[tokio::test]
async fn what_a_transport_says_reaches_the_user() {
    let (lines, socket) = unbounded_channel();
    drop(socket);
    let error = Client::over(Plug { lines, make: streams }).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("pipe://kitchen"), "{error}");
    let text = format!("{error}: {}", std::error::Error::source(&error).expect("a source"));
    assert!(text.contains("the socket is gone"), "{text}");
}

/// A server with a client whose handshake ends when the sender says so.
async fn shaking_hands() -> (Server, oneshot::Sender<()>, Connected) {
    let (server, lines) = echo(limits(|limits| limits.first_byte_timeout = Duration::MAX)).await;
    let ((ours, theirs), (over, handshake)) = (streams(), oneshot::channel());
    let opening = async move {
        handshake.await.map_err(io::Error::other)?;
        Ok(theirs)
    };
    lines.send(Connected::opening(opening, "pipe://client")).expect("the server takes lines");
    (server, over, ours)
}

#[tokio::test]
async fn who_waits_for_the_first_client_has_it_when_its_handshake_is_over() {
    let (server, over, _client) = shaking_hands().await;
    let mut first = pin!(server.protocol());
    within(async {
        while server.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(first.as_mut().now_or_never().is_none(), "it is not connected yet");
    over.send(()).unwrap();
    assert!(within(first).await.unwrap().is_connected());
}

#[tokio::test]
async fn a_server_asked_to_reconnect_ends_a_handshake() {
    let (server, _over, _client) = shaking_hands().await;
    within(async {
        while server.peers().is_empty() {
            tokio::task::yield_now().await;
        }
        server.peers().iter().for_each(|peer| peer.protocol().reconnect());
        while !server.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A server that never ends its handshake.
struct Silent(Teller);

impl Connect for Silent {
    fn address(&self) -> String {
        "pipe://silent".to_owned()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let gone = self.0.on_drop("gone");
        self.0.tell("begun");
        let opening = async move {
            let _gone = gone;
            std::future::pending().await
        };
        Ok(Connected::opening(opening, self.address()))
    }
}

/// Panics at first, where foreign code runs on the thread of all connections.
struct Clumsy<T> {
    inner: T,
    panics: AtomicUsize,
}

impl<T> Clumsy<T> {
    fn step(&self) {
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "in a test");
    }
}

impl Connect for Clumsy<Plug> {
    fn address(&self) -> String {
        self.inner.address()
    }

    async fn connect(&self) -> io::Result<Connected> {
        self.step();
        self.inner.connect().await
    }
}

impl Accept for Clumsy<Socket> {
    fn address(&self) -> String {
        self.inner.address()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        self.step();
        self.inner.accept().await
    }

    fn is_exposed(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn who_does_not_wait_any_longer_leaves_no_attempt_to_connect() {
    let (teller, mut told) = teller();
    let endless = limits(|limits| limits.first_byte_timeout = Duration::MAX);
    let mut connecting = Client::over(Silent(teller)).limits(endless).into_future();
    assert!((&mut connecting).now_or_never().is_none());
    assert_eq!(within(told.next()).await, "begun");
    drop(connecting);
    assert_eq!(within(told.next()).await, "gone");
}

#[tokio::test]
async fn a_panic_of_a_transport_is_an_error_of_this_attempt_alone() {
    let (lines, socket) = unbounded_channel();
    let accept = Clumsy { inner: Socket { lines: socket, exposed: false }, panics: AtomicUsize::new(1) };
    let server = Server::over(accept).start().await.expect("nothing panics yet");
    let plug = |panics| Clumsy {
        inner: Plug { lines: lines.clone(), make: streams },
        panics: AtomicUsize::new(panics),
    };
    let error = within(Client::over(plug(1))).await.expect_err("it panics");
    assert!(error.to_string().contains("pipe://kitchen: the transport panicked"), "{error}");
    let client = within(Client::over(plug(0))).await.expect("the server accepts the next line");
    assert_eq!(server.limit_counts().get("accept_backoff"), Some(1));
    within(client.close()).await;
    within(server.shutdown()).await.expect("nothing is left");
}
