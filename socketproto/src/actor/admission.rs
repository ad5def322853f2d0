//! Who may connect: decided at accept, before anything is set up for a connection (protocol.md section 8).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::actor::penalties::{Network, Penalties};
use crate::limits::{Breach, Limit, Limits};

/// The counts of one listener, and what they allow.
pub(crate) struct Admission {
    max_connections: usize,
    max_per_address: usize,
    /// Whether loopback is an address as any other. Else those behind it, which may be a proxy, are not counted by it.
    counts_loopback: bool,
    connections: usize,
    /// Peers choose their addresses, so the hash has a key that nobody knows.
    per_address: HashMap<IpAddr, usize>,
    /// Where there is trust to be had.
    strangers: Option<Arc<Strangers>>,
}

/// What an admitted connection brings along.
#[derive(Default)]
pub(crate) struct Admitted {
    /// Its place among those that have yet to be trusted, free once this is dropped.
    pub(crate) stranger: Option<Stranger>,
    /// Who is penalised for what it does.
    pub(crate) network: Option<Network>,
}

impl Admission {
    /// `max_connections` is that of the limits, or what the process can have.
    pub(crate) fn new(limits: &Limits, max_connections: usize, secret: bool, counts_loopback: bool) -> Self {
        Self {
            max_connections,
            max_per_address: limits.max_connections_per_address,
            counts_loopback,
            connections: 0,
            per_address: HashMap::default(),
            strangers: secret.then(|| Arc::new(Strangers::new(limits))),
        }
    }

    /// Counts one more connection.
    ///
    /// # Errors
    /// The limit that it would exceed; then it is not counted.
    pub(crate) fn admit(
        &mut self,
        ip: Option<IpAddr>,
        penalties: &Penalties,
        now: Instant,
    ) -> Result<Admitted, Breach> {
        let ip = self.counted(ip);
        let network = ip.map(Network::of);
        if let Some(left) = network.and_then(|network| penalties.enforced(network, now)) {
            return Err(Breach::new(Limit::EnforcedPenalty, left, penalties.enforced_from()));
        }
        if self.connections >= self.max_connections {
            return Err(Breach::new(
                Limit::MaxConnections,
                self.connections.saturating_add(1),
                self.max_connections,
            ));
        }
        let from_there = ip.and_then(|ip| self.per_address.get(&ip)).copied().unwrap_or_default();
        if from_there >= self.max_per_address && ip.is_some() {
            let found = from_there.saturating_add(1);
            return Err(Breach::new(Limit::MaxConnectionsPerAddress, found, self.max_per_address));
        }
        let stranger = match &self.strangers {
            Some(strangers) => Some(Stranger::among(strangers, network)?),
            None => None,
        };
        self.connections = self.connections.saturating_add(1);
        if let Some(ip) = ip {
            self.per_address.insert(ip, from_there.saturating_add(1));
        }
        Ok(Admitted { stranger, network })
    }

    /// A connection has ended.
    pub(crate) fn release(&mut self, ip: Option<IpAddr>) {
        self.connections = self.connections.saturating_sub(1);
        if let Some(ip) = self.counted(ip) {
            count_down(&mut self.per_address, ip);
        }
    }

    /// The address, where it counts.
    fn counted(&self, ip: Option<IpAddr>) -> Option<IpAddr> {
        let ip = ip?.to_canonical();
        (self.counts_loopback || !ip.is_loopback()).then_some(ip)
    }
}

/// The connections that have yet to be trusted. They are trusted on any thread, so this is shared.
struct Strangers {
    max: usize,
    max_per_address: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    count: usize,
    per_network: HashMap<Network, usize>,
}

impl Strangers {
    fn new(limits: &Limits) -> Self {
        let (max, max_per_address) = (limits.max_untrusted, limits.max_untrusted_per_address);
        Self { max, max_per_address, known: Mutex::default() }
    }

    /// Each change is one step, so a poisoned lock holds sound counts.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one of them.
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    network: Option<Network>,
}

impl Stranger {
    fn among(strangers: &Arc<Strangers>, network: Option<Network>) -> Result<Self, Breach> {
        let mut known = strangers.lock();
        if known.count >= strangers.max {
            return Err(Breach::new(Limit::MaxUntrusted, known.count.saturating_add(1), strangers.max));
        }
        if let Some(network) = network {
            let from_there = known.per_network.entry(network).or_default();
            if *from_there >= strangers.max_per_address {
                let found = from_there.saturating_add(1);
                if *from_there == 0 {
                    known.per_network.remove(&network);
                }
                return Err(Breach::new(Limit::MaxUntrustedPerAddress, found, strangers.max_per_address));
            }
            *from_there = from_there.saturating_add(1);
        }
        known.count = known.count.saturating_add(1);
        drop(known);
        Ok(Self { strangers: Arc::clone(strangers), network })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut known = self.strangers.lock();
        known.count = known.count.saturating_sub(1);
        if let Some(network) = self.network {
            count_down(&mut known.per_network, network);
        }
    }
}

