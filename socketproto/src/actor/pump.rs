//! The line of one connection: reads into the session, writes what the session has.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::{CloseReason, Session};
use crate::transport::{Farewell, HandshakeFailed, Notes, Stream};

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Reads of one turn; then the other connections of the thread have theirs.
const READS_PER_TURN: usize = 4;
/// From here on a read goes straight behind the part of a frame that is there already.
const DIRECT: usize = 16 * 1024;

thread_local! {
    /// Where reads land: one for the thread, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// The line.
pub(super) struct Pump {
    stream: Box<dyn Stream>,
    /// What has been read and belongs to no whole frame yet.
    input: BytesMut,
    /// The line has taken bytes that it may still hold.
    unflushed: bool,
    /// Bytes have come or gone since somebody asked.
    moved: bool,
    /// The other side has been told that nothing more comes.
    finished: bool,
    /// What is told to a line that puts whole frames together, and by it.
    notes: Option<Arc<Notes>>,
    /// What such a line had yet to send when it was last looked at.
    unsent: usize,
}

impl Pump {
    pub(super) fn new(stream: Box<dyn Stream>, notes: Option<Arc<Notes>>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            unflushed: false,
            moved: false,
            finished: false,
            notes,
            unsent: 0,
        }
    }

    /// Whether the line carries whole frames.
    pub(super) fn keeps_borders(&self) -> bool {
        self.notes.is_some()
    }

    /// Bytes that were read and are not taken yet, or taken and not sent.
    pub(super) fn buffered(&self) -> usize {
        self.input.len() + self.notes.as_ref().map_or(0, |notes| notes.held())
    }

    /// Keeps little more than the bytes that are there.
    pub(super) fn shrink(&mut self) {
        if self.input.capacity() > 2 * self.input.len() {
            self.input = BytesMut::from(&*self.input);
        }
    }

    /// Whether bytes have come or gone since the last time.
    pub(super) fn has_moved(&mut self) -> bool {
        mem::take(&mut self.moved)
    }

    /// Reads while there is something and the session takes it.
    pub(super) fn read(
        &mut self,
        session: &mut Session,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        session.watch_pace(now);
        if !self.input.is_empty() || session.has_input() {
            session.handle_input(&mut self.input, now);
        }
        for _ in 0..READS_PER_TURN {
            if !session.wants_input() {
                return Ok(());
            }
            if let Some(notes) = &self.notes {
                notes.set_max_frame(session.frame_limit());
            }
            let read = self.poll_read(Some(session), cx);
            if let Some(notes) = self.notes.as_ref().filter(|notes| notes.take_heard()) {
                session.handle_sign_of_life(notes.received(), now);
            }
            match read {
                Poll::Pending => {
                    if let Some(notes) = &self.notes {
                        session.handle_partial(notes.received(), now);
                    }
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(CloseReason::Peer),
                Poll::Ready(Ok(_)) => {
                    self.moved = true;
                    session.handle_input(&mut self.input, now);
                }
                Poll::Ready(Err(error)) if session.handle_refused(&error, now) => return Ok(()),
                Poll::Ready(Err(error)) => return Err(broken(&error)),
            }
            if self.input.is_empty() {
                // Frames hold on to the memory they came in; a line that is idle holds none.
                self.input = BytesMut::new();
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Reads; of a large frame that has begun no more than its end, where the session knows that. So it has memory of its
    /// own, which goes with it, and is copied for none of those behind it.
    fn poll_read(&mut self, session: Option<&Session>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.len() >= DIRECT {
            // Memory grows with what has come, not with what was announced.
            let missing = session.and_then(|session| session.missing(&self.input));
            let room = missing.unwrap_or(READ).min(self.input.len() + READ);
            self.input.reserve(room);
            let mut input = (&mut self.input).limit(room);
            return tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut input);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes what the session has, as far as the line takes it.
    pub(super) fn write(
        &mut self,
        session: &mut Session,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        while !session.poll_transmit().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, session.poll_transmit()) {
                Poll::Pending => {
                    let unsent = self.notes.as_ref().map_or(0, |notes| notes.unsent());
                    if mem::replace(&mut self.unsent, unsent) != unsent {
                        session.handle_progress(now);
                    }
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(CloseReason::Peer),
                Poll::Ready(Ok(sent)) => session.handle_sent(sent, now),
                Poll::Ready(Err(error)) => return Err(self.not_written(&error, cx)),
            }
            (self.unflushed, self.moved) = (true, true);
        }
        self.flush(cx)
    }

    /// Lines that encrypt or keep borders hold bytes of their own.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if !self.unflushed {
            return Ok(());
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(self.not_written(&error, cx)),
        }
    }

    /// A peer that goes may have said why before: what it said is the reason, not that nothing can be written any more.
    fn not_written(&mut self, error: &io::Error, cx: &mut Context<'_>) -> CloseReason {
        match self.poll_read(None, cx) {
            Poll::Ready(Err(said)) => match broken(&said) {
                CloseReason::Peer => broken(error),
                reason => reason,
            },
            _ => broken(error),
        }
    }

    /// Ends the line once everything has been written.
    pub(super) fn poll_shutdown(&mut self, session: &mut Session, cx: &mut Context<'_>) -> Poll<()> {
        if self.finished {
            return Poll::Ready(());
        }
        if !session.poll_transmit().is_empty() {
            return Poll::Pending;
        }
        if let (Some(notes), Some(reason)) = (&self.notes, session.close_reason()) {
            notes.say(farewell(reason, session.is_server()));
        }
        self.finished = ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_ok();
        Poll::Ready(())
    }

    /// Waits for the end of the other side too. Closing a socket with bytes unread would reset it, and what was sent
    /// last could be lost on its way. `heard` is set where something came meanwhile.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>, heard: &mut bool) -> Poll<()> {
        for _ in 0..READS_PER_TURN {
            self.input.clear();
            if !self.finished || matches!(ready!(self.poll_read(None, cx)), Ok(0) | Err(_)) {
                return Poll::Ready(());
            }
            *heard = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says goodbye to a peer that has closed, as far as that goes without waiting.
    pub(super) fn shutdown_now(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
    }
}

/// What the peer is told, where the line can say it.
fn farewell(reason: &CloseReason, is_server: bool) -> Farewell {
    match reason {
        CloseReason::Local if is_server => Farewell::GoingAway,
        CloseReason::Local | CloseReason::Peer | CloseReason::NotConnected => Farewell::Done,
        CloseReason::FrameTooLarge { .. } => Farewell::TooLarge(reason.to_string()),
        CloseReason::MemoryExceeded { .. } | CloseReason::ServiceFailed => {
            Farewell::Failed(reason.to_string())
        }
        _ => Farewell::Refused(reason.to_string()),
    }
}

/// Why the line has ended, or never was.
pub(super) fn broken(error: &io::Error) -> CloseReason {
    if let Some(failed) = HandshakeFailed::of(error) {
        return CloseReason::Handshake { reason: failed.to_string(), lasting: failed.is_lasting() };
    }
    match error.kind() {
        io::ErrorKind::InvalidData => CloseReason::Violation(error.to_string()),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            CloseReason::Peer
        }
        _ => CloseReason::Transport(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::session::Role;
    use crate::session::tests::config;

    #[tokio::test]
    async fn a_large_frame_has_memory_of_its_own_that_grows_with_what_has_come() {
        const FRAME: u32 = 1024 * 1024;
        let (ours, mut theirs) = tokio::io::duplex(4 * FRAME as usize);
        let mut pump = Pump::new(Box::new(ours), None);
        let mut session = Session::new(config(Role::Server), Instant::now());
        let next = b"\0\0\0\x63 what there is of the next";
        theirs.write_all(&FRAME.to_be_bytes()).await.unwrap();
        theirs.write_all(&vec![b'x'; FRAME as usize]).await.unwrap();
        theirs.write_all(next).await.unwrap();
        let mut longest = 0;
        for _ in 0..100 {
            let turn = poll_fn(|cx| Poll::Ready(pump.read(&mut session, cx, Instant::now())));
            assert_eq!(turn.await, Ok(()));
            let (length, capacity) = (pump.input.len(), pump.input.capacity());
            longest = longest.max(length);
            assert!(capacity <= 4 * length + READ, "{capacity} for {length}");
            if *pump.input == *next {
                break;
            }
        }
        assert!(longest > READ && *pump.input == *next);
        assert!(pump.input.capacity() < READ, "it does not hold the frame before it");
        assert!(pump.has_moved() && !pump.has_moved());
    }

    /// A line that puts whole frames together: what it reads and writes is shown by its notes alone.
    #[cfg(feature = "websocket")]
    struct Whole;

    #[cfg(feature = "websocket")]
    impl AsyncRead for Whole {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[cfg(feature = "websocket")]
    impl AsyncWrite for Whole {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[cfg(feature = "websocket")]
    #[test]
    fn what_a_line_of_whole_frames_does_with_a_part_of_one_is_seen() {
        let notes = Arc::new(Notes::default());
        let mut pump = Pump::new(Box::new(Whole), Some(Arc::clone(&notes)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let start = Instant::now();
        let minutes = |count: u64| start + std::time::Duration::from_secs(60 * count);
        let mut client = Session::new(config(Role::Client), start);
        // Its HELLO has yet to leave, and is behind a frame that is leaving.
        for (count, unsent) in (1..).zip([900, 800, 700]) {
            notes.set_unsent(unsent);
            assert_eq!(pump.write(&mut client, &mut cx, minutes(count)), Ok(()));
            assert!(client.write_deadline().is_some_and(|due| due > minutes(count)), "{unsent}");
        }
        let due = client.write_deadline();
        assert_eq!(pump.write(&mut client, &mut cx, minutes(9)), Ok(()));
        assert_eq!(client.write_deadline(), due, "nothing has moved");

        notes.set_heard();
        notes.add_received(5);
        assert_eq!(pump.read(&mut client, &mut cx, minutes(10)), Ok(()));
        assert_eq!(client.last_heard(), minutes(10));
        assert_eq!(pump.read(&mut client, &mut cx, minutes(11)), Ok(()));
        assert_eq!(client.last_heard(), minutes(10), "nothing has come");
    }

    #[test]
    fn an_idle_line_keeps_what_has_come_and_little_more() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let mut pump = Pump::new(Box::new(ours), None);
        pump.input.reserve(READ);
        pump.input.extend_from_slice(b"part");
        pump.shrink();
        assert!(*pump.input == *b"part" && pump.input.capacity() <= 8);
        pump.input.clear();
        pump.shrink();
        assert_eq!(pump.input.capacity(), 0);
    }
}
