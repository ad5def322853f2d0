//! Somebody between a client and a server, who sees what is sent as frames and records, and does with it what a test says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use socketproto::{Message, Server, ServiceId};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::desk::{message, place, within};

/// A line, whatever it is made of.
pub(crate) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Who has sent something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) use Side::{Client as FromClient, Server as FromServer};

/// What becomes of it.
pub(crate) enum Deed {
    /// These bytes go on to the other side.
    Pass(Vec<u8>),
    /// These bytes go back to who has sent it, and nothing goes on.
    Answer(Vec<u8>),
    /// These bytes go on, and then both lines end.
    Cut(Vec<u8>),
}

/// What is done with the n-th frame or record of a side.
pub(crate) type Hook = Box<dyn FnMut(Side, usize, Vec<u8>) -> Deed + Send>;

/// Listens as a server would; all ends with it.
pub(crate) struct Middle {
    pub(crate) url: String,
    accept: JoinHandle<()>,
}

impl Middle {
    /// Does the same with each line that comes.
    pub(crate) async fn new<F>(scheme: &str, mut with: impl FnMut(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("{scheme}://{}", listener.local_addr().expect("a bound listener"));
        let accept = tokio::spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((line, _)) = listener.accept().await {
                lines.spawn(with(line));
            }
        });
        Self { url, accept }
    }

    /// Passes bytes on, whatever they are.
    pub(crate) async fn relay(server: &Server) -> Self {
        let (scheme, to) = server.address().split_once("://").expect("a URL");
        let to = to.to_owned();
        Self::new(scheme, move |mut near| {
            let to = to.clone();
            async move {
                let Ok(mut far) = TcpStream::connect(&to).await else { return };
                let _ = io::copy_bidirectional(&mut near, &mut far).await;
            }
        })
        .await
    }

    /// Has a hook of its own for each line of clients that connect to it instead of a server of `tcp://`.
    pub(crate) async fn hooked(server: &Server, mut hook: impl FnMut() -> Hook + Send + 'static) -> Self {
        let to = place(server.address()).to_owned();
        Self::new("tcp", move |near| {
            let (to, hook) = (to.clone(), hook());
            async move {
                if let Ok(far) = TcpStream::connect(&to).await {
                    pass(near, far, hook).await;
                }
            }
        })
        .await
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Both ways out of the middle, by whom they lead to.
struct Ways {
    to_client: tokio::sync::Mutex<WriteHalf<Box<dyn Line>>>,
    to_server: tokio::sync::Mutex<WriteHalf<Box<dyn Line>>>,
    /// What follows the first frames are records.
    secure: AtomicBool,
    hook: Mutex<Hook>,
}

/// Carries frames and records both ways until one side ends, or the hook does.
pub(crate) async fn pass(near: impl Line + 'static, far: impl Line + 'static, hook: Hook) {
    let (from_client, to_client) = io::split(Box::new(near) as Box<dyn Line>);
    let (from_server, to_server) = io::split(Box::new(far) as Box<dyn Line>);
    let ways = Ways {
        to_client: to_client.into(),
        to_server: to_server.into(),
        secure: AtomicBool::new(false),
        hook: Mutex::new(hook),
    };
    let client = carry(FromClient, from_client, &ways);
    let server = carry(FromServer, from_server, &ways);
    tokio::pin!(client, server);
    let cut = tokio::select! {
        cut = &mut client => if cut { true } else { server.await },
        cut = &mut server => if cut { true } else { client.await },
    };
    if cut {
        for way in [&ways.to_client, &ways.to_server] {
            let _ = way.lock().await.shutdown().await;
        }
    }
}

/// One direction; true where the hook has cut the line.
async fn carry(side: Side, mut from: ReadHalf<Box<dyn Line>>, ways: &Ways) -> bool {
    let (onward, back) = match side {
        FromClient => (&ways.to_server, &ways.to_client),
        FromServer => (&ways.to_client, &ways.to_server),
    };
    let mut number = 0;
    while let Some(unit) = unit(&mut from, number > 0 && ways.secure.load(Ordering::Relaxed)).await {
        if side == FromClient && number == 0 && message(&unit).is_some_and(|first| is_offer(&first)) {
            ways.secure.store(true, Ordering::Relaxed);
        }
        let deed = (ways.hook.lock().expect("a hook panicked"))(side, number, unit);
        number += 1;
        let (way, bytes, cut) = match deed {
            Deed::Pass(bytes) => (onward, bytes, false),
            Deed::Answer(bytes) => (back, bytes, false),
            Deed::Cut(bytes) => (onward, bytes, true),
        };
        let written = way.lock().await.write_all(&bytes).await;
        if cut {
            return true;
        }
        if written.is_err() {
            break;
        }
    }
    let _ = onward.lock().await.shutdown().await;
    false
}

/// The next frame with its four bytes of length, or record with its two.
pub(crate) async fn unit(from: &mut (impl AsyncRead + Unpin), record: bool) -> Option<Vec<u8>> {
    let mut unit = vec![0; if record { 2 } else { 4 }];
    from.read_exact(&mut unit).await.ok()?;
    let length = unit.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    assert!(length < 1 << 24, "{} begins nothing", unit.escape_ascii());
    let start = unit.len();
    unit.resize(start + length, 0);
    from.read_exact(&mut unit[start..]).await.ok()?;
    Some(unit)
}

/// Whether a client begins secure mode with it.
pub(crate) fn is_offer(message: &Message) -> bool {
    message.service_id() == ServiceId::AUTH_REQUEST && message.data_id().value() == 2
}

/// What has been seen in the middle.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<Sent>>);

/// Piece by piece, with who has sent it.
type Sent = Vec<(Side, Vec<u8>)>;

impl Recording {
    pub(crate) fn add(&self, side: Side, bytes: &[u8]) {
        self.0.lock().expect("nobody panics while recording").push((side, bytes.to_vec()));
    }

    /// What a side has sent, piece by piece.
    pub(crate) fn of(&self, side: Side) -> Vec<Vec<u8>> {
        let all = self.0.lock().expect("nobody panics while recording");
        all.iter().filter(|(from, _)| *from == side).map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Whether a text was among it, in clear.
    pub(crate) fn has(&self, text: &str) -> bool {
        let all = self.0.lock().expect("nobody panics while recording");
        all.iter().any(|(_, bytes)| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// A hook that records, and passes everything on.
    pub(crate) fn hook(&self) -> Hook {
        let this = self.clone();
        Box::new(move |side, _, unit| {
            this.add(side, &unit);
            Deed::Pass(unit)
        })
    }
}

/// One end of a line in clear, for peers that keep no rules.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(address: &str) -> Self {
        Self(within(TcpStream::connect(place(address))).await.expect("the server listens"))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // What becomes of them is for the reading side to say.
        let _ = within(self.0.write_all(bytes)).await;
    }

    /// The next frame's message; none where the other side has ended.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        let unit = within(unit(&mut self.0, false)).await?;
        Some(message(&unit).expect("a valid frame"))
    }

    pub(crate) async fn ask(&mut self, request: &Message) -> Option<Message> {
        self.send(&crate::desk::framed(request)).await;
        self.receive().await
    }

    /// All that still comes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = within(self.0.read_to_end(&mut rest)).await;
        rest
    }
}