/// One less; what is 0 takes no room.
fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gate {
        admission: Admission,
        penalties: Penalties,
        now: Instant,
    }

    impl Gate {
        fn new(secret: bool, counts_loopback: bool, change: impl FnOnce(&mut Limits)) -> Self {
            let mut limits = Limits::default();
            change(&mut limits);
            let admission = Admission::new(&limits, limits.max_connections, secret, counts_loopback);
            Self { admission, penalties: Penalties::new(&limits), now: Instant::now() }
        }

        fn admit(&mut self, ip: &str) -> Result<Admitted, Limit> {
            let ip = (!ip.is_empty()).then(|| ip.parse().unwrap());
            self.admission.admit(ip, &self.penalties, self.now).map_err(|breach| breach.limit)
        }

        /// How many connections from there are admitted, up to 1000.
        fn admits(&mut self, ip: &str) -> (Vec<Admitted>, Option<Limit>) {
            let mut admitted = Vec::new();
            while admitted.len() < 1000 {
                match self.admit(ip) {
                    Ok(next) => admitted.push(next),
                    Err(limit) => return (admitted, Some(limit)),
                }
            }
            (admitted, None)
        }
    }

    fn check(gate: &mut Gate, ip: &str, count: usize, limit: Option<Limit>) {
        let (admitted, refused_for) = gate.admits(ip);
        assert_eq!((admitted.len(), refused_for), (count, limit), "{ip}");
    }

    #[test]
    fn so_many_connections_are_admitted_and_one_that_ends_makes_room() {
        let mut gate = Gate::new(false, false, |limits| limits.max_connections = 3);
        check(&mut gate, "", 3, Some(Limit::MaxConnections));
        gate.admission.release(None);
        check(&mut gate, "192.0.2.1", 1, Some(Limit::MaxConnections));
    }

    #[test]
    fn of_one_address_256_are_admitted_and_of_loopback_any_number() {
        let mut gate = Gate::new(false, false, |_| {});
        check(&mut gate, "192.0.2.1", 256, Some(Limit::MaxConnectionsPerAddress));
        check(&mut gate, "192.0.2.2", 256, Some(Limit::MaxConnectionsPerAddress));
        gate.admission.release("192.0.2.1".parse().ok());
        check(&mut gate, "192.0.2.1", 1, Some(Limit::MaxConnectionsPerAddress));
        for loopback in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            check(&mut gate, loopback, 1000, None);
        }
        let mut gate = Gate::new(false, true, |_| {});
        check(&mut gate, "127.0.0.1", 256, Some(Limit::MaxConnectionsPerAddress));
        check(&mut gate, "::1", 256, Some(Limit::MaxConnectionsPerAddress));
    }

    #[test]
    fn addresses_that_have_gone_take_no_room() {
        let mut gate = Gate::new(true, false, |_| {});
        let admitted = gate.admit("192.0.2.1").ok();
        assert_eq!(gate.admission.per_address.len(), 1);
        gate.admission.release("192.0.2.1".parse().ok());
        drop(admitted);
        assert!(gate.admission.per_address.is_empty());
        let strangers = gate.admission.strangers.as_ref().unwrap();
        assert!(strangers.lock().per_network.is_empty() && strangers.lock().count == 0);
    }

    #[test]
    fn of_one_network_16_strangers_are_admitted_until_one_is_trusted() {
        let mut gate = Gate::new(true, false, |_| {});
        let (mut strangers, refused_for) = gate.admits("2001:db8::1");
        assert_eq!((strangers.len(), refused_for), (16, Some(Limit::MaxUntrustedPerAddress)));
        assert_eq!(gate.admit("2001:db8::2").err(), Some(Limit::MaxUntrustedPerAddress), "the same /64");
        assert!(gate.admit("2001:db8:0:1::1").is_ok() && gate.admit("192.0.2.1").is_ok());
        strangers[7].stranger = None;
        assert!(gate.admit("2001:db8::2").is_ok(), "one has been trusted");
    }

    #[test]
    fn in_all_256_strangers_are_admitted_those_of_loopback_included() {
        let mut gate = Gate::new(true, false, |_| {});
        let (mut strangers, refused_for) = gate.admits("127.0.0.1");
        assert_eq!((strangers.len(), refused_for), (256, Some(Limit::MaxUntrusted)));
        assert_eq!(gate.admit("").err(), Some(Limit::MaxUntrusted));
        strangers.pop();
        assert!(gate.admit("192.0.2.1").is_ok());
        let mut gate = Gate::new(false, false, |_| {});
        check(&mut gate, "", 1000, None);
    }

    #[test]
    fn who_sent_three_wrong_keys_is_refused_and_its_neighbour_is_not() {
        let mut gate = Gate::new(true, false, |_| {});
        let guesser = gate.admit("192.0.2.1").ok().and_then(|admitted| admitted.network).unwrap();
        for _ in 0..2 {
            gate.penalties.add(guesser, gate.now);
        }
        assert!(gate.admit("192.0.2.1").is_ok(), "10 s are not enforced");
        gate.penalties.add(guesser, gate.now);
        assert_eq!(gate.admit("192.0.2.1").err(), Some(Limit::EnforcedPenalty));
        assert!(gate.admit("192.0.2.2").is_ok());
        gate.now += std::time::Duration::from_millis(1);
        assert!(gate.admit("192.0.2.1").is_ok(), "less than 15 s are left");
    }

    #[test]
    fn lines_without_an_address_and_loopback_have_no_penalty_unless_it_counts() {
        let network = |counts_loopback, ip: &str| {
            let mut gate = Gate::new(true, counts_loopback, |_| {});
            gate.admit(ip).ok().and_then(|admitted| admitted.network).is_some()
        };
        assert!(!network(false, "") && !network(true, ""));
        assert!(!network(false, "127.0.0.1") && network(true, "127.0.0.1"));
        assert!(network(false, "192.0.2.1"));
    }

    #[test]
    fn nobody_at_all_is_admitted_where_there_is_no_place() {
        let mut gate = Gate::new(true, true, |limits| limits.max_untrusted_per_address = 0);
        assert_eq!(gate.admit("192.0.2.1").err(), Some(Limit::MaxUntrustedPerAddress));
        let strangers = gate.admission.strangers.as_ref().unwrap();
        assert!(strangers.lock().per_network.is_empty());
    }
}
