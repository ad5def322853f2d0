//! Whole datagrams as a byte stream: each carries one frame, and becomes one frame of length framing.
//!
//! So the session need not know that there are lines that keep borders: it speaks length framing, and the lengths are
//! taken off and put on here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::Decoder;

use crate::framing::{LengthDecoder, MAX_FRAME, Piece};

/// Bytes that are taken of one write: what is taken is off the session's account of unsent bytes.
const WRITE: usize = 64 * 1024;

/// The adapter.
pub(crate) struct Datagrams<D> {
    datagrams: D,
    /// What is left of a datagram that is being read, its length before it.
    prefix: Bytes,
    body: Bytes,
    /// What has been written of a frame that is not whole yet.
    unsent: BytesMut,
    decoder: LengthDecoder,
    /// A frame that waits until the line takes it.
    next: Option<Bytes>,
}

impl<D> Datagrams<D> {
    pub(crate) fn new(datagrams: D) -> Self {
        Self {
            datagrams,
            prefix: Bytes::new(),
            body: Bytes::new(),
            unsent: BytesMut::new(),
            decoder: LengthDecoder::new(MAX_FRAME),
            next: None,
        }
    }
}

impl<D: Sink<Bytes, Error = io::Error> + Unpin> Datagrams<D> {
    /// Hands the line every frame that is whole.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.next.is_none() {
                self.next = self.take_frame()?;
            }
            if self.next.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut self.datagrams).poll_ready(cx))?;
            if let Some(frame) = self.next.take() {
                Pin::new(&mut self.datagrams).start_send(frame)?;
            }
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<Bytes>> {
        match self.decoder.decode(&mut self.unsent) {
            Ok(Some(Piece::Frame(frame))) => Ok(Some(frame)),
            Ok(_) => Ok(None),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a line of datagrams carries length framing alone",
            )),
        }
    }
}

impl<D: Stream<Item = io::Result<Bytes>> + Unpin> AsyncRead for Datagrams<D> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() && self.body.is_empty() {
            let Some(datagram) = ready!(Pin::new(&mut self.datagrams).poll_next(cx)).transpose()? else {
                return Poll::Ready(Ok(()));
            };
            let length = u32::try_from(datagram.len()).ok().filter(|_| datagram.len() <= MAX_FRAME);
            let Some(length) = length else {
                let reason = format!("a datagram of {} bytes exceeds {MAX_FRAME}", datagram.len());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
            };
            self.prefix = Bytes::copy_from_slice(&length.to_be_bytes());
            self.body = datagram;
        }
        let Self { prefix, body, .. } = &mut *self;
        for part in [prefix, body] {
            let length = part.len().min(buffer.remaining());
            buffer.put_slice(part.get(..length).unwrap_or_default());
            part.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<D: Sink<Bytes, Error = io::Error> + Unpin> AsyncWrite for Datagrams<D> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What was taken before has to leave first: so no more than one write is ever held.
        ready!(self.poll_send(cx))?;
        let bytes = bytes.get(..WRITE).unwrap_or(bytes);
        self.unsent.extend_from_slice(bytes);
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.datagrams).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.datagrams).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Gives what it was told to, takes one datagram between two polls.
    #[derive(Default)]
    struct Fake {
        incoming: VecDeque<io::Result<Bytes>>,
        sent: Vec<Bytes>,
        full: bool,
    }

    impl Stream for Fake {
        type Item = io::Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.incoming.pop_front())
        }
    }

    impl Sink<Bytes> for Fake {
        type Error = io::Error;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if std::mem::take(&mut self.full) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, datagram: Bytes) -> io::Result<()> {
            self.full = true;
            self.sent.push(datagram);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn datagrams_become_frames() {
        let mut fake = Fake::default();
        fake.incoming.extend([
            Ok(Bytes::from_static(b"{}abcd")),
            Ok(Bytes::new()),
            Ok(Bytes::from_static(b"x")),
        ]);
        let mut line = Datagrams::new(fake);
        let mut read = Vec::new();
        line.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\0\0\0\x06{}abcd\0\0\0\0\0\0\0\x01x");
    }

    #[tokio::test]
    async fn frames_become_datagrams_however_they_are_written() {
        let bytes = b"\0\0\0\x06{}abcd\0\0\0\0\0\0\0\x01x";
        for piece in 1..=bytes.len() {
            let mut line = Datagrams::new(Fake::default());
            for part in bytes.chunks(piece) {
                line.write_all(part).await.unwrap();
            }
            line.flush().await.unwrap();
            assert_eq!(line.datagrams.sent, ["{}abcd", "", "x"], "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_write_takes_no_more_than_is_given_on_soon() {
        let mut line = Datagrams::new(Fake::default());
        let bytes = vec![0; 1 << 20];
        assert_eq!(line.write(&bytes).await.unwrap(), WRITE);
    }

    #[tokio::test]
    async fn what_is_no_length_framing_is_refused() {
        let mut line = Datagrams::new(Fake::default());
        let error = line.write_all(b":<{}abcd:>").await.unwrap_err();
        assert_eq!(error.to_string(), "a line of datagrams carries length framing alone");
    }
}
