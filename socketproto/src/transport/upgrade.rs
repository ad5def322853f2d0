//! What a listener of byte streams takes beside frames, told by the first byte (protocol.md section 3).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::framing::{Detected, detect};
use crate::transport::{Connected, HandshakeFailed, Stream};

/// The fatal TLS alert "unexpected message", in clear: what a TLS server answers to one that does not speak TLS.
const TLS_ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 10];

/// A handshake that is under way.
pub(crate) type Upgrading<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Makes an encrypted stream of one that begins with a TLS handshake.
pub(crate) trait AcceptTls: Send + Sync {
    fn accept(&self, raw: Raw) -> Upgrading<Raw>;

    /// Whether clients are asked for a certificate.
    fn asks_for_certificate(&self) -> bool;

    /// Whether no client can connect without one.
    fn requires_certificate(&self) -> bool;
}

/// Makes an encrypted stream to a host.
#[cfg(any(feature = "tls", feature = "websocket"))]
pub(crate) trait OpenTls: Send + Sync {
    fn open(&self, raw: Raw) -> Upgrading<Raw>;
}

/// Makes a line of datagrams of a stream that begins with an HTTP request.
pub(crate) trait AcceptWebSocket: Send + Sync {
    fn accept(&self, raw: Raw) -> Upgrading<Connected>;
}

/// What a listener takes beside frames, by default nothing, and where.
#[derive(Default)]
pub(crate) struct Upgrades {
    pub(crate) tls: Option<Arc<dyn AcceptTls>>,
    pub(crate) websocket: Option<Box<dyn AcceptWebSocket>>,
    /// Refuse whatever does not begin with a TLS handshake.
    pub(crate) require_tls: bool,
    /// The framing is fixed: whatever begins nothing else is frames, be it noise before them.
    pub(crate) framing_is_fixed: bool,
    /// Nothing but a WebSocket is taken, be it inside TLS.
    pub(crate) websocket_alone: bool,
    /// Accepted sockets are used on other threads.
    pub(crate) spread: bool,
}

/// A byte stream of which no byte has been read, and what is known of its other end.
pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) peer: Arc<str>,
    /// What a handshake has shown of the peer: its certificate, verified, as DER.
    pub(crate) certificate: Option<Arc<[u8]>>,
}

impl Raw {
    /// What is known before anything was said.
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Arc<str>) -> Self {
        Self { stream: Box::new(stream), peer, certificate: None }
    }

    pub(crate) fn connected(self) -> Connected {
        Connected::boxed(self.stream, self.peer, self.certificate)
    }
}

/// The line on an accepted stream. Where nothing but frames is taken it is there at once.
pub(crate) fn upgrade(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: impl Into<Arc<str>>,
    upgrades: &Arc<Upgrades>,
) -> Connected {
    let (peer, upgrades) = (peer.into(), Arc::clone(upgrades));
    if upgrades.takes_frames_alone() {
        return Connected::stream(stream, peer);
    }
    let raw = Raw::new(stream, Arc::clone(&peer));
    Connected::opening(async move { upgrades.open(raw).await }, peer)
}

impl Upgrades {
    fn takes_frames_alone(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none() && !self.require_tls
    }

    async fn open(&self, raw: Raw) -> io::Result<Connected> {
        let (first, raw) = first_byte(raw).await?;
        match &self.tls {
            Some(tls) if detect(first) == Some(Detected::Tls) => {
                // The handshake gets every byte that has come, so none of them can be taken as what stands inside it.
                let (first, raw) = first_byte(tls.accept(raw).await?).await?;
                self.open_inside(first, raw, None).await
            }
            _ if self.require_tls => Err(refuse_clear(first, raw).await),
            tls => self.open_inside(first, raw, tls.as_ref().map(|_| "TLS")).await,
        }
    }

