//! What the cases share: frames, a peer that speaks raw bytes, and the `echo` example as a process.
//!
//! Frames are made and read here without the library, so that the cases check it.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use serde_json::value::RawValue;
use socketproto::{Error, Server, ServerBuilder};
use tokio::net::TcpSocket;

use crate::program::{Log, wait_for_signal_handler};

/// What takes longer is taken for a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The cases give PROBE 1 s; a machine at work gets five times as much.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// The data of a fake server's HELLO.
pub(crate) const HELLO: &str =
    r#"{"session":"00000000000000aa","features":[],"max_frame":8388608,"max_in_flight":8}"#;

/// For servers that come back to their port: connections of other tests, which begin at 127.0.0.1, cannot be given it
/// meanwhile.
pub(crate) const OWN_ADDRESS: &str = "tcp://127.0.4.4:0";

/// How frames are found in the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wire {
    Length,
    Stp,
}

pub(crate) const WIRES: [Wire; 2] = [Wire::Length, Wire::Stp];

impl Wire {
    /// F(x) of the cases: the frame of a JSON text, as it goes over the wire.
    pub(crate) fn frame(self, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.wrap(&sealed(text))
    }

    /// Any bytes in place of a frame.
    pub(crate) fn wrap(self, frame: &[u8]) -> Vec<u8> {
        match self {
            Self::Length => [&u32::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat(),
            Self::Stp => {
                let mut out = b":<".to_vec();
                for piece in frame.split_inclusive(|byte| *byte == b':') {
                    out.extend_from_slice(piece);
                    if piece.ends_with(b":") {
                        out.push(b'=');
                    }
                }
                out.extend_from_slice(b":>");
                out
            }
        }
    }

    /// Takes the first frame off the input, if it is there as a whole. `seen` bytes were looked at before.
    pub(crate) fn unwrap(self, input: &mut Vec<u8>, seen: &mut usize) -> Option<Vec<u8>> {
        match self {
            Self::Length => {
                let (length, rest) = input.split_first_chunk()?;
                let length = u32::from_be_bytes(*length) as usize;
                let frame = rest.get(..length)?.to_vec();
                input.drain(..4 + length);
                Some(frame)
            }
            Self::Stp => {
                assert!(b":<".starts_with(&input[..input.len().min(2)]), "no STP frame: {input:?}");
                let from = (*seen).max(2);
                let Some(at) = input.get(from..)?.windows(2).position(|pair| pair == b":>") else {
                    *seen = input.len().saturating_sub(1);
                    return None;
                };
                let frame = unstuff(&input[2..from + at]);
                input.drain(..from + at + 2);
                *seen = 0;
                Some(frame)
            }
        }
    }
}

fn unstuff(stuffed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stuffed.len());
    let mut bytes = stuffed.iter();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == b':' {
            assert_eq!(bytes.next(), Some(&b'='), "undefined escape in a frame of the library");
        }
    }
    out
}

/// A JSON text and its checksum.
pub(crate) fn sealed(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [text, &crc32(text).to_be_bytes()].concat()
}

/// CRC-32 as in IEEE 802.3, reflected.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8))
}

/// M(status, service, datum, data) of the cases.
pub(crate) fn m(status: u32, service_id: u32, data_id: u32, data: &str) -> String {
    format!(r#"{{"status":{status},"service_id":{service_id},"data_id":{data_id},"data":{data}}}"#)
}

/// Random bytes that are the same in every run (splitmix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).unwrap()
    }
}

/// A message that came over the wire.
#[derive(Debug, Deserialize)]
pub(crate) struct Received {
    pub(crate) status: u32,
    pub(crate) service_id: u32,
    pub(crate) data_id: u32,
    data: Box<RawValue>,
    message_id: Option<u64>,
}

impl Received {
    pub(crate) fn read(frame: &[u8]) -> Self {
        let (text, checksum) = frame.split_last_chunk().expect("a frame has a checksum");
        assert_eq!(crc32(text), u32::from_be_bytes(*checksum), "checksum of {}", text.escape_ascii());
        serde_json::from_slice(text).expect("a frame is an object with the five keys")
    }

    /// The text of the data.
    pub(crate) fn data(&self) -> &str {
        self.data.get()
    }

