//! A line within the process, and its two ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::transport::disturb::pipe::Pipe;
use crate::transport::disturb::{Direction, Hub, lock};

/// One line.
pub(super) struct Wire {
    hub: Arc<Hub>,
    /// Its place in the hub.
    key: usize,
    pipes: [Mutex<Pipe>; 2],
}

impl Wire {
    pub(super) fn new(hub: Arc<Hub>, key: usize) -> Self {
        Self { hub, key, pipes: Default::default() }
    }

    /// Has everybody look again.
    pub(super) fn wake(&self) {
        self.each_pipe(|_| {});
    }

    /// Lets arrive what is on its way.
    pub(super) fn hurry(&self) {
        self.each_pipe(Pipe::hurry);
    }

    /// Ends the line for both sides.
    pub(super) fn cut(&self) {
        self.each_pipe(Pipe::cut);
    }

    /// Whether neither side has ended it.
    pub(super) fn is_open(&self) -> bool {
        self.pipes.iter().all(|pipe| {
            let pipe = lock(pipe);
            !pipe.cut && !pipe.ended && !pipe.abandoned
        })
    }

    /// Changes both pipes and wakes who waits at them.
    fn each_pipe(&self, change: impl Fn(&mut Pipe)) {
        for pipe in &self.pipes {
            let mut pipe = lock(pipe);
            change(&mut pipe);
            let waiting = [pipe.reader.take(), pipe.writer.take()];
            drop(pipe);
            waiting.into_iter().flatten().for_each(Waker::wake);
        }
    }

    fn pipe(&self, direction: Direction) -> MutexGuard<'_, Pipe> {
        lock(&self.pipes[direction as usize])
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.hub.forget(self.key);
    }
}

/// One end of a line.
pub(crate) struct Half {
    wire: Arc<Wire>,
    incoming: Direction,
    outgoing: Direction,
    /// Runs until the next bytes arrive, where they are delayed.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a read found.
enum Found {
    Bytes,
    End,
    Nothing,
    /// Bytes on their way.
    Later(Instant),
    /// The place where the line is to be cut.
    Cut,
}

impl Half {
    /// The end at which bytes of this direction arrive.
    pub(super) fn new(wire: Arc<Wire>, incoming: Direction) -> Self {
        let outgoing = match incoming {
            Direction::ToServer => Direction::ToClient,
            Direction::ToClient => Direction::ToServer,
        };
        Self { wire, incoming, outgoing, timer: None }
    }

    /// Takes what has arrived and may be taken; leaves the waker where that is nothing.
    fn take(&self, waker: &Waker, buffer: &mut ReadBuf<'_>) -> io::Result<Found> {
        let mut pipe = self.wire.pipe(self.incoming);
        if pipe.cut {
            return Err(cut());
        }
        let found = self.find(&mut pipe, buffer);
        let waiting = match found {
            Found::Bytes => pipe.writer.take(),
            Found::Nothing | Found::Later(_) => {
                pipe.reader = Some(waker.clone());
                None
            }
            Found::End | Found::Cut => None,
        };
        drop(pipe);
        waiting.into_iter().for_each(Waker::wake);
        Ok(found)
    }

    fn find(&self, pipe: &mut Pipe, buffer: &mut ReadBuf<'_>) -> Found {
        let mut plan = self.wire.hub.is_watched().then(|| self.wire.hub.plan());
        if plan.as_ref().is_some_and(|plan| plan.gives_nothing(self.incoming)) {
            return Found::Nothing;
        }
        let split = plan.as_ref().map_or(usize::MAX, |plan| plan.split);
        let bytes = pipe.arrived(split.min(buffer.remaining()), Instant::now);
        if bytes.is_empty() {
            return match pipe.next_arrival() {
                Some(due) => Found::Later(due),
                None if pipe.ended => Found::End,
                None => Found::Nothing,
            };
        }
        let arrived = match &mut plan {
            Some(plan) => plan.arrive(self.incoming, bytes),
            None => Some(bytes.len()),
        };
        let Some(arrived) = arrived else { return Found::Cut };
        buffer.put_slice(bytes.get(..arrived).unwrap_or_default());
        pipe.pop(arrived);
        Found::Bytes
    }

    /// Gives bytes to the line; leaves the waker where it takes none.
    fn give(&self, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.wire.pipe(self.outgoing);
        if pipe.cut {
            return Poll::Ready(Err(cut()));
        }
        let plan = self.wire.hub.is_watched().then(|| self.wire.hub.plan());
        let frozen = plan.as_ref().is_some_and(|plan| plan.frozen);
        if pipe.ended || (!frozen && pipe.is_known_abandoned(Instant::now)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let blocked = plan.as_ref().is_some_and(|plan| plan.takes_nothing(self.outgoing));
        if blocked || (pipe.room() == 0 && !bytes.is_empty()) {
            pipe.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let split = plan.as_ref().map_or(usize::MAX, |plan| plan.split);
        let delay = plan.map_or(Duration::ZERO, |plan| plan.delay);
        let count = pipe.push(bytes.get(..split).unwrap_or(bytes), delay, Instant::now);
        let waiting = pipe.reader.take();
        drop(pipe);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    /// Writes no more.
    fn end(&self) {
        let delay = self.delay();
        let mut pipe = self.wire.pipe(self.outgoing);
        if pipe.ended || pipe.cut {
            return;
        }
        pipe.end(delay, Instant::now);
        let waiting = pipe.reader.take();
        drop(pipe);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Reads no more.
    fn abandon(&self) {
        let delay = self.delay();
        let mut pipe = self.wire.pipe(self.incoming);
        pipe.abandon(delay, Instant::now);
        let waiting = pipe.writer.take();
        drop(pipe);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn delay(&self) -> Duration {
        let hub = &self.wire.hub;
        if hub.is_watched() { hub.plan().delay } else { Duration::ZERO }
    }

    /// Waits until bytes arrive.
    fn sleep(&mut self, due: Instant, cx: &mut Context<'_>) {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        timer.as_mut().reset(due);
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let half = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match half.take(cx.waker(), buffer)? {
            Found::Bytes | Found::End => Poll::Ready(Ok(())),
            Found::Nothing => Poll::Pending,
            Found::Later(due) => {
                half.sleep(due, cx);
                Poll::Pending
            }
            Found::Cut => {
                half.wire.cut();
                Poll::Ready(Err(cut()))
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.give(cx.waker(), bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.end();
        self.abandon();
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the line was cut")
}
