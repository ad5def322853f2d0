//! What stands between the network and the WebSocket codec: a stream that lets no frame through that is too large.
//!
//! The codec makes room for a frame as soon as it has its header. So a large frame is passed on in fragments, and memory
//! grows with the bytes that came, never with a length that was declared. Nothing is read ahead beyond the end of a frame:
//! whether the next one may be looked at is the session's to say.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::framing::FramingError;
use crate::transport::notes::Notes;

/// Bytes of the largest fragment, in and out. Each piece but the last has this length, and as it is a multiple of four
/// the mask of the frame fits each of them.
pub(super) const PIECE: usize = 64 * 1024;

/// Bytes of one read.
const READ: usize = 64 * 1024;

/// The first byte of a frame: whether it is the last one of its message, and what it is.
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const CONTINUATION: u8 = 0;
/// Opcodes from here on are those of control frames.
const CONTROL: u8 = 0x8;
/// The second byte: whether there is a mask, and the length.
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

thread_local! {
    /// Where reads land: one for the thread, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// The stream.
#[derive(Debug)]
pub(super) struct Guard<S> {
    stream: S,
    notes: Arc<Notes>,
    /// What was read and not passed on yet.
    input: BytesMut,
    /// A header to pass on before anything else.
    header: BytesMut,
    /// What is left of the piece that is passed on, and of its frame behind it.
    piece: u64,
    behind: u64,
    /// The frame whose pieces are passed on.
    frame: Header,
    /// Bytes of the message so far, as declared.
    declared: u64,
    /// When the last bytes came.
    heard: Instant,
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Header {
    first: u8,
    mask: Option<[u8; 4]>,
    length: u64,
}

impl<S> Guard<S> {
    /// A stream of frames; `input` of them has been read already.
    pub(super) fn new(stream: S, input: BytesMut, notes: Arc<Notes>) -> Self {
        Self {
            stream,
            notes,
            input,
            header: BytesMut::new(),
            piece: 0,
            behind: 0,
            frame: Header::default(),
            declared: 0,
            heard: Instant::now(),
        }
    }

    /// When the last bytes came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// A frame begins: it is judged before anything of it is passed on.
    fn begin(&mut self, frame: Header) -> io::Result<()> {
        if frame.is_data() {
            let before = if frame.opcode() == CONTINUATION { self.declared } else { 0 };
            let (found, limit) = (before.saturating_add(frame.length), self.notes.max_frame());
            if found > limit as u64 {
                let found = usize::try_from(found).unwrap_or(usize::MAX);
                let error = FramingError::TooLarge { found, limit };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.declared = found;
        }
        self.frame = frame;
        // Control frames must not be fragmented; the codec refuses those that are too long.
        self.piece = if frame.is_data() { frame.length.min(PIECE as u64) } else { frame.length };
        self.behind = frame.length - self.piece;
        self.put_header(frame.first);
        Ok(())
    }

    /// The next fragment of a frame that is too large for one.
    fn go_on(&mut self) {
        self.piece = self.behind.min(PIECE as u64);
        self.behind -= self.piece;
        self.put_header(self.frame.first & FINAL | CONTINUATION);
    }

    fn put_header(&mut self, first: u8) {
        let first = if self.behind > 0 { first & !FINAL } else { first };
        Header { first, length: self.piece, mask: self.frame.mask }.put(&mut self.header);
    }
}

impl Header {
    fn opcode(&self) -> u8 {
        self.first & OPCODE
    }

    fn is_data(&self) -> bool {
        self.opcode() < CONTROL
    }

    /// Takes a header off the input, once it is there as a whole.
    fn take(input: &mut BytesMut) -> Option<Self> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        let (length, rest) = match second & !MASKED {
            LENGTH_16 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            LENGTH_64 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            length => (u64::from(length), rest),
        };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let (mask, rest) = rest.split_first_chunk()?;
            (Some(*mask), rest)
        };
        let left = rest.len();
        input.advance(input.len() - left);
        Some(Self { first, mask, length })
    }

    fn put(&self, out: &mut BytesMut) {
        let mask_bit = if self.mask.is_some() { MASKED } else { 0 };
        out.extend_from_slice(&[self.first]);
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length), _) if length < LENGTH_16 => out.extend_from_slice(&[length | mask_bit]),
            (_, Ok(length)) => {
                out.extend_from_slice(&[LENGTH_16 | mask_bit]);
                out.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.extend_from_slice(&[LENGTH_64 | mask_bit]);
                out.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask));
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads; false at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.heard = Instant::now();
            self.notes.set_heard();
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(!buffer.filled().is_empty()))
        })
    }

    /// Reads up to the end of the stream; nothing of it counts any more.
    pub(super) fn poll_drop_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.input.clear();
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.header.is_empty() {
                pass(&mut self.header, usize::MAX, buffer);
                return Poll::Ready(Ok(()));
            }
            if self.piece == 0 && self.behind > 0 {
                self.go_on();
                continue;
            }
            if self.piece > 0 && !self.input.is_empty() {
                let most = usize::try_from(self.piece).unwrap_or(usize::MAX);
                let passed = pass(&mut self.input, most, buffer);
                self.piece -= passed as u64;
                if self.frame.is_data() {
                    self.notes.add_received(passed);
                }
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if self.piece == 0
                && let Some(frame) = Header::take(&mut self.input)
            {
                self.begin(frame)?;
                continue;
            }
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Passes on at most so many bytes; says how many.
fn pass(from: &mut BytesMut, most: usize, to: &mut ReadBuf<'_>) -> usize {
    let length = from.len().min(most).min(to.remaining());
    to.put_slice(from.get(..length).unwrap_or_default());
    from.advance(length);
    length
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
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
    use tokio::io::AsyncReadExt;

    /// What the codec gets to see of these bytes, however they come.
    async fn passed(bytes: &[u8], max_frame: usize) -> Result<Vec<u8>, String> {
        let notes = Arc::new(Notes::default());
        notes.set_max_frame(max_frame);
        let mut guard = Guard::new(bytes, BytesMut::new(), notes);
        let mut out = Vec::new();
        guard.read_to_end(&mut out).await.map_err(|error| error.to_string())?;
        Ok(out)
    }

    fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        Header { first, mask, length: payload.len() as u64 }.put(&mut out);
        [&out, payload].concat()
    }

    #[tokio::test]
    async fn small_frames_pass_as_they_are() {
        for mask in [None, Some([1, 2, 3, 4])] {
            for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
                let bytes = frame(0x82, mask, &vec![7; length]);
                assert_eq!(passed(&bytes, length).await.unwrap(), bytes, "{length}");
            }
        }
    }

    #[tokio::test]
    async fn large_frames_pass_in_fragments_with_their_mask() {
        let payload: Vec<u8> = (0..PIECE * 2 + 5).map(|at| at as u8).collect();
        let mask = Some([9, 8, 7, 6]);
        let out = passed(&frame(0x82, mask, &payload), payload.len()).await.unwrap();
        let expected = [
            frame(0x02, mask, &payload[..PIECE]),
            frame(0x00, mask, &payload[PIECE..2 * PIECE]),
            frame(0x80, mask, &payload[2 * PIECE..]),
        ];
        assert!(out == expected.concat());
        // A fragment that is not the last stays one, whatever its size.
        let out = passed(&frame(0x00, None, &payload[..PIECE + 1]), usize::MAX).await.unwrap();
        assert!(out == [frame(0x00, None, &payload[..PIECE]), frame(0x00, None, &[0])].concat());
    }

    #[tokio::test]
    async fn a_length_above_the_limit_is_refused_before_a_byte_of_it_has_come() {
        let error = |found| format!("a frame of {found} bytes or more exceeds the limit of 1000");
        for length in [1001, 65_536, 1 << 28, u64::MAX] {
            let mut header = BytesMut::new();
            Header { first: 0x82, mask: None, length }.put(&mut header);
            assert_eq!(passed(&header, 1000).await, Err(error(length)));
        }
    }

    #[tokio::test]
    async fn the_fragments_of_a_message_count_together() {
        let message = [frame(0x02, None, &[0; 600]), frame(0x89, None, &[0; 125])].concat();
        let with = |last: &[u8]| [&message[..], last].concat();
        assert!(passed(&with(&frame(0x80, None, &[0; 400])), 1000).await.is_ok());
        assert!(passed(&with(&frame(0x80, None, &[0; 401])), 1000).await.is_err());
        // A new message begins at nothing.
        assert!(passed(&with(&frame(0x82, None, &[0; 1000])), 1000).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_is_read_ahead_beyond_a_frame() {
        let bytes = [frame(0x82, None, b"one"), frame(0x82, None, &[0; 2000])].concat();
        let notes = Arc::new(Notes::default());
        notes.set_max_frame(3);
        let mut guard = Guard::new(&bytes[..], BytesMut::new(), Arc::clone(&notes));
        let mut first = [0; 5];
        guard.read_exact(&mut first).await.unwrap();
        assert_eq!(notes.held(), 3);
        notes.set_max_frame(2000);
        let mut rest = Vec::new();
        guard.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), 2004);
    }
}
