//! Rules about how costs grow: the same work on something larger.

use std::collections::BTreeMap;
use std::fmt;

/// The larger case may take at most so many times what the smaller one takes.
struct Rule {
    smaller: &'static str,
    larger: &'static str,
    most: f64,
    reason: &'static str,
}

const IDS: &str = "what a request costs does not depend on how many ids are registered";
const BYTES: &str = "what a byte costs does not depend on how the frame was split";

const RULES: [Rule; 6] = [
    Rule { smaller: "call/ids/1", larger: "call/ids/100", most: 1.2, reason: IDS },
    Rule { smaller: "call/ids/1", larger: "call/ids/10000", most: 1.2, reason: IDS },
    Rule { smaller: "session/ids/1", larger: "session/ids/100", most: 1.2, reason: IDS },
    Rule { smaller: "session/ids/1", larger: "session/ids/10000", most: 1.2, reason: IDS },
    Rule {
        smaller: "session/length/bytewise/512KiB",
        larger: "session/length/bytewise/1MiB",
        most: 2.2,
        reason: BYTES,
    },
    Rule {
        smaller: "session/stp/bytewise/512KiB",
        larger: "session/stp/bytewise/1MiB",
        most: 2.2,
        reason: BYTES,
    },
];

/// A rule, judged.
#[derive(Debug)]
pub(crate) struct Growth {
    smaller: &'static str,
    larger: &'static str,
    most: f64,
    reason: &'static str,
    ratio: f64,
}

/// Judges the rules whose cases have been counted.
pub(crate) fn judge(counts: &BTreeMap<String, u64>) -> Vec<Growth> {
    let judged = |&Rule { smaller, larger, most, reason }: &Rule| {
        let ratio = *counts.get(larger)? as f64 / (*counts.get(smaller)?).max(1) as f64;
        Some(Growth { smaller, larger, most, reason, ratio })
    };
    RULES.iter().filter_map(judged).collect()
}

impl Growth {
    /// Whether the rule is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.ratio <= self.most
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smaller, larger, most, reason, ratio } = self;
        write!(f, "{larger} takes {ratio:.2} times {smaller}, at most {most:.2}: ")?;
        if self.is_kept() { f.write_str("kept") } else { write!(f, "BROKEN; {reason}") }
    }
}
