//! What the runs of a peer come to.

use bench_common::Outcome;

use crate::report::{Group, Report, Run};

/// Some values, from the least to the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// One line of a table.
#[derive(Debug)]
pub struct Line {
    pub peer: String,
    /// Requests a second
    pub rate: Option<Spread>,
    /// To the base of the group, in the same round
    pub ratio: Option<Spread>,
    pub server: Cost,
    pub client: Cost,
    /// The CPU time of both, to that of the base
    pub cost_ratio: Option<Spread>,
    pub p50: Option<Spread>,
    pub p99: Option<Spread>,
    pub p999: Option<Spread>,
    pub p50_ratio: Option<Spread>,
    pub p99_ratio: Option<Spread>,
    pub idle: Option<Spread>,
    pub after_burst: Option<Spread>,
    pub after_trim: Option<Spread>,
    /// Runs that were not disturbed, of all
    pub clean: (usize, usize),
    pub error: Option<String>,
}

/// CPU time of one side.
#[derive(Debug)]
pub struct Cost {
    /// Nanoseconds a request
    pub each: Option<Spread>,
    pub ratio: Option<Spread>,
}

impl Line {
    /// Whether any run of it came to an end.
    pub fn has_outcome(&self) -> bool {
        self.clean.1 > 0
    }
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The lines of a group, in the order in which the peers ran.
pub fn lines(report: &Report, group: &Group) -> Vec<Line> {
    let runs: Vec<&Run> = report.runs.iter().filter(|run| run.group == group.name).collect();
    let mut peers: Vec<&str> = Vec::new();
    for run in &runs {
        if !peers.contains(&run.peer.as_str()) {
            peers.push(&run.peer);
        }
    }
    peers.into_iter().map(|peer| line(&runs, &group.base, peer)).collect()
}

fn line(runs: &[&Run], base: &str, peer: &str) -> Line {
    let figures = Figures { runs, base, peer };
    let of_peer = || runs.iter().filter(|run| run.peer == peer);
    // Whoever else runs slows a run down, but hardly changes what it costs.
    let cost = |metric: fn(&Outcome) -> Option<f64>| Cost {
        each: figures.spread(metric, false),
        ratio: figures.ratio(metric, false),
    };
    Line {
        peer: peer.to_owned(),
        rate: figures.spread(rate, true),
        ratio: figures.ratio(rate, true),
        server: cost(server_cost),
        client: cost(client_cost),
        cost_ratio: figures.ratio(|outcome| Some(server_cost(outcome)? + client_cost(outcome)?), false),
        p50: figures.spread(p50, true),
        p99: figures.spread(p99, true),
        p999: figures.spread(|outcome| outcome.p999_ns.map(|value| value as f64), true),
        p50_ratio: figures.ratio(p50, true),
        p99_ratio: figures.ratio(p99, true),
        idle: figures.spread(|outcome| outcome.per_connection_bytes, false),
        after_burst: figures.spread(|outcome| outcome.after_burst_bytes, false),
        after_trim: figures.spread(|outcome| outcome.after_trim_bytes, false),
        clean: (
            of_peer().filter(|run| run.outcome.is_some() && !run.disturbed).count(),
            of_peer().filter(|run| run.outcome.is_some()).count(),
        ),
        error: of_peer().find_map(|run| run.error.clone()),
    }
}

/// The runs of one peer, and those it is compared to.
struct Figures<'a> {
    runs: &'a [&'a Run],
    base: &'a str,
    peer: &'a str,
}

impl Figures<'_> {
    fn spread(&self, metric: impl Fn(&Outcome) -> Option<f64>, clean: bool) -> Option<Spread> {
        Spread::of(self.of(self.peer, clean).filter_map(|(_, outcome)| metric(outcome)))
    }

    fn ratio(&self, metric: impl Fn(&Outcome) -> Option<f64>, clean: bool) -> Option<Spread> {
        let ratios = self.of(self.peer, clean).filter_map(|(round, outcome)| {
            let (_, base) = self.of(self.base, clean).find(|(other, _)| *other == round)?;
            Some(metric(outcome)? / metric(base)?)
        });
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
    }

    fn of(&self, peer: &str, clean: bool) -> impl Iterator<Item = (usize, &Outcome)> {
        let runs = self.runs.iter().filter(move |run| run.peer == peer && !(clean && run.disturbed));
        runs.filter_map(|run| Some((run.round, run.outcome.as_ref()?)))
    }
}

fn rate(outcome: &Outcome) -> Option<f64> {
    (outcome.seconds > 0.0).then(|| outcome.done as f64 / outcome.seconds)
}

fn server_cost(outcome: &Outcome) -> Option<f64> {
    Some(outcome.server_cpu_ns? as f64 / outcome.done as f64)
}

fn client_cost(outcome: &Outcome) -> Option<f64> {
    Some(outcome.client_cpu_ns? as f64 / outcome.done as f64)
}

fn p50(outcome: &Outcome) -> Option<f64> {
    outcome.p50_ns.map(|value| value as f64)
}

fn p99(outcome: &Outcome) -> Option<f64> {
    outcome.p99_ns.map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Placement;

    fn run(peer: &str, round: usize, done: u64, disturbed: bool) -> Run {
        let outcome = Outcome {
            done,
            seconds: 1.0,
            server_cpu_ns: Some(1_000),
            client_cpu_ns: Some(3_000),
            ..Outcome::default()
        };
        Run {
            group: "g".to_owned(),
            peer: peer.to_owned(),
            round,
            placement: Placement::SameCore,
            server: String::new(),
            client: String::new(),
            tries: 1,
            others: 0.0,
            disturbed,
            outcome: Some(outcome),
            error: None,
        }
    }

    #[test]
    fn a_ratio_is_taken_in_its_round_and_without_disturbed_runs() {
        let runs = [
            run("B", 1, 100, false),
            run("x", 1, 50, false),
            run("B", 2, 200, false),
            run("x", 2, 120, false),
            run("B", 3, 10, true),
            run("x", 3, 80, false),
            run("B", 4, 100, false),
            run("x", 4, 1, true),
        ];
        let runs: Vec<_> = runs.iter().collect();
        let line = line(&runs, "B", "x");
        assert_eq!(line.ratio, Some(Spread { median: 0.55, min: 0.5, max: 0.6 }));
        assert_eq!(line.rate.unwrap().median, 80.0);
        assert_eq!(line.clean, (3, 4));
        // What it cost counts in all rounds: 2, 1.67, 0.125 and 100 of the base's.
        let cost = line.cost_ratio.unwrap();
        assert_eq!((cost.min, cost.max), (0.125, 100.0));
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([4.0, 1.0, 9.0]).unwrap().median, 4.0);
        assert_eq!(Spread::of([]), None);
    }
}
