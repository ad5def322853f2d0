//! What wrong keys cost an address (protocol.md section 8): it is refused for a while.
//!
//! A penalty is a time that goes by. Each wrong key adds to it; while much of it is left the address is refused. So there
//! is nothing to be cleared: what is not renewed ends by itself.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::session::after;

/// Whom an address stands for: an IPv4 address, or the 64 bits of one of IPv6 that a network gives its hosts (RFC 4291,
/// section 2.5.4), for any host has all the others of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            ip @ IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

/// The penalties of an endpoint, for its listener and its connections.
pub(crate) struct Penalties {
    each: Duration,
    most: Duration,
    enforced: Duration,
    room: usize,
    table: Mutex<Table>,
}

/// Both hold the same entries. The hash has a key that nobody knows, so no choice of addresses makes it slow.
#[derive(Default)]
struct Table {
    ends: HashMap<Network, Instant>,
    by_end: BTreeSet<(Instant, Network)>,
}

impl Penalties {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            each: limits.wrong_key_penalty,
            most: limits.max_penalty,
            enforced: limits.enforced_penalty,
            room: limits.max_penalized,
            table: Mutex::default(),
        }
    }

    /// Adds what one failure costs.
    pub(crate) fn add(&self, network: Network, now: Instant) {
        let mut table = self.lock();
        table.forget_until(now);
        if self.room == 0 {
            return;
        }
        let left = table.left(network, now);
        let end = after(now, left.saturating_add(self.each).min(self.most));
        table.set(network, end);
        if table.ends.len() > self.room {
            table.forget_first();
        }
    }

    /// The penalty of an address, where it is so long that connections are refused.
    pub(crate) fn enforced(&self, network: Network, now: Instant) -> Option<Duration> {
        let left = self.lock().left(network, now);
        (!left.is_zero() && left >= self.enforced).then_some(left)
    }

    /// From which penalty on they are.
    pub(crate) fn enforced_from(&self) -> Duration {
        self.enforced
    }

    /// No change of the table is left half done, so a poisoned lock holds a sound one.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn left(&self, network: Network, now: Instant) -> Duration {
        self.ends.get(&network).map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    fn set(&mut self, network: Network, end: Instant) {
        if let Some(before) = self.ends.insert(network, end) {
            self.by_end.remove(&(before, network));
        }
        self.by_end.insert((end, network));
    }

    fn forget_first(&mut self) {
        if let Some((_, network)) = self.by_end.pop_first() {
            self.ends.remove(&network);
        }
    }

    /// Penalties that have gone by: each was set once, so that all of it costs no more than setting them.
    fn forget_until(&mut self, now: Instant) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn penalties() -> Penalties {
        Penalties::new(&Limits::default())
    }

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    #[test]
    fn an_address_of_ipv6_is_its_64_bits_and_one_of_ipv4_itself() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }

    #[test]
    fn penalties_add_up_are_enforced_from_15_s_on_and_go_by() {
        let (penalties, start, guesser) = (penalties(), Instant::now(), network("192.0.2.1"));
        penalties.add(guesser, start);
        penalties.add(guesser, start);
        assert_eq!(penalties.enforced(guesser, start), None, "10 s are not enforced");
        penalties.add(guesser, start);
        assert_eq!(penalties.enforced(guesser, start), Some(15 * SECOND));
        assert_eq!(penalties.enforced(network("192.0.2.2"), start), None, "another address");
        let millisecond = Duration::from_millis(1);
        assert_eq!(penalties.enforced(guesser, start + millisecond), None);
        penalties.add(guesser, start + 10 * SECOND);
        assert_eq!(penalties.enforced(guesser, start + 10 * SECOND), None, "5 s were left, 10 s are now");
        for _ in 0..2 {
            penalties.add(guesser, start + 12 * SECOND);
        }
        assert_eq!(penalties.enforced(guesser, start + 12 * SECOND), Some(18 * SECOND));
        assert_eq!(penalties.enforced(guesser, start + 15 * SECOND), Some(15 * SECOND));
        assert_eq!(penalties.enforced(guesser, start + 15 * SECOND + millisecond), None);
    }

    #[test]
    fn no_penalty_is_longer_than_600_s() {
        let (penalties, start, guesser) = (penalties(), Instant::now(), network("2001:db8::1"));
        for _ in 0..119 {
            penalties.add(guesser, start);
        }
        assert_eq!(penalties.enforced(guesser, start), Some(595 * SECOND));
        for _ in 0..1000 {
            penalties.add(guesser, start);
        }
        assert_eq!(penalties.enforced(guesser, start), Some(600 * SECOND));
        assert_eq!(penalties.enforced(guesser, start + 586 * SECOND), None);
    }

    #[test]
    fn with_one_address_too_many_the_penalty_that_ends_first_is_forgotten() {
        let (penalties, start) = (penalties(), Instant::now());
        let host = |number: u32| Network::of(IpAddr::V4(number.into()));
        for number in 0..65_536 {
            penalties.add(host(number), start + Duration::from_micros(number.into()));
        }
        let now = start + SECOND;
        // The first one is the last to end now.
        penalties.add(host(0), now);
        penalties.add(host(0), now);
        assert_eq!(penalties.lock().ends.len(), 65_536);
        penalties.add(host(70_000), now);
        let table = penalties.lock();
        assert_eq!((table.ends.len(), table.by_end.len()), (65_536, 65_536));
        assert!(!table.ends.contains_key(&host(1)) && table.ends.contains_key(&host(0)));
        assert!(table.ends.contains_key(&host(2)) && table.ends.contains_key(&host(70_000)));
    }

    #[test]
    fn what_has_gone_by_takes_no_room() {
        let (penalties, start) = (penalties(), Instant::now());
        for number in 0..1000_u32 {
            penalties.add(Network::of(IpAddr::V4(number.into())), start);
        }
        penalties.add(network("192.0.2.1"), start + 5 * SECOND);
        assert_eq!(penalties.lock().ends.len(), 1);
        let none = Penalties::new(&Limits { max_penalized: 0, ..Limits::default() });
        none.add(network("192.0.2.1"), start);
        assert_eq!(none.lock().ends.len(), 0);
    }
}
