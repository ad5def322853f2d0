//! Tests of what is made of counts. They are a program of their own: one without a harness, as a benchmark is, runs none.

mod baseline;
mod growth;

use crate::baseline::{Baseline, Verdict, table};

fn counts(counts: &[(&str, u64)]) -> Baseline {
    let counts = counts.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect();
    Baseline { tools: "rustc 1.0".to_owned(), counts }
}

#[test]
fn what_is_written_is_read() {
    let baseline = counts(&[("call/mem/1", 12_345), ("frame/decode", 7)]);
    let text = baseline.text();
    assert!(text.contains("\ntools: rustc 1.0\n"), "{text}");
    assert_eq!(Baseline::parse(&text), Ok(baseline));
}

#[test]
fn the_committed_file_is_read_and_written_alike() {
    let text = include_str!("../instructions.txt");
    assert_eq!(Baseline::parse(text).unwrap().text(), text);
}

#[test]
fn a_line_that_is_none_is_told_with_its_number() {
    for wrong in ["a", "a b", "a 1 2", "a -1", "a 1.5"] {
        let error = Baseline::parse(&format!("tools: x\n\n{wrong}\n")).unwrap_err();
        assert_eq!(error, format!("line 3: expected `CASE COUNT`, found `{wrong}`"));
    }
    assert_eq!(Baseline::parse("tools: x\na 1\na 2\n").unwrap_err(), "line 3: the case a stands twice");
    assert_eq!(Baseline::parse("a 1\n").unwrap_err(), "the line `tools: ..` is missing");
}

#[test]
fn a_case_may_change_by_the_tolerance() {
    let before = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("gone", 1), ("zero", 0)]);
    let now = counts(&[("a", 1050), ("b", 1051), ("c", 950), ("d", 949), ("new", 1), ("zero", 0)]);
    let rows = before.compare(&now);
    let verdicts: Vec<_> = rows.iter().map(|row| (row.case.as_str(), row.verdict())).collect();
    let expected = [
        ("a", Verdict::Same),
        ("b", Verdict::Worse),
        ("c", Verdict::Same),
        ("d", Verdict::Better),
        ("new", Verdict::New),
        ("zero", Verdict::Same),
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn the_table_shows_each_change() {
    let rows = counts(&[("a", 1000)]).compare(&counts(&[("a", 1200), ("b", 5)]));
    let table = table(&rows);
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(lines.next().unwrap(), "case baseline now change");
    assert_eq!(lines.next().unwrap(), "a 1000 1200 +20.0 % WORSE");
    assert_eq!(lines.next().unwrap(), "b - 5 - new");
}

#[test]
fn a_case_may_grow_as_far_as_its_rule_says() {
    let judged = |smaller: u64, larger: u64| {
        let counts =
            counts(&[("session/stp/bytewise/512KiB", smaller), ("session/stp/bytewise/1MiB", larger)]).counts;
        let growths = growth::judge(&counts);
        assert_eq!(growths.len(), 1, "the others were not counted");
        (growths[0].is_kept(), growths[0].to_string())
    };
    assert!(judged(1000, 2200).0);
    let (is_kept, text) = judged(1000, 2210);
    assert!(!is_kept);
    assert!(text.starts_with("session/stp/bytewise/1MiB takes 2.21 times "), "{text}");
    assert!(text.contains("BROKEN; what a byte costs does not depend on how the frame was split"), "{text}");
}
