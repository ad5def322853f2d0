//! How often limits were exceeded: counted for an endpoint, and told in its log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::limits::{Breach, Limit};

/// At most one line a limit is logged in this time.
const QUIET: Duration = Duration::from_secs(1);

/// The counts of one endpoint. Its connections share them, whatever their threads.
#[derive(Debug)]
pub(crate) struct Tally([Count; Limit::ALL.len()]);

#[derive(Debug, Default)]
struct Count {
    times: AtomicU64,
    log: Mutex<Log>,
}

/// When a limit was last told of, and how often it was exceeded since.
#[derive(Debug, Default)]
struct Log {
    told: Option<Instant>,
    left_out: u64,
}

impl Tally {
    /// Counts, and tells of it, unless this limit was told of within the last second.
    pub(crate) fn note(&self, breach: &Breach, peer: &str, now: Instant) {
        let Some(count) = self.0.get(breach.limit as usize) else { return };
        count.times.fetch_add(breach.times, Ordering::Relaxed);
        let Some(left_out) = count.log().tell(breach.times, now) else { return };
        let Breach { limit, found, allowed, detail, .. } = breach;
        let (name, outcome) = (limit.name(), limit.outcome());
        let (found, allowed) = (found.map(tracing::field::display), allowed.map(tracing::field::display));
        let detail = (!detail.is_empty()).then(|| tracing::field::display(detail));
        if limit.is_ordinary() {
            debug!(limit = name, found, allowed, detail, peer, left_out, "{outcome}");
        } else {
            warn!(limit = name, found, allowed, detail, peer, left_out, "{outcome}");
        }
    }

    /// Counts what is told of otherwise.
    pub(crate) fn count(&self, limit: Limit) {
        if let Some(count) = self.0.get(limit as usize) {
            count.times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts of this moment.
    pub(crate) fn counts(&self) -> LimitCounts {
        LimitCounts(
            Limit::ALL.map(|limit| {
                self.0.get(limit as usize).map_or(0, |count| count.times.load(Ordering::Relaxed))
            }),
        )
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self(Limit::ALL.map(|_| Count::default()))
    }
}

impl Count {
    /// Each change is one step, so a poisoned lock holds a sound log.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Where it is time for a line: how often none was written since the last.
    fn tell(&mut self, times: u64, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < QUIET) {
            self.left_out = self.left_out.saturating_add(times);
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.left_out).saturating_add(times).saturating_sub(1))
    }
}

/// How often each limit of an endpoint has been exceeded since its start, by the name of its setting in
/// [`Limits`](crate::Limits).
///
/// Beside those there are `malformed` and `checksum`, the bad frames that
/// [`Limits::protocol_errors`](crate::Limits::protocol_errors) bounds; it counts itself the connections that were closed for
/// them. `wrong_keys` counts each wrong key, `enforced_penalty` the connections that were refused for them.
///
/// ```
/// use socketproto::prelude::*;
/// use socketproto::Limits;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> socketproto::Result<()> {
/// let mut limits = Limits::default();
/// limits.max_connections = 1;
/// let server = Server::bind("tcp://127.0.0.1:0").limits(limits).start().await?;
/// let _first = Client::connect(server.address()).await?;
/// assert!(Client::connect(server.address()).await.is_err());
///
/// let counts = server.limit_counts();
/// assert_eq!(counts.get("max_connections"), Some(1));
/// for (setting, times) in counts.iter().filter(|(_, times)| *times > 0) {
///     println!("{setting} was exceeded {times} times");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitCounts([u64; Limit::ALL.len()]);

impl LimitCounts {
    /// Each limit and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Limit::ALL.into_iter().map(Limit::name).zip(self.0)
    }

    /// The count of one setting; none where there is no such limit.
    pub fn get(&self, setting: &str) -> Option<u64> {
        self.iter().find(|(name, _)| *name == setting).map(|(_, times)| times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_of_once_a_second_with_what_was_left_out() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut log = Log::default();
        assert_eq!(log.tell(1, start), Some(0));
        assert_eq!(log.tell(1, start), None);
        assert_eq!(log.tell(5, at(999)), None);
        assert_eq!(log.tell(2, at(1000)), Some(7));
        assert_eq!(log.tell(1, at(1999)), None);
        assert_eq!(log.tell(1, at(5000)), Some(1));
        assert_eq!(log.tell(1, at(9000)), Some(0));
    }

    #[test]
    fn each_limit_is_counted_under_its_own_name() {
        let tally = Tally::default();
        assert!(tally.counts().iter().all(|(_, times)| times == 0));
        let now = Instant::now();
        for (before, limit) in Limit::ALL.into_iter().enumerate() {
            tally.note(&Breach::bare(limit).times(before as u64 + 1), "mem://1", now);
            tally.note(&Breach::bare(limit), "mem://1", now);
            assert_eq!(tally.counts().get(limit.name()), Some(before as u64 + 2), "{limit:?}");
        }
        assert_eq!(tally.counts().iter().count(), Limit::ALL.len());
        assert_eq!(tally.counts().get("max_penalty"), None);
    }
}
