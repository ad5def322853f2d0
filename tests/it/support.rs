//! What the tests share: a bound against hanging, programs as children, and a raw peer that breaks rules.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socketproto::frame::{self, Format};
use socketproto::framing::{Deframer, Framer, Framing, MAX_FRAME, Piece};
use socketproto::{Client, Header, Json, Limits, Message, ServiceId, Status};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio_util::codec::{Decoder, Encoder};

/// Far longer than anything here takes: whoever is still waiting then, waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs to the end, or fails instead of hanging.
pub(crate) async fn within<F: IntoFuture>(work: F) -> F::Output {
    within_time(PATIENCE, work).await
}

/// The same for work that takes longer than anything else.
pub(crate) async fn within_time<F: IntoFuture>(time: Duration, work: F) -> F::Output {
    match tokio::time::timeout(time, work).await {
        Ok(output) => output,
        Err(_) => panic!("it hangs: no end within {time:?}"),
    }
}

/// Waits until a client has lost its line; it will try to connect again.
pub(crate) async fn disconnected(client: &Client) {
    let start = std::time::Instant::now();
    while client.is_connected() {
        assert!(start.elapsed() < PATIENCE, "it hangs: still connected after {PATIENCE:?}");
        tokio::task::yield_now().await;
    }
}

/// Runs a future on this thread without any runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let start = std::time::Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(start.elapsed() < PATIENCE, "it hangs: no end within {PATIENCE:?}");
        thread::park_timeout(PATIENCE);
    }
}

// Things that tell the test

/// Something that happens inside a handler, told to the test.
#[derive(Clone, Debug)]
pub(crate) struct Teller(mpsc::UnboundedSender<&'static str>);

/// The test's end.
pub(crate) struct Told(mpsc::UnboundedReceiver<&'static str>);

pub(crate) fn teller() -> (Teller, Told) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Teller(sender), Told(receiver))
}

impl Teller {
    pub(crate) fn tell(&self, what: &'static str) {
        let _ = self.0.send(what);
    }

    /// Tells when the value is dropped.
    pub(crate) fn on_drop(&self, what: &'static str) -> TellOnDrop {
        TellOnDrop { teller: self.clone(), what }
    }
}

impl Told {
    pub(crate) async fn next(&mut self) -> &'static str {
        self.0.recv().await.expect("somebody who could tell is still there")
    }

    /// What has been told already.
    pub(crate) fn now(&mut self) -> Option<&'static str> {
        self.0.try_recv().ok()
    }
}

pub(crate) struct TellOnDrop {
    teller: Teller,
    what: &'static str,
}

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.teller.tell(self.what);
    }
}

// Programs

/// Whether this machine has IPv6; a test that needs it says so and passes without.
pub(crate) fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("passed over: this machine has no IPv6");
    }
    has
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the repository")
}

/// An example as a command; cargo puts examples beside the folder of this test binary.
pub(crate) fn example(name: &str) -> Command {
    let own = std::env::current_exe().expect("a program knows where it lies");
    let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let program: PathBuf = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "the example `{name}` has not been built; run `cargo build --workspace --examples` (tests/run.sh does)"
    );
    command(program)
}

/// The Python peer as a command.
pub(crate) fn python_peer() -> Command {
    python("peer.py")
}

/// A program of `tests/python` as a command.
pub(crate) fn python(name: &str) -> Command {
    let mut program = command("python3");
    // It may import others of that folder, which is to stay as it is.
    program.arg("-B").arg(repository().join("tests/python").join(name));
    program
}

/// A Python program of the repository that needs the packages of `tests/python/requirements.txt`, as a command.
pub(crate) fn python_with_packages(path: &str) -> Command {
    // tests/run.sh makes the folder.
    let own = repository().join("target/python/bin/python3");
    let mut program = command(if own.is_file() { own } else { PathBuf::from("python3") });
    program.arg("-B").arg(repository().join(path));
    program
}

/// A command whose process ends with the test, however that ends.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).env("RUST_LOG", "error").stdin(Stdio::null());
    // Whoever runs the tests may have one.
    command.env_remove("SOCKETPROTO_SECRET");
    command
}

/// Runs a program to its end.
pub(crate) async fn run(command: Command) -> Ended {
    run_for(PATIENCE, command).await
}