    /// The answer to it, with its message id.
    pub(crate) fn answer(&self, data: &str) -> String {
        let mut text = m(0, self.service_id + 1, self.data_id, data);
        if let Some(id) = self.message_id {
            text.insert_str(text.len() - 1, &format!(r#","message_id":{id}"#));
        }
        text
    }

    /// As `21/5: 22.5`, or `21/5 status 2: null`.
    pub(crate) fn show(&self) -> String {
        let Self { status, service_id, data_id, .. } = self;
        let status = if *status == 0 { String::new() } else { format!(" status {status}") };
        format!("{service_id}/{data_id}{status}: {}", self.data())
    }
}

/// What a raw peer speaks over.
trait Line: Read + Write + Send {
    /// Says that nothing more will be sent.
    fn finish(&self) -> io::Result<()>;

    /// The same line once more.
    fn another(&self) -> io::Result<Box<dyn Line>>;
}

impl Line for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn another(&self) -> io::Result<Box<dyn Line>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Line for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn another(&self) -> io::Result<Box<dyn Line>> {
        Ok(Box::new(self.try_clone()?))
    }
}

/// A peer that sends bytes.
pub(crate) struct Raw {
    stream: Box<dyn Line>,
    pub(crate) wire: Wire,
    input: Vec<u8>,
    seen: usize,
}

impl Raw {
    pub(crate) fn connect(address: &str, wire: Wire) -> Self {
        let place = address.split('?').next().unwrap();
        if let Some(path) = place.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            return Self::over(Box::new(stream), wire);
        }
        let place = place.strip_prefix("tcp://").expect("a TCP or Unix address");
        Self::new(TcpStream::connect(place).expect("the server listens"), wire)
    }

    pub(crate) fn accept(listener: &TcpListener, wire: Wire) -> Self {
        Self::new(listener.accept().unwrap().0, wire)
    }

    fn new(stream: TcpStream, wire: Wire) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(Box::new(stream), wire)
    }

    fn over(stream: Box<dyn Line>, wire: Wire) -> Self {
        Self { stream, wire, input: Vec::new(), seen: 0 }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side reads");
    }

    /// Sends while the other side takes it; false where it has closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                assert!(is_end(&error), "cannot send: {error}");
                false
            }
        }
    }

    pub(crate) fn send_text(&mut self, text: impl AsRef<[u8]>) {
        self.send(&self.wire.frame(text));
    }

    /// The next message; none at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        self.next(is_end)
    }

    /// The same where a connection that is reset is a failure.
    pub(crate) fn receive_clean(&mut self) -> Option<Received> {
        self.next(|_| false)
    }

    fn next(&mut self, is_end: impl Fn(&io::Error) -> bool) -> Option<Received> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = self.wire.unwrap(&mut self.input, &mut self.seen) {
                return Some(Received::read(&frame));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if is_end(&error) => return None,
                Err(error) => panic!("nothing came within {PATIENCE:?}, or the line broke: {error}"),
            }
        }
    }

    /// The same connection for another thread that writes.
    pub(crate) fn writer(&self) -> Self {
        Self::over(self.stream.another().unwrap(), self.wire)
    }

    /// Waits until a part of a message has come.
    pub(crate) fn wait_for_bytes(&mut self) {
        let mut chunk = [0; 1024];
        let count = self.stream.read(&mut chunk).unwrap();
        self.input.extend_from_slice(&chunk[..count]);
    }

    /// The next message, shown.
    pub(crate) fn answer(&mut self) -> String {
        self.receive().expect("the connection lives").show()
    }

    pub(crate) fn ask(&mut self, service_id: u32, data_id: u32, data: &str) -> String {
        self.send_text(m(0, service_id, data_id, data));
        self.answer()
    }

    /// PROBE on this connection. Since nothing else may come before its answer, it also proves that nothing came.
    pub(crate) fn probe(&mut self) {
        assert_eq!(self.ask(10, 4711, "null"), "11/4711: null", "{:?}", self.wire);
    }

    /// Waits for the end of the connection, and that nothing is answered before it.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.receive().map(|message| message.show()), None, "{:?}", self.wire);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        self.stream.finish().unwrap();
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// PROBE: a fresh connection asks and is answered.
pub(crate) fn probe(address: &str) {
    let begun = Instant::now();
    Raw::connect(address, Wire::Length).probe();
    assert!(begun.elapsed() < PROBE_TIME, "answered after {:?}", begun.elapsed());
}

/// Runs a future to its end, or fails instead of hanging.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Cases have their own bounds of [`PATIENCE`], some of them one after the other.
    const MOST: Duration = PATIENCE.saturating_mul(6);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(MOST, future).await.expect("it hangs") })
}

/// An address where nobody listens. While the socket lives nobody else is given its port; a server can still take it.
pub(crate) fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = format!("tcp://{}", socket.local_addr().unwrap());
    (socket, address)
}

/// Starts a server in this process.
pub(crate) fn start(builder: ServerBuilder) -> Server {
    block_on(builder.start()).unwrap()
}

/// Starts a server where another has just been closed. Another test that starts a program at this moment makes a copy of
/// this process, which holds the port until it has become that program.
pub(crate) async fn start_again(builder: impl Fn() -> ServerBuilder) -> Server {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match builder().start().await {
            Err(Error::Bind { .. }) if Instant::now() < deadline => tokio::task::yield_now().await,
            outcome => return outcome.unwrap(),
        }
    }
}

/// The `echo` example as a process of its own. It is killed when dropped.
pub(crate) struct Echo {
    child: Child,
    pub(crate) address: String,
    log: Log,
    level: &'static str,
}

