//! How fast a frame has to come (protocol.md section 8).
//!
//! ```text
//!  first byte ──▶ frame_timeout + bytes so far / rate ──▶ closed; on a line that loses bytes the frame is dropped
//! ```
//! There is no timer for it but a deadline among those of the session, and frames that come whole never have one.

use std::time::{Duration, Instant};

use crate::limits::{Breach, Limit};
use crate::session::Session;
use crate::session::budget::after;
use crate::session::event::CloseReason;

/// The clock of a frame that has begun. Further bytes lengthen its time by what they are worth, and do not begin it anew.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When its first byte came; none between frames.
    since: Option<Instant>,
    /// What has come of it.
    bytes: usize,
    /// This side does not read: the clock stands still.
    unread: bool,
}

impl Pace {
    /// The frame has ended, or was dropped.
    #[inline]
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// So much is there of what is not taken yet.
    #[inline]
    pub(super) fn see(&mut self, bytes: usize, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
        }
        self.bytes = bytes;
    }

    /// Whether the line is about to be left unread. Where that ends the frame has its whole time again.
    fn hold(&mut self, unread: bool, now: Instant) {
        if self.unread && !unread {
            self.since = self.since.map(|_| now);
        }
        self.unread = unread;
    }

    /// When the frame has taken too long; `rate` is how many bytes are worth a second.
    fn deadline(&self, time: Duration, rate: usize) -> Option<Instant> {
        let since = self.since.filter(|_| !self.unread)?;
        let earned = (self.bytes as u64).saturating_mul(1_000_000_000).checked_div(rate as u64)?;
        Some(after(since, time.saturating_add(Duration::from_nanos(earned))))
    }
}

impl Session {
    /// So many bytes are there that belong to no frame that was taken.
    #[inline]
    pub(super) fn handle_begun(&mut self, buffered: usize, now: Instant) {
        self.pace.see(buffered, now);
        if !self.is_gated() || self.config.serial {
            return;
        }
        let limit = self.config.limits.untrusted_buffered;
        if buffered > limit {
            self.close(CloseReason::BufferTooLarge { found: buffered, limit, setting: "untrusted_buffered" });
        }
    }

    /// To be called before the line is read, and where it is not read: what this side leaves unread is not late.
    #[inline]
    pub(crate) fn watch_pace(&mut self, now: Instant) {
        if self.pace.since.is_some() {
            let unread = !self.wants_input();
            self.pace.hold(unread, now);
        }
    }

    /// The line puts whole frames together, and holds so many bytes of the next one.
    pub(crate) fn handle_partial(&mut self, bytes: usize, now: Instant) {
        // Records hold pieces of frames.
        let opened = self.records.as_ref().map_or(0, |records| records.opened());
        match bytes.saturating_add(opened) {
            0 => self.pace.end(),
            held => self.pace.see(held, now),
        }
    }

    #[inline]
    pub(super) fn frame_deadline(&self) -> Option<Instant> {
        self.pace.since?;
        let deadline = self.pace.deadline(self.config.limits.frame_timeout, self.frame_rate());
        // What is there may be whole frames that this side leaves unread.
        deadline.filter(|_| self.wants_input())
    }

    /// The frame has not come in its time.
    pub(super) fn frame_too_slow(&mut self) {
        let (found, limit) = (self.pace.bytes, self.config.limits.frame_timeout);
        if !self.config.lossy {
            return self.close(CloseReason::FrameTimeout { found, limit, rate: self.frame_rate() });
        }
        // The next one is found again.
        if let Some(deframer) = self.line_deframer() {
            deframer.drop_frame();
        }
        self.pace = Pace::default();
        self.note(Breach::late(Limit::FrameTimeout, limit).with_detail("frame dropped"));
    }

    /// How many bytes are worth a second. A serial line is as fast as it is: a frame may take twice its time.
    fn frame_rate(&self) -> usize {
        match self.config.line_rate {
            Some(bytes) => (bytes / 2).max(1),
            None => self.config.limits.min_frame_rate,
        }
    }
}
