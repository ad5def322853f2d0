//! Lines on which one hears what one says, as where both directions share a pair of wires (RS-485).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The most bytes whose echo is waited for; where more were sent the oldest have got lost.
const MAX_PENDING: usize = 64 * 1024;
/// As many bytes of the echo may be missing or damaged in a row; then what comes is taken for the peer's.
const LOOK_AHEAD: usize = 8;
/// How long an echo may be under way, beyond the time on the line: adapters collect bytes.
const GRACE: Duration = Duration::from_millis(500);

/// Takes the echo out of what comes.
///
/// A byte that comes is dropped where it is the next that was sent, or one of the few behind it: those before it have
/// got lost. Any other byte is the peer's. An echo that is late by half a second does not come any more. Where both
/// sides talk at once frames get lost; that none arrives damaged is the checksum's matter.
pub(super) struct Echo<S> {
    stream: S,
    /// What was sent and has not come back.
    pending: VecDeque<u8>,
    /// When all of it has come back, or never will.
    back_at: Instant,
    byte_time: Duration,
}

impl<S> Echo<S> {
    pub(super) fn new(stream: S, byte_time: Duration) -> Self {
        Self { stream, pending: VecDeque::new(), back_at: Instant::now(), byte_time }
    }

    fn sent(&mut self, bytes: &[u8], now: Instant) {
        if self.back_at < now {
            self.pending.clear();
        }
        self.pending.extend(bytes);
        let lost = self.pending.len().saturating_sub(MAX_PENDING);
        self.pending.drain(..lost);
        let time = self.byte_time.saturating_mul(u32::try_from(self.pending.len()).unwrap_or(u32::MAX));
        self.back_at = now + time + GRACE;
    }

    /// Whether a byte is the peer's.
    fn is_foreign(&mut self, byte: u8) -> bool {
        let found = self.pending.iter().take(LOOK_AHEAD).position(|sent| *sent == byte);
        if let Some(at) = found {
            self.pending.drain(..=at);
        }
        found.is_none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Echo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut heard = [0; 4096];
        loop {
            let size = heard.len().min(buf.remaining());
            let mut chunk = ReadBuf::new(heard.get_mut(..size).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
            if self.back_at < Instant::now() {
                self.pending.clear();
            }
            let before = buf.filled().len();
            for byte in chunk.filled() {
                if self.is_foreign(*byte) {
                    buf.put_slice(&[*byte]);
                }
            }
            // Nothing at all would mean the end of the line.
            if buf.filled().len() > before || chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Echo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent(bytes.get(..sent).unwrap_or(bytes), Instant::now());
        Poll::Ready(Ok(sent))
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A line, and its far end.
    fn line() -> (Echo<DuplexStream>, DuplexStream) {
        let (ours, far) = tokio::io::duplex(1 << 20);
        (Echo::new(ours, Duration::from_micros(100)), far)
    }

    /// What of `heard` is the peer's, after `said` was sent.
    async fn foreign(said: &[u8], heard: &[u8]) -> Vec<u8> {
        let (mut line, mut far) = line();
        line.write_all(said).await.unwrap();
        far.write_all(heard).await.unwrap();
        drop(far);
        let mut foreign = Vec::new();
        line.read_to_end(&mut foreign).await.unwrap();
        foreign
    }

    #[tokio::test]
    async fn what_was_said_is_not_heard() {
        assert_eq!(foreign(b":<hello:>", b":<hello:>").await, b"");
        assert_eq!(foreign(b":<hello:>", b":<hello:>:<world:>").await, b":<world:>");
        assert_eq!(foreign(b"", b":<world:>").await, b":<world:>");
    }

    #[tokio::test]
    async fn an_echo_with_lost_added_or_damaged_bytes_is_found_again() {
        assert_eq!(foreign(b"0123456789", b"0123789:<x:>").await, b":<x:>");
        assert_eq!(foreign(b"0123456789", b"0123_456789:<x:>").await, b"_:<x:>");
        assert_eq!(foreign(b"0123456789", b"0123_56789:<x:>").await, b"_:<x:>");
    }

    #[tokio::test]
    async fn an_echo_that_is_too_late_does_not_swallow_the_peers_bytes() {
        let (mut line, mut far) = line();
        let before = Instant::now();
        line.write_all(b"abc").await.unwrap();
        assert!(line.back_at > before + GRACE);
        line.back_at = before;
        far.write_all(b"abc").await.unwrap();
        let mut heard = [0; 3];
        line.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"abc");
    }

    #[tokio::test]
    async fn what_is_remembered_has_a_bound() {
        let (mut line, mut far) = line();
        line.write_all(&vec![b'x'; 3 * MAX_PENDING]).await.unwrap();
        assert_eq!(line.pending.len(), MAX_PENDING);
        far.write_all(b"yx").await.unwrap();
        assert_eq!(line.read_u8().await.unwrap(), b'y');
    }
}
