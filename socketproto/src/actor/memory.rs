//! The memory that all connections of an endpoint hold together (protocol.md section 8).
//!
//! Most connections hold next to nothing, and cost nothing here: only those above [`LARGE`] are listed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::actor::ticket::connection_id;
use crate::link::Link;

/// Connections that hold less are never held up.
const LARGE: usize = 256 * 1024;

/// The budget, and who holds how much of it.
pub(crate) struct Memory {
    limit: usize,
    large: Mutex<Large>,
}

#[derive(Default)]
struct Large {
    total: usize,
    members: FxHashMap<usize, Member>,
}

struct Member {
    held: usize,
    link: Arc<Link>,
    /// It has been told to close and still holds what it held.
    closing: bool,
}

/// What a connection may do with what it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Go on.
    Fine,
    /// Take no requests for now.
    Pause,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, large: Mutex::default() }
    }

    /// A connection reports what it holds. Where all together are close to the limit, the largest is told to close.
    pub(super) fn report(&self, link: &Arc<Link>, held: usize, was: usize) -> Verdict {
        if held < LARGE && was < LARGE {
            return Verdict::Fine;
        }
        let mut large = self.lock();
        large.set(link, if held < LARGE { 0 } else { held });
        if large.total > self.part(95) {
            large.shed(self.part(90));
        }
        if held >= LARGE && large.total > self.part(80) { Verdict::Pause } else { Verdict::Fine }
    }

    fn part(&self, percent: usize) -> usize {
        self.limit / 100 * percent + self.limit % 100 * percent / 100
    }

    /// Nothing under the lock runs foreign code, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Large> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Large {
    fn set(&mut self, link: &Arc<Link>, held: usize) {
        let id = connection_id(link);
        let before = self.members.get(&id).map_or(0, |member| member.held);
        self.total = self.total - before + held;
        if held == 0 {
            self.members.remove(&id);
        } else {
            let new = || Member { held, link: Arc::clone(link), closing: false };
            self.members.entry(id).or_insert_with(new).held = held;
        }
    }

    /// Tells the largest to close until the others are below the target.
    fn shed(&mut self, target: usize) {
        let closing: usize =
            self.members.values().filter(|member| member.closing).map(|member| member.held).sum();
        let mut left = self.total - closing;
        while left > target {
            let open = self.members.values_mut().filter(|member| !member.closing);
            let Some(largest) = open.max_by_key(|member| member.held) else { return };
            largest.closing = true;
            largest.link.shed();
            left -= largest.held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Outgoing;

    const MIB: usize = 1024 * 1024;

    fn links(count: usize) -> Vec<Arc<Link>> {
        (0..count)
            .map(|number| Arc::new(Link::new(format!("mem://{number}").into(), Arc::default(), 1024 * 1024)))
            .collect()
    }

    fn is_shed(link: &Link) -> bool {
        let mut taken = Outgoing::default();
        link.take(&mut taken);
        taken.shed
    }

    #[test]
    fn a_large_connection_pauses_from_80_percent_on() {
        let memory = Memory::new(10 * MIB);
        let links = links(3);
        assert_eq!(memory.report(&links[0], 7 * MIB, 0), Verdict::Fine);
        assert_eq!(memory.report(&links[1], 2 * MIB, 0), Verdict::Pause);
        assert_eq!(memory.report(&links[2], 1000, 0), Verdict::Fine, "a small one is never held up");
        assert_eq!(memory.report(&links[0], 0, 7 * MIB), Verdict::Fine);
        assert_eq!(memory.report(&links[1], 2 * MIB, 2 * MIB), Verdict::Fine);
    }

    #[test]
    fn from_95_percent_on_the_largest_is_closed() {
        let memory = Memory::new(10 * MIB);
        let links = links(3);
        memory.report(&links[0], 3 * MIB, 0);
        memory.report(&links[1], 4 * MIB, 0);
        memory.report(&links[2], 5 * MIB / 2, 0);
        assert!(links.iter().all(|link| !is_shed(link)), "9.5 of 10 MiB are held");
        memory.report(&links[2], 3 * MIB, 5 * MIB / 2);
        assert_eq!(links.iter().map(|link| is_shed(link)).collect::<Vec<_>>(), [false, true, false]);
        memory.report(&links[0], 7 * MIB / 2, 3 * MIB);
        assert!(links.iter().all(|link| !is_shed(link)), "what closes is as good as gone");
        memory.report(&links[1], 0, 4 * MIB);
        assert_eq!(memory.lock().total, 13 * MIB / 2);
    }
}