    /// Takes what may stand in clear as well as inside TLS. `also` is what else was taken here.
    async fn open_inside(&self, first: u8, raw: Raw, also: Option<&str>) -> io::Result<Connected> {
        let websocket = match (detect(first), &self.websocket) {
            (Some(Detected::WebSocket), Some(websocket)) => return websocket.accept(raw).await,
            _ if self.websocket_alone => {
                let reason = format!("the first byte, 0x{first:02x}, starts no WebSocket");
                return Err(HandshakeFailed::error(reason, false));
            }
            (Some(Detected::Framing(_)), _) => return Ok(raw.connected()),
            _ if self.framing_is_fixed => return Ok(raw.connected()),
            (_, websocket) => websocket.as_ref().map(|_| "a WebSocket"),
        };
        let taken: Vec<_> = ["STP", "length framing"].into_iter().chain(also).chain(websocket).collect();
        let reason = format!("the first byte, 0x{first:02x}, starts none of {}", taken.join(", "));
        Err(HandshakeFailed::error(reason, false))
    }
}

/// Tells one that speaks frames in clear that this is a TLS server; anybody else gets no answer.
async fn refuse_clear(first: u8, mut raw: Raw) -> io::Error {
    if let Some(Detected::Framing(_)) = detect(first) {
        // It may have gone already, which is all the same.
        let _ = raw.stream.write_all(&TLS_ALERT).await;
        linger(&mut raw.stream).await;
    }
    let reason =
        format!("the first byte, 0x{first:02x}, starts no TLS, which is required here: connect with tls://");
    HandshakeFailed::error(reason, false)
}

/// Looks at the first byte; the stream gives it once more.
async fn first_byte(raw: Raw) -> io::Result<(u8, Raw)> {
    let Raw { mut stream, peer, certificate } = raw;
    let first = stream.read_u8().await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "closed by the peer before its first byte")
        }
        _ => error,
    })?;
    let stream = Box::new(Prefixed { first: Some(first), stream });
    Ok((first, Raw { stream, peer, certificate }))
}

/// Ends a line so that the last word still arrives: bytes that were never read would make the operating system reset
/// the line, and drop what is under way.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    /// More than a peer sends before it has an answer.
    const BYTES: u64 = 64 * 1024;
    const TIME: std::time::Duration = std::time::Duration::from_secs(1);

    let until_closed = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(BYTES), &mut tokio::io::sink()).await
    };
    // However it ends, it has ended.
    let _ = tokio::time::timeout(TIME, until_closed).await;
}

/// A stream whose first byte has been read: it is given once more.
struct Prefixed {
    first: Option<u8>,
    stream: Box<dyn Stream>,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Io;
    use tokio::io::duplex;

    /// A handshake of one byte, as TLS begins; what follows is inside.
    struct Inside;

    impl AcceptTls for Inside {
        fn accept(&self, mut raw: Raw) -> Upgrading<Raw> {
            Box::pin(async move {
                assert_eq!(raw.stream.read_u8().await?, 0x16);
                raw.certificate = Some(Arc::from(&b"certificate"[..]));
                Ok(raw)
            })
        }

        fn asks_for_certificate(&self) -> bool {
            true
        }

        fn requires_certificate(&self) -> bool {
            true
        }
    }

    /// Takes the whole of a request.
    struct Socket;

    impl AcceptWebSocket for Socket {
        fn accept(&self, mut raw: Raw) -> Upgrading<Connected> {
            Box::pin(async move {
                let mut request = [0; 3];
                raw.stream.read_exact(&mut request).await?;
                assert_eq!(&request, b"GET");
                Ok(Connected::stream(raw.stream, "ws://upgraded"))
            })
        }
    }

    fn takes(tls: bool, websocket: bool, require_tls: bool, framing_is_fixed: bool) -> Upgrades {
        Upgrades {
            tls: tls.then(|| Arc::new(Inside) as _),
            websocket: websocket.then(|| Box::new(Socket) as _),
            require_tls,
            framing_is_fixed,
            websocket_alone: false,
            spread: false,
        }
    }

    /// What becomes of bytes: the address of the line, whether there is a certificate, and what is then read; else the
    /// error.
    async fn outcome(bytes: &[u8], upgrades: Upgrades) -> Result<(String, bool, Vec<u8>), String> {
        let (mut theirs, ours) = duplex(1024);
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut line = upgrade(ours, "tcp://peer", &Arc::new(upgrades));
        loop {
            match line.io {
                Io::Opening(opening) => line = opening.await.map_err(|error| error.to_string())?,
                Io::Stream(mut stream) => {
                    let mut read = Vec::new();
                    stream.read_to_end(&mut read).await.unwrap();
                    return Ok((line.peer.to_string(), line.certificate.is_some(), read));
                }
            }
        }
    }

