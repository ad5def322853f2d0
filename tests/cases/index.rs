//! `CASES.md` and the tests say the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The cases of the groups; the numbers between them belong to cases that were left out when they were collected.
const CASES: [(char, &[u32]); 8] = [
    ('A', &[1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
    ('B', &[1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]),
    ('C', &[2, 3, 4, 5, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18]),
    ('D', &[1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28]),
    ('E', &[1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15, 16]),
    ('S', &[1, 2, 3, 4, 6, 7, 8, 9]),
    ('U', &[1, 3, 4]),
    ('W', &[1, 2, 3, 4, 5, 6]),
];

#[test]
fn every_case_has_a_row_and_every_test_is_listed() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for entry in std::fs::read_dir(directory.join("cases")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            let behind = source.split("#[test]\nfn ").skip(1);
            tests.extend(behind.map(|text| text.split('(').next().unwrap().to_owned()));
        }
    }
    let table = std::fs::read_to_string(directory.join("CASES.md")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (group, numbers) in CASES {
        for number in numbers {
            let id = format!("{group}{number:02}");
            let row = rows.iter().find(|row| row[0] == id).unwrap_or_else(|| panic!("{id} has no row"));
            let prefix = format!("{}_{number:02}_", group.to_ascii_lowercase());
            assert!(row[1].split('`').any(|name| name.starts_with(&prefix)), "{id} has no test");
        }
    }
    let listed: BTreeSet<String> =
        rows.iter().flat_map(|row| row[1].split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    tests.remove("every_case_has_a_row_and_every_test_is_listed");
    assert_eq!(listed, tests);
}
