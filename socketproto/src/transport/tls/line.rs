//! An encrypted line, and what its errors mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::Error as TlsError;

use crate::transport::Stream;
use crate::transport::handshake::HandshakeFailed;
use crate::transport::tls::reason::reason;
use crate::transport::upgrade::Raw;

/// Which end of the line this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other one.
    pub(super) fn peer(self) -> &'static str {
        match self {
            Self::Client => "server",
            Self::Server => "client",
        }
    }
}

/// A line whose handshake is done.
pub(super) struct TlsLine {
    stream: TlsStream<Box<dyn Stream>>,
    side: Side,
}

impl TlsLine {
    /// The stream inside, and the certificate that the handshake has shown.
    pub(super) fn raw(stream: TlsStream<Box<dyn Stream>>, peer: Arc<str>, side: Side) -> Raw {
        let (_, connection) = stream.get_ref();
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|certificate| Arc::from(certificate.as_ref()));
        Raw { stream: Box::new(Self { stream, side }), peer, certificate }
    }
}

impl AsyncRead for TlsLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self.side;
        Pin::new(&mut self.stream).poll_read(cx, buffer).map_err(|error| broken(error, side))
    }
}

impl AsyncWrite for TlsLine {
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

/// What became of a handshake.
pub(super) fn handshake_failed(error: io::Error, side: Side) -> io::Error {
    match (tls_error(&error), error.kind()) {
        (Some(error), _) => {
            let (text, lasting) = reason(error, side);
            HandshakeFailed::error(text, lasting)
        }
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            let reason = match side {
                Side::Client => {
                    "the server closed in the TLS handshake, without a reason; where it listens without TLS, connect \
                     with tcp:// or ws://"
                }
                Side::Server => "the client closed in the TLS handshake, without a reason",
            };
            HandshakeFailed::error(reason, false)
        }
        (None, _) => error,
    }
}

/// What became of a line. In TLS 1.3 a client's handshake is over before the server has seen its certificate, so that
/// is refused here.
fn broken(error: io::Error, side: Side) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let peer = side.peer();
        return io::Error::other(format!(
            "closed by the {peer} without TLS's close_notify: what it sent last may be missing"
        ));
    }
    match tls_error(&error).map(|error| reason(error, side)) {
        Some((text, true)) => HandshakeFailed::error(text, true),
        Some((text, false)) => io::Error::other(text),
        None => error,
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}