    #[tokio::test]
    async fn every_first_byte_leads_to_one_thing() {
        const STARTS_NONE: &str =
            "the first byte, 0x50, starts none of STP, length framing, TLS, a WebSocket";
        let all = || takes(true, true, false, false);
        let line = |peer: &str, certificate, read: &[u8]| Ok((peer.to_owned(), certificate, read.to_vec()));
        for (bytes, upgrades, expected) in [
            (&b":<x"[..], all(), line("tcp://peer", false, b":<x")),
            (b"\x00\x00", all(), line("tcp://peer", false, b"\x00\x00")),
            (b"\x16:<x", all(), line("tcp://peer", true, b":<x")),
            (b"\x16GET /", all(), line("ws://upgraded", false, b" /")),
            (b"GET /", all(), line("ws://upgraded", false, b" /")),
            (b"POST", all(), Err(STARTS_NONE.to_owned())),
            (b"POST", takes(true, true, false, true), line("tcp://peer", false, b"POST")),
            (b"\x16POST", all(), Err(STARTS_NONE.replace(", TLS", ""))),
            (b"", all(), Err("closed by the peer before its first byte".to_owned())),
            (b"\x16", all(), Err("closed by the peer before its first byte".to_owned())),
            (
                b"GET",
                takes(true, false, false, false),
                Err(STARTS_NONE.replace("50", "47").replace(", a WebSocket", "")),
            ),
        ] {
            assert_eq!(outcome(bytes, upgrades).await, expected, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[tokio::test]
    async fn tls_stands_in_no_tls() {
        let error = outcome(b"\x16\x16:<x", takes(true, false, false, false)).await.unwrap_err();
        assert_eq!(error, "the first byte, 0x16, starts none of STP, length framing");
    }

    #[tokio::test]
    async fn where_tls_is_required_nothing_else_is_taken() {
        for bytes in [&b":<x"[..], b"\0\0", b"GET /", b"POST"] {
            for framing_is_fixed in [false, true] {
                let error = outcome(bytes, takes(true, true, true, framing_is_fixed)).await.unwrap_err();
                assert!(error.contains("starts no TLS, which is required here"), "{error}");
            }
        }
        assert!(outcome(b"\x16:<x", takes(true, true, true, false)).await.is_ok());
    }

    #[tokio::test]
    async fn only_who_speaks_frames_is_told_that_tls_is_required() {
        for (bytes, answer) in [(&b":<x"[..], &TLS_ALERT[..]), (b"\0\0", &TLS_ALERT), (b"POST", b"")] {
            let (mut theirs, ours) = duplex(1024);
            theirs.write_all(bytes).await.unwrap();
            let Io::Opening(opening) =
                upgrade(ours, "tcp://peer", &Arc::new(takes(true, false, true, false))).io
            else {
                panic!("nothing has been read yet");
            };
            let mut read = Vec::new();
            let (_, opened) = tokio::join!(
                async {
                    theirs.read_to_end(&mut read).await.unwrap();
                    drop(theirs);
                },
                opening
            );
            assert!(opened.is_err());
            assert_eq!(read, answer, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn who_still_speaks_gets_the_last_word_all_the_same() {
        let (mut theirs, mut ours) = duplex(8);
        ours.write_all(b"goodbye").await.unwrap();
        let speaks = async {
            theirs.write_all(&[0; 1000]).await.unwrap();
            let mut read = String::new();
            theirs.read_to_string(&mut read).await.unwrap();
            drop(theirs);
            read
        };
        let ends = async move {
            linger(&mut ours).await;
        };
        let (read, ()) = tokio::join!(speaks, ends);
        assert_eq!(read, "goodbye");
    }

    #[tokio::test]
    async fn where_nothing_but_frames_is_taken_there_is_no_handshake() {
        let (_theirs, ours) = duplex(1);
        assert!(matches!(upgrade(ours, "tcp://peer", &Arc::default()).io, Io::Stream(_)));
    }
}
