//! What a line of datagrams and its connection tell each other beside the bytes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::framing::MAX_FRAME;

/// A line that puts whole frames together, and takes them apart, holds bytes that the session does not see, and has to
/// know what the session would say of them.
#[derive(Debug)]
pub(crate) struct Notes {
    max_frame: AtomicUsize,
    received: AtomicUsize,
    unsent: AtomicUsize,
    heard: AtomicBool,
    farewell: OnceLock<Farewell>,
}

/// What a peer is told when its line is closed, where the line can say it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Farewell {
    /// All is done.
    Done,
    /// This side shuts down.
    GoingAway,
    /// The peer has sent a frame above the limit.
    TooLarge(String),
    /// The peer is refused for another reason.
    Refused(String),
    /// Something failed on this side.
    Failed(String),
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            max_frame: AtomicUsize::new(MAX_FRAME),
            received: AtomicUsize::default(),
            unsent: AtomicUsize::default(),
            heard: AtomicBool::default(),
            farewell: OnceLock::new(),
        }
    }
}

/// The connection's half.
impl Notes {
    /// Bytes of the largest frame that is taken now.
    pub(crate) fn set_max_frame(&self, bytes: usize) {
        self.max_frame.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the line holds.
    pub(crate) fn held(&self) -> usize {
        self.received() + self.unsent()
    }

    /// Bytes of a frame that has not left as a whole.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Bytes of a frame that has not come as a whole.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether bytes have come since the last time, of whatever.
    pub(crate) fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// Why the line is closed; the first word counts.
    pub(crate) fn say(&self, farewell: Farewell) {
        let _ = self.farewell.set(farewell);
    }
}

/// The line's half. Lines of other kinds have none.
#[cfg(feature = "websocket")]
impl Notes {
    pub(crate) fn max_frame(&self) -> usize {
        self.max_frame.load(Ordering::Relaxed)
    }

    /// Bytes have come.
    pub(crate) fn set_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Bytes have come of a frame that is not whole yet.
    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The frame was whole, and is given on.
    pub(crate) fn clear_received(&self) {
        self.received.store(0, Ordering::Relaxed);
    }

    /// Bytes of a frame that has not left as a whole.
    pub(crate) fn set_unsent(&self, bytes: usize) {
        self.unsent.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn farewell(&self) -> Farewell {
        self.farewell.get().cloned().unwrap_or(Farewell::Done)
    }
}
