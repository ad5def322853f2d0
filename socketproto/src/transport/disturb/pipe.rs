//! One direction of a line: bytes on their way, and who waits for them.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

/// Bytes that a direction holds.
pub(super) const CAPACITY: usize = 64 * 1024;
/// The longest delay: some point in time has to be told.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// One direction of a line. Times are asked for where something is delayed, and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    buffer: BytesMut,
    /// Which of the last bytes arrive later, in order.
    marks: VecDeque<Mark>,
    /// Bytes of the marks; those before them have arrived.
    marked: usize,
    /// The writer has ended it.
    pub(super) ended: bool,
    /// The reader has gone.
    pub(super) abandoned: bool,
    /// How long the writer does not know that.
    unknown_until: Option<Instant>,
    /// The line was cut.
    pub(super) cut: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

/// When some bytes arrive; a mark of none of them is the end's.
#[derive(Debug)]
struct Mark {
    bytes: usize,
    due: Instant,
}

impl Pipe {
    /// Takes as many bytes as there is room for; they arrive after the delay, and not before those on their way.
    pub(super) fn push(&mut self, bytes: &[u8], delay: Duration, now: impl FnOnce() -> Instant) -> usize {
        let count = bytes.len().min(self.room());
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.mark(count, delay, now);
        count
    }

    /// The writer ends it: the reader hears of that behind the last byte.
    pub(super) fn end(&mut self, delay: Duration, now: impl FnOnce() -> Instant) {
        self.ended = true;
        self.mark(0, delay, now);
    }

    /// The reader goes; the writer hears of it later.
    pub(super) fn abandon(&mut self, delay: Duration, now: impl FnOnce() -> Instant) {
        self.abandoned = true;
        self.unknown_until = (!delay.is_zero()).then(|| now() + delay.min(MAX_DELAY));
    }

    /// The first bytes that have arrived, at most so many.
    pub(super) fn arrived(&mut self, most: usize, now: impl FnOnce() -> Instant) -> &mut [u8] {
        if !self.marks.is_empty() {
            let now = now();
            while self.marks.front().is_some_and(|mark| mark.due <= now) {
                let bytes = self.marks.pop_front().map_or(0, |mark| mark.bytes);
                self.marked = self.marked.saturating_sub(bytes);
            }
        }
        let count = self.buffer.len().saturating_sub(self.marked).min(most);
        self.buffer.get_mut(..count).unwrap_or_default()
    }

    /// Gives up the first bytes.
    pub(super) fn pop(&mut self, bytes: usize) {
        self.buffer.advance(bytes.min(self.buffer.len()));
    }

    /// Lets arrive what is on its way.
    pub(super) fn hurry(&mut self) {
        self.marks.clear();
        self.marked = 0;
        self.unknown_until = None;
    }

    pub(super) fn cut(&mut self) {
        self.cut = true;
        self.buffer = BytesMut::new();
        self.hurry();
    }

    /// When the next bytes, or the end, arrive.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.marks.front().map(|mark| mark.due)
    }

    /// Whether the writer knows that the reader has gone.
    pub(super) fn is_known_abandoned(&self, now: impl FnOnce() -> Instant) -> bool {
        self.abandoned && self.unknown_until.is_none_or(|until| until <= now())
    }

    /// Bytes it takes now.
    pub(super) fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.buffer.len())
    }

    fn mark(&mut self, bytes: usize, delay: Duration, now: impl FnOnce() -> Instant) {
        if delay.is_zero() && self.marks.is_empty() {
            return;
        }
        let due = now() + delay.min(MAX_DELAY);
        let due = self.marks.back().map_or(due, |last| last.due.max(due));
        self.marks.push_back(Mark { bytes, due });
        self.marked += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn arrived(pipe: &mut Pipe, now: Instant) -> Vec<u8> {
        let bytes = pipe.arrived(usize::MAX, || now).to_vec();
        pipe.pop(bytes.len());
        bytes
    }

    #[test]
    fn bytes_arrive_after_their_delay_and_in_order() {
        let start = Instant::now();
        let mut pipe = Pipe::default();
        pipe.push(b"at once ", Duration::ZERO, || start);
        pipe.push(b"later ", 5 * SECOND, || start);
        pipe.push(b"behind ", Duration::ZERO, || start + SECOND);
        pipe.push(b"last", 5 * SECOND, || start + SECOND);
        assert_eq!(arrived(&mut pipe, start), b"at once ");
        assert_eq!(pipe.next_arrival(), Some(start + 5 * SECOND));
        assert_eq!(arrived(&mut pipe, start + 4 * SECOND), b"");
        assert_eq!(arrived(&mut pipe, start + 5 * SECOND), b"later behind ");
        assert_eq!(arrived(&mut pipe, start + 6 * SECOND), b"last");
        assert_eq!(pipe.next_arrival(), None);
    }

    #[test]
    fn the_end_is_as_late_as_bytes_are() {
        let start = Instant::now();
        let mut pipe = Pipe::default();
        pipe.push(b"last", SECOND, || start);
        pipe.end(2 * SECOND, || start);
        assert_eq!(arrived(&mut pipe, start + SECOND), b"last");
        assert_eq!(pipe.next_arrival(), Some(start + 2 * SECOND));
        assert_eq!(arrived(&mut pipe, start + 2 * SECOND), b"");
        assert_eq!(pipe.next_arrival(), None);
    }

    #[test]
    fn the_writer_hears_later_that_the_reader_has_gone() {
        let start = Instant::now();
        let mut pipe = Pipe::default();
        pipe.abandon(SECOND, || start);
        assert!(!pipe.is_known_abandoned(|| start));
        assert!(pipe.is_known_abandoned(|| start + SECOND));
        pipe.hurry();
        assert!(pipe.is_known_abandoned(|| start));
    }

    #[test]
    fn a_delay_without_end_is_no_panic() {
        let mut pipe = Pipe::default();
        pipe.push(b"x", Duration::MAX, Instant::now);
        assert_eq!(arrived(&mut pipe, Instant::now()), b"");
        pipe.hurry();
        assert_eq!(arrived(&mut pipe, Instant::now()), b"x");
    }

    #[test]
    fn it_takes_what_there_is_room_for() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.push(&vec![0; CAPACITY + 1], Duration::ZERO, Instant::now), CAPACITY);
        assert_eq!(pipe.push(b"x", Duration::ZERO, Instant::now), 0);
        pipe.pop(1);
        assert_eq!(pipe.room(), 1);
    }
}