/// Runs a program that may take so long to its end.
pub(crate) async fn run_for(time: Duration, mut command: Command) -> Ended {
    let output = within_time(time, command.output()).await;
    Ended::new(output.unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("programs write UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A server in a process of its own, up to the line that says where it listens.
pub(crate) struct Program {
    child: Child,
    pub(crate) url: String,
    stdout: BufReader<tokio::process::ChildStdout>,
    stdin: Option<ChildStdin>,
}

impl Program {
    pub(crate) async fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        within(stdout.read_line(&mut line)).await.expect("stdout is UTF-8");
        let url = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix('\n'));
        let url = url.unwrap_or_else(|| panic!("expected `listening on URL`, found {line:?}")).to_owned();
        let stdin = child.stdin.take();
        Self { child, url, stdout, stdin }
    }

    /// The port of the URL.
    pub(crate) fn port(&self) -> &str {
        self.url.rsplit(':').next().expect("a URL with a port")
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the program still runs")
    }

    /// Sends a signal by name, as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id();
        let sent = within(Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status()).await;
        assert!(sent.expect("`kill` can be run").success());
    }

    /// Waits for its end; what it wrote after its first line is in `stdout`.
    pub(crate) async fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let mut stdout = String::new();
        within(self.stdout.read_to_string(&mut stdout)).await.expect("stdout is UTF-8");
        let mut ended = Ended::new(within(self.child.wait_with_output()).await.expect("the program ends"));
        ended.stdout = stdout;
        ended
    }
}

// A raw peer

/// One end of a TCP connection that sends whatever it is told to, with length framing and JSON frames.
pub(crate) struct Raw {
    stream: TcpStream,
    input: BytesMut,
    deframer: Deframer,
}

impl Raw {
    /// Connects to a server of this process.
    pub(crate) async fn connect(url: &str) -> Self {
        let place = url.strip_prefix("tcp://").expect("a raw peer speaks TCP");
        Self::of(within(TcpStream::connect(place)).await.expect("the server listens"))
    }

    /// Waits for a client of this process and answers its HELLO.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (mut raw, _) = Self::accept_in_silence(listener).await;
        raw.answer_hello().await;
        raw
    }

    /// Waits for a client of this process, up to its HELLO, which is given.
    pub(crate) async fn accept_in_silence(listener: &TcpListener) -> (Self, Message) {
        let (stream, _) = within(listener.accept()).await.expect("a client connects");
        let mut raw = Self::of(stream);
        let hello = raw.receive().await.expect("a client begins with HELLO");
        assert_eq!(hello.service_id(), ServiceId::HELLO_REQUEST);
        (raw, hello)
    }

    pub(crate) async fn answer_hello(&mut self) {
        let data = serde_json::json!({
            "session": "00112233445566aa", "features": ["message_id"],
            "max_frame": 1 << 20, "max_in_flight": 256,
        });
        self.send(&Message::new(ServiceId::HELLO_RESPONSE, 0, json(&data))).await;
    }

    /// One end of this connection.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new(), deframer: Deframer::new(Framing::Length, MAX_FRAME) }
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        self.send_bytes(&framed(&encoded(message))).await;
    }

    /// Sends bytes as they are; what becomes of them is for the reading side to say.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// The next message; none where the other side has closed.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(piece) = self.deframer.decode(&mut self.input).expect("frames below every limit") {
                let Piece::Frame(frame) = piece else { panic!("{piece:?}") };
                return Some(frame::decode(frame).expect("a valid frame").message);
            }
            match within(self.stream.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next request of the application: the exchanges that a client begins with are passed over.
    pub(crate) async fn receive_request(&mut self) -> Option<Message> {
        loop {
            let message = self.receive().await?;
            if !message.service_id().is_reserved() {
                return Some(message);
            }
        }
    }

    /// Sends a request and waits for the answer that comes next.
    pub(crate) async fn ask(&mut self, request: &Message) -> Option<Message> {
        self.send(request).await;
        self.receive().await
    }

    /// Waits until the other side has closed, whatever it says before.
    pub(crate) async fn closed(&mut self) {
        while self.receive().await.is_some() {}
    }
}

/// The frame of a message.
pub(crate) fn encoded(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out).expect("a message");
    out.freeze()
}

/// A frame with its length before it.
pub(crate) fn framed(frame: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    Framer::new(Framing::Length).encode(frame, &mut out).expect("a frame below every limit");
    out.freeze()
}

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Json {
    Json::encode(value).expect("a value that can be written")
}

/// The default limits but for what `set` changes.
pub(crate) fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

/// A request whose frame has exactly this many bytes; its data are a text.
pub(crate) fn sized(service_id: ServiceId, data_id: u32, frame: usize) -> Message {
    let with = |length| Message::new(service_id, data_id, json(&"x".repeat(length)));
    let message = with(frame - encoded(&with(0)).len());
    assert_eq!(encoded(&message).len(), frame);
    message
}

/// A request to read a datum.
pub(crate) fn read(data_id: u32) -> Message {
    Message::new(ServiceId::READ_REQUEST, data_id, Json::NULL)
}

/// The answer to a request, with the same message id.
pub(crate) fn answer(request: &Message, data: Json) -> Message {
    let header = Header {
        service_id: ServiceId::new(request.service_id().value() + 1),
        status: Status::OKAY,
        ..*request.header()
    };
    Message::from_parts(header, data)
}
