//! Instructions that calls and their parts take, compared with `instructions.txt`.
//!
//! They do not depend on what else the machine does, so a change of a few percent can be seen, and more than 5 % to the
//! worse is an error. Linux only, for they are counted by valgrind's callgrind.
//!
//! - `cargo bench -p socketproto --bench instructions` compares; behind `--` stand words, to take only the cases that
//!   have one of them in their name.
//! - `-- --bless` writes the file anew.

mod baseline;
mod callgrind;
mod calls;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, process, thread};

use crate::baseline::{Baseline, Verdict};
use crate::calls::Calls;

/// The counts that were found good.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// A case that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// Iterations of a call, all outstanding ones counted; a multiple of 64.
const CALLS: u64 = 1280;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let outcome = match words.as_slice() {
        [run, case, times] if run == callgrind::RUN => run_case(case, times),
        words => compare(words),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted: the process that does it.
fn run_case(case: &str, times: &str) -> Result<ExitCode, Box<dyn Error>> {
    thread::spawn(|| {
        thread::sleep(LONGEST);
        eprintln!("not done within {LONGEST:?}");
        process::exit(1);
    });
    let calls = Calls::all().into_iter().find(|calls| calls.name() == case).ok_or("no such case")?;
    calls.run(times.parse()?)?;
    Ok(ExitCode::SUCCESS)
}

fn compare(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let is_bless = words.iter().any(|word| word == "--bless");
    let parts: Vec<_> = words.iter().filter(|word| !word.starts_with("--")).collect();
    let is_meant = |case: &String| parts.is_empty() || parts.iter().any(|part| case.contains(*part));
    let cases: Vec<_> =
        Calls::all().into_iter().map(Calls::name).filter(is_meant).map(|case| (case, CALLS)).collect();
    let counts: BTreeMap<_, _> =
        cases.iter().map(|(case, _)| case.clone()).zip(callgrind::count(&cases)?).collect();
    let now = Baseline { compiler: compiler()?, counts };
    let before = match fs::read_to_string(FILE) {
        Ok(text) => Baseline::parse(&text).map_err(|error| format!("{FILE}: {error}"))?,
        Err(_) if is_bless => Baseline::default(),
        Err(error) => return Err(format!("{FILE}: {error}; make it with `-- --bless`").into()),
    };
    let rows = before.compare(&now);
    print!("{}", baseline::table(&rows));
    if is_bless {
        let mut blessed = now;
        if !parts.is_empty() {
            // What was not counted stays.
            let others = before.counts.into_iter().filter(|(case, _)| !is_meant(case));
            blessed.counts.extend(others);
        }
        fs::write(FILE, blessed.text())?;
        println!("written to {FILE}");
        return Ok(ExitCode::SUCCESS);
    }
    if before.compiler != now.compiler {
        println!(
            "The compiler is another one, and may be why counts differ: {} then, {} now.",
            before.compiler, now.compiler
        );
    }
    let with = |verdict| rows.iter().filter(|row| row.verdict() == verdict).count();
    let (better, worse, new) = (with(Verdict::Better), with(Verdict::Worse), with(Verdict::New));
    if better > 0 {
        println!(
            "{better} cases became better by more than {} %: bless, so that it stays so.",
            baseline::TOLERANCE
        );
    }
    if new > 0 {
        println!("{new} cases are new: bless them.");
    }
    if worse > 0 {
        println!(
            "{worse} cases became worse by more than {} %. Make them faster, or bless, and give the reason in the \
             commit's message.",
            baseline::TOLERANCE
        );
    }
    if better + worse + new > 0 {
        println!("To bless: cargo bench -p socketproto --bench instructions -- --bless");
    }
    Ok(if worse + new > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The compiler's version, which decides as much as the code.
fn compiler() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("--version").output()?;
    let version = String::from_utf8(output.stdout)?;
    Ok(format!("{} for {}", version.trim(), env::consts::ARCH))
}
