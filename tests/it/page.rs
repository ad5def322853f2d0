//! docs/what-happens-when.md names tests that there are; SECURITY.md has the defaults that docs/protocol.md has.

use std::collections::HashSet;
use std::path::Path;

use crate::support::repository;

/// Fewer rows and somebody has cut the page by accident.
const ROWS: usize = 20;

/// The rows of all tables of a page, cell by cell, without their heads.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = page.lines().collect();
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("| ---"));
    (0..lines.len())
        .filter(|at| lines[*at].starts_with("| ") && !lines[*at].starts_with("| ---") && !is_head(*at))
        .map(|at| lines[at].trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The names of all functions in a folder.
fn functions(folder: &Path, found: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("text");
            let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            for behind in source.split("fn ").skip(1) {
                found.insert(behind.chars().take_while(|letter| is_of_a_name(*letter)).collect());
            }
        }
    }
}

#[test]
fn every_row_of_what_happens_when_names_tests_that_exist() {
    let page = std::fs::read_to_string(repository().join("docs/what-happens-when.md")).expect("the page");
    let mut existing = HashSet::new();
    functions(&repository().join("tests"), &mut existing);
    functions(&repository().join("socketproto/src"), &mut existing);

    let rows = rows(&page);
    assert!(rows.len() >= ROWS, "{} rows", rows.len());
    let mut situations = HashSet::new();
    for row in &rows {
        let [situation, _caller, _other, tests] = row[..] else { panic!("four cells: {row:?}") };
        assert!(situations.insert(situation), "twice: {situation}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {situation}");
        for name in names {
            assert!(existing.contains(name), "{situation}: there is no test `{name}`");
        }
    }
}

#[test]
fn the_limits_of_security_md_are_those_of_the_protocol() {
    let page = |name: &str| std::fs::read_to_string(repository().join(name)).expect("the page");
    let (protocol, security) = (page("docs/protocol.md"), page("SECURITY.md"));
    let section = protocol.split("\n## 8. Limits").nth(1).expect("section 8");
    let defaults = rows(section);
    let named: Vec<_> = rows(&security).into_iter().filter(|row| row[1].starts_with('`')).collect();
    assert!(named.len() >= ROWS, "{} rows", named.len());
    for row in named {
        let [_against, setting, default] = row[..] else { panic!("three cells: {row:?}") };
        let found = defaults.iter().find(|row| row[0] == setting);
        let found = found.unwrap_or_else(|| panic!("section 8 has no row of {setting}"));
        assert_eq!(found[1], default, "{setting}");
    }
}