impl Echo {
    pub(crate) fn start() -> Self {
        Self::with(&[], "warn")
    }

    pub(crate) fn with(arguments: &[&str], level: &'static str) -> Self {
        let mut command = Command::new(example("echo"));
        command.args(arguments).stdin(Stdio::null());
        Self::spawn(command, level)
    }

    /// The same by a command that ends in the `echo` example.
    pub(crate) fn spawn(mut command: Command, level: &'static str) -> Self {
        let mut child = command
            .env("RUST_LOG", level)
            .env_remove("SOCKETPROTO_SECRET")
            // glibc would keep large blocks that were given back, once it has seen some: what a test measures then is
            // the allocator's habit.
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example runs");
        let log = Log::of(child.stderr.take().unwrap());
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address =
            first.trim_end().strip_prefix("listening on ").expect("it says where it listens").to_owned();
        // The example says where it listens before it waits for signals; until then they would kill it.
        wait_for_signal_handler(child.id());
        Self { child, address, log, level }
    }

    pub(crate) fn connect(&self, wire: Wire) -> Raw {
        Raw::connect(&self.address, wire)
    }

    /// The pass rules that hold for every case: it answers, it has not panicked, it ends as told, its log is short.
    /// Gives the log.
    pub(crate) fn end(mut self) -> String {
        probe(&self.address);
        self.end_unasked()
    }

    /// The same for a case that is malformed on many connections: each of them says so once.
    pub(crate) fn end_noisy(mut self) {
        probe(&self.address);
        self.level = "noisy";
        self.end_unasked();
    }

    /// The same for a server that answers nobody before authentication.
    pub(crate) fn end_unasked(&mut self) -> String {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended by itself");
        rustix::process::kill_process(self.process(), Signal::TERM).unwrap();
        self.ended()
    }

    /// The same for a server that has been told to end.
    pub(crate) fn ended(&mut self) -> String {
        let status = self.child.wait().unwrap();
        let log = self.log.whole();
        assert!(status.success(), "{status}\n{log}");
        assert!(!log.contains("panicked") && !log.contains("poisoned"), "{log}");
        assert!(self.level != "warn" || log.lines().count() <= 50, "the log is flooded:\n{log}");
        log
    }

    /// The process of the server.
    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the process uses now.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }

    /// What the process uses with one connection, which stays open to watch it.
    pub(crate) fn base(&self) -> Base {
        let mut watch = self.connect(Wire::Length);
        watch.probe();
        Base { watch, usage: self.usage() }
    }

    /// Pass rule 3: everything is given back. `slack` is what the allocator may keep.
    pub(crate) fn is_back_at(&self, base: &mut Base, slack: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Each answer means that the server has had a turn for what ended before.
            base.watch.probe();
            let (now, base) = (self.usage(), &base.usage);
            let held = now.descriptors > base.descriptors || now.threads > base.threads;
            if !held && now.rss <= base.rss + slack {
                return;
            }
            assert!(Instant::now() < deadline, "{now:?} instead of {base:?}");
        }
    }

    /// The share of one core that the process takes, measured over 2 s.
    pub(crate) fn is_idle(&self) {
        const WINDOW: Duration = Duration::from_secs(2);
        let before = self.usage().cpu;
        thread::sleep(WINDOW);
        let used = self.usage().cpu - before;
        assert!(used < WINDOW / 20, "{used:?} of processor time in {WINDOW:?} without work");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of an example; they are built where this one is missing.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(|deps| deps.parent()).expect("tests lie in target/PROFILE/deps");
    let path = profile.join("examples").join(name);
    BUILD.call_once(|| {
        if !path.exists() {
            let mut build = Command::new(env!("CARGO"));
            build
                .args(["build", "--quiet", "--workspace", "--examples"])
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "the examples cannot be built");
        }
    });
    path
}

/// What a process used before a case.
pub(crate) struct Base {
    pub(crate) watch: Raw,
    pub(crate) usage: Usage,
}

/// What a process uses.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss: usize,
    pub(crate) peak: usize,
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        /// Linux counts processor time for user space in hundredths of a second.
        const TICK: Duration = Duration::from_millis(10);
        let directory = PathBuf::from(format!("/proc/{process}"));
        let status = std::fs::read_to_string(directory.join("status")).expect("/proc");
        let number = |key: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect(key);
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let stat = std::fs::read_to_string(directory.join("stat")).unwrap();
        let behind_name = stat.rsplit_once(") ").unwrap().1;
        let ticks =
            behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum::<u32>();
        Self {
            cpu: TICK * ticks,
            rss: number("VmRSS:") * 1024,
            peak: number("VmHWM:") * 1024,
            threads: number("Threads:"),
            descriptors: std::fs::read_dir(directory.join("fd")).unwrap().count(),
        }
    }
}
