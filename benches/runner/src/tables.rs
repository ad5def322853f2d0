//! The figures as Markdown.

use std::fmt::Write;

use crate::figures::{Cost, Line, Spread, lines};
use crate::report::{Group, Placement, Report};

/// All tables of a report, and what they are worth.
pub fn all(report: &Report) -> String {
    let machine = &report.machine;
    let disturbed = report.runs.iter().filter(|run| run.disturbed).count();
    let mut out = format!(
        "# Comparison of {}\n\n\
         Commit {}; {}, {} cores, {} GiB, Linux {}, {}.\n\
         {} rounds, {} s of warm-up and {} s measured each; {disturbed} of {} runs were disturbed (others used more than {} \
         cores) and count for CPU time and memory alone.\n\
         Figures are medians (from the least to the largest); ratios are those to the first-named of the same round.\n",
        report.date,
        report.commit,
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.rustc,
        report.rounds,
        report.warmup,
        report.seconds,
        report.runs.len(),
        report.others_allowed,
    );
    for group in &report.groups {
        let lines = lines(report, group);
        // A failure to write to a string cannot be.
        let _ = writeln!(out, "\n## {}\n", group.title);
        if lines.iter().any(Line::has_outcome) {
            out.push_str(&table(report, group, &lines));
        }
        for line in &lines {
            if let Some(error) = &line.error {
                let _ = writeln!(out, "\n{} is left out: {error}", line.peer);
            }
        }
    }
    out
}

/// What shapes differ in.
type Cells = fn(&Line) -> Vec<String>;

fn table(report: &Report, group: &Group, lines: &[Line]) -> String {
    let (heads, cells): (&[&str], Cells) = match group.shape.as_str() {
        "s1" | "s6" => {
            (&["p50 / p99 / p99.9 us", "ratio of p50", "ratio of p99", "requests/s", "ratio"], timed)
        }
        "s4" => (&["MiB/s", "ratio", "p50 ms"], large),
        "s5" => (&["bytes a connection", "after a burst", "after trimming"], idle),
        _ => (&["requests/s", "ratio", "p50 / p99 us"], many),
    };
    let costs = ["CPU us a request: server (ratio)", "client (ratio)", "ratio of both", "clean runs"];
    let is_idle = group.shape == "s5";
    let mut head = vec![format!("to {}", group.base)];
    head.extend(heads.iter().map(ToString::to_string));
    if !is_idle {
        head.extend(costs.map(ToOwned::to_owned));
    }
    let mut out = row(&head);
    out.push_str(&row(&vec!["---".to_owned(); head.len()]));
    for line in lines.iter().filter(|line| line.has_outcome()) {
        let mut row_cells = vec![name(report, group, line)];
        row_cells.extend(cells(line));
        if !is_idle {
            row_cells.extend([
                cost(&line.server),
                cost(&line.client),
                ratio(line.cost_ratio),
                format!("{} of {}", line.clean.0, line.clean.1),
            ]);
        }
        out.push_str(&row(&row_cells));
    }
    out
}

/// A peer that is placed otherwise than its group says so.
fn name(report: &Report, group: &Group, line: &Line) -> String {
    let is_of = |run: &&crate::report::Run| run.group == group.name && run.peer == line.peer;
    let placement = report.runs.iter().find(is_of).map(|run| run.placement);
    let mark = if placement == Some(Placement::Free) { " (not pinned)" } else { "" };
    format!("{}{mark}", line.peer)
}

fn timed(line: &Line) -> Vec<String> {
    let latencies = [line.p50, line.p99, line.p999].map(|latency| value(latency, 1e3, 1)).join(" / ");
    vec![
        latencies,
        ratio(line.p50_ratio),
        ratio(line.p99_ratio),
        spread(line.rate, 1.0, 0),
        ratio(line.ratio),
    ]
}

fn many(line: &Line) -> Vec<String> {
    let latencies = [line.p50, line.p99].map(|latency| value(latency, 1e3, 0)).join(" / ");
    vec![spread(line.rate, 1.0, 0), ratio(line.ratio), latencies]
}

fn large(line: &Line) -> Vec<String> {
    vec![spread(line.rate, 1.0, 0), ratio(line.ratio), value(line.p50, 1e6, 2)]
}

fn idle(line: &Line) -> Vec<String> {
    [line.idle, line.after_burst, line.after_trim].map(|bytes| spread(bytes, 1.0, 0)).to_vec()
}

fn cost(cost: &Cost) -> String {
    format!("{} ({})", value(cost.each, 1e3, 2), value(cost.ratio, 1.0, 2))
}

fn ratio(ratio: Option<Spread>) -> String {
    spread(ratio, 1.0, 2)
}

fn spread(spread: Option<Spread>, unit: f64, digits: usize) -> String {
    spread.map_or("-".to_owned(), |Spread { median, min, max }| {
        format!("{:.digits$} ({:.digits$}..{:.digits$})", median / unit, min / unit, max / unit)
    })
}

fn value(spread: Option<Spread>, unit: f64, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{:.digits$}", spread.median / unit))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
