//! What is to happen to the lines of one listener.

use std::time::Duration;

use crate::transport::disturb::Direction;

/// What is to happen, and how far it has come.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The most bytes of one read or write.
    pub(crate) split: usize,
    /// How much later bytes arrive.
    pub(crate) delay: Duration,
    /// Whether nothing arrives.
    pub(crate) frozen: bool,
    blocked: [bool; 2],
    strikes: Vec<Strike>,
    arrived: [u64; 2],
}

/// Something that happens once, at one byte.
#[derive(Debug)]
struct Strike {
    blow: Blow,
    direction: Direction,
    /// Bytes that arrive before it.
    ahead: u64,
}

/// What happens to a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blow {
    /// Its lowest bit is flipped.
    Flip,
    /// Its connection ends before it.
    Cut,
}

impl Plan {
    /// Nothing arrives in this direction, and nothing is taken.
    pub(crate) fn block(&mut self, direction: Direction) {
        self.blocked[direction as usize] = true;
    }

    /// Ends freezing and blocking.
    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
        self.blocked = [false; 2];
    }

    /// Lets something happen to the byte that has `ahead` others before it.
    pub(crate) fn strike(&mut self, blow: Blow, direction: Direction, ahead: u64) {
        self.strikes.push(Strike { blow, direction, ahead });
    }

    /// Nothing is to happen any more; counting goes on.
    pub(super) fn clear(&mut self) {
        *self = Self { arrived: self.arrived, ..Self::default() };
    }

    /// Lets bytes arrive, some of them damaged: as many as it says. None where the connection ends instead.
    pub(super) fn arrive(&mut self, direction: Direction, bytes: &mut [u8]) -> Option<usize> {
        let mine = |strike: &Strike| strike.direction == direction;
        let cuts = self.strikes.iter().filter(|strike| mine(strike) && strike.blow == Blow::Cut);
        let first_cut = cuts.map(|strike| usize::try_from(strike.ahead).unwrap_or(usize::MAX)).min();
        let count = first_cut.map_or(bytes.len(), |cut| cut.min(bytes.len()));
        if count == 0 {
            self.end_first_cut(direction);
            return None;
        }
        let passed = count as u64;
        self.strikes.retain_mut(|strike| {
            if strike.direction != direction {
                return true;
            }
            if let Some(ahead) = strike.ahead.checked_sub(passed) {
                strike.ahead = ahead;
                return true;
            }
            // No cut is among these bytes, and the place was just found to be one of them.
            if let Some(byte) = usize::try_from(strike.ahead).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1;
            }
            false
        });
        self.arrived[direction as usize] += passed;
        Some(count)
    }

    /// A cut happens to one connection.
    fn end_first_cut(&mut self, direction: Direction) {
        let is_due =
            |strike: &Strike| strike.blow == Blow::Cut && strike.direction == direction && strike.ahead == 0;
        if let Some(at) = self.strikes.iter().position(is_due) {
            self.strikes.remove(at);
        }
    }

    /// Whether nothing may arrive now.
    pub(super) fn gives_nothing(&self, direction: Direction) -> bool {
        self.frozen || self.blocked[direction as usize]
    }

    /// Whether nothing may be written now.
    pub(super) fn takes_nothing(&self, direction: Direction) -> bool {
        self.blocked[direction as usize]
    }

    pub(super) fn arrived(&self, direction: Direction) -> u64 {
        self.arrived[direction as usize]
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            split: usize::MAX,
            delay: Duration::ZERO,
            frozen: false,
            blocked: [false; 2],
            strikes: Vec::new(),
            arrived: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives of `reads`, one behind the other; `!` where the connection ends.
    fn arrive(plan: &mut Plan, reads: &[&str]) -> String {
        let mut arrived = String::new();
        for read in reads {
            let mut bytes = read.as_bytes().to_vec();
            match plan.arrive(Direction::ToServer, &mut bytes) {
                Some(count) => arrived += str::from_utf8(&bytes[..count]).unwrap(),
                None => arrived += "!",
            }
        }
        arrived
    }

    #[test]
    fn a_bit_flips_at_its_place_and_once() {
        for at in 0..6 {
            let mut plan = Plan::default();
            plan.strike(Blow::Flip, Direction::ToServer, at);
            let mut expected = *b"000000";
            expected[usize::try_from(at).unwrap()] = b'1';
            assert_eq!(arrive(&mut plan, &["00", "0", "000"]).as_bytes(), expected);
            assert!(plan.strikes.is_empty());
        }
    }

    #[test]
    fn the_other_direction_has_its_own_count() {
        let mut plan = Plan::default();
        plan.strike(Blow::Flip, Direction::ToClient, 0);
        plan.strike(Blow::Cut, Direction::ToClient, 1);
        assert_eq!(arrive(&mut plan, &["00", "00"]), "0000");
        assert_eq!((plan.arrived(Direction::ToServer), plan.arrived(Direction::ToClient)), (4, 0));
    }

    #[test]
    fn a_cut_ends_one_connection_before_its_byte() {
        let mut plan = Plan::default();
        plan.strike(Blow::Cut, Direction::ToServer, 3);
        plan.strike(Blow::Flip, Direction::ToServer, 3);
        assert_eq!(arrive(&mut plan, &["0000", "000", "000"]), "000!100");
    }
}
