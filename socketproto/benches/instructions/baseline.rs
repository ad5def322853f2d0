//! The file of counts that were found good, and the comparison with those of now.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A case that takes this many percent more than the file says fails, and one that takes as many less is told.
pub(crate) const TOLERANCE: f64 = 5.0;

/// What the line of the tools begins with.
const TOOLS: &str = "tools: ";

/// What a file begins with.
const HEAD: &str = "\
# Instructions that each case takes once, as counted and written by
# cargo bench -p socketproto --features _bench --bench instructions -- --bless
# A case that takes more than 5 % more fails in CI, where the tools are the same.
";

/// Counts by case, and the tools that they depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) tools: String,
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is none of a file's, with its number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut baseline = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(tools) = line.strip_prefix(TOOLS) {
                baseline.tools = tools.to_owned();
                continue;
            }
            let Some((case, count)) = case(line) else {
                return Err(format!("line {number}: expected `CASE COUNT`, found `{line}`"));
            };
            if baseline.counts.insert(case.to_owned(), count).is_some() {
                return Err(format!("line {number}: the case {case} stands twice"));
            }
        }
        if baseline.tools.is_empty() {
            return Err(format!("the line `{TOOLS}..` is missing"));
        }
        Ok(baseline)
    }

    /// The text of a file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEAD}{TOOLS}{}\n", self.tools);
        for (case, count) in &self.counts {
            let _ = writeln!(text, "{case:32} {count:>12}");
        }
        text
    }

    /// What has become of each case that was counted now.
    pub(crate) fn compare(&self, now: &Self) -> Vec<Row> {
        let row = |(case, now): (&String, &u64)| Row {
            case: case.clone(),
            before: self.counts.get(case).copied(),
            now: *now,
        };
        now.counts.iter().map(row).collect()
    }
}

fn case(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split_ascii_whitespace();
    let case = (words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(case)
}

/// A case of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) case: String,
    /// None: the file does not have it.
    pub(crate) before: Option<u64>,
    pub(crate) now: u64,
}

/// What has become of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Same,
    Better,
    Worse,
    /// The file does not have it.
    New,
}

impl Row {
    /// The change in percent.
    fn change(&self) -> Option<f64> {
        let before = self.before? as f64;
        Some((self.now as f64 - before) / before.max(1.0) * 100.0)
    }

    /// What has become of it.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.change() {
            None => Verdict::New,
            Some(change) if change > TOLERANCE => Verdict::Worse,
            Some(change) if change < -TOLERANCE => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }
}

/// The rows as people read them.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!("{:32} {:>12} {:>12} {:>8}\n", "case", "baseline", "now", "change");
    for row in rows {
        let before = row.before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        let change = row.change().map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %"));
        let mark = match row.verdict() {
            Verdict::Same => "",
            Verdict::Better => "  better",
            Verdict::Worse => "  WORSE",
            Verdict::New => "  new",
        };
        let _ = writeln!(text, "{:32} {before:>12} {:>12} {change:>8}{mark}", row.case, row.now);
    }
    text
}
