//! Instructions that calls and their parts take, compared with `instructions.txt`.
//!
//! They do not depend on what else the machine does, so a change of one percent can be seen, and more than 5 % to the
//! worse is an error. Linux only, for they are counted by valgrind's callgrind.
//!
//! - `cargo bench -p socketproto --features _bench --bench instructions` compares; behind `--` stand words, to take only
//!   the cases that have one of them in their name.
//! - `-- --bless` writes the file anew.

mod baseline;
mod callgrind;
mod calls;
mod growth;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use socketproto::bench;

use crate::baseline::{Baseline, Row, TOLERANCE, Verdict};
use crate::callgrind::Job;
use crate::calls::{Calls, Ids};

/// The counts that were found good.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// How the file is written.
const BLESS: &str = "cargo bench -p socketproto --features _bench --bench instructions -- --bless";
/// Repetitions of a call, all outstanding ones together; a multiple of 64.
const CALLS: u64 = 1280;
/// Repetitions of a part.
const PARTS: u64 = 2000;
/// The largest frame of a part that is counted: the growth of the others is the codecs' own, and shows in `micro`.
const LARGEST: usize = 129;

type Outcome = Result<(), Box<dyn Error>>;

/// Something to be counted.
struct Case {
    name: String,
    /// Repetitions before those that are counted.
    before: u64,
    counted: u64,
    run: Box<dyn Fn(u64) -> Outcome>,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for calls in Calls::all() {
            cases.push(Self::new(calls.name(), CALLS, CALLS, move |times| calls.run(times)));
        }
        for ids in Ids::ALL {
            cases.push(Self::new(ids.name(), CALLS, CALLS, move |times| ids.run(times)));
        }
        for part in bench::Case::all() {
            let name = part.name().to_owned();
            let (before, counted) = match part.bytes() {
                0..=LARGEST => (PARTS, PARTS),
                // So large a frame is enough of a repetition.
                _ if name.contains("/bytewise/") => (0, 1),
                _ => continue,
            };
            cases.push(Self::new(name, before, counted, move |times| {
                let mut step = part.start();
                (0..times).for_each(|_| step());
                Ok(())
            }));
        }
        cases
    }

    fn new(name: String, before: u64, counted: u64, run: impl Fn(u64) -> Outcome + 'static) -> Self {
        Self { name, before, counted, run: Box::new(run) }
    }
}

fn main() -> ExitCode {
    // What cargo adds.
    let words: Vec<_> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let outcome = match words.as_slice() {
        [run, case, times] if run == callgrind::RUN => run_case(case, times),
        words => compare(words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted: the process that does it.
fn run_case(case: &str, times: &str) -> Outcome {
    let case = Case::all().into_iter().find(|other| other.name == case).ok_or("no such case")?;
    (case.run)(times.parse()?)
}

fn compare(words: &[String]) -> Outcome {
    let (options, words): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with('-'));
    let bless = match options.as_slice() {
        [] => false,
        [option] if *option == "--bless" => true,
        _ => return Err(format!("expected words and `--bless`, found {options:?}").into()),
    };
    let is_meant = |case: &str| words.is_empty() || words.iter().any(|word| case.contains(*word));
    let jobs: Vec<_> = Case::all()
        .into_iter()
        .filter(|case| is_meant(&case.name))
        .map(|Case { name: case, before, counted, .. }| Job { case, before, counted })
        .collect();
    let mut now = Baseline { tools: tools()?, counts: callgrind::count(&jobs)? };
    let before = read_file()?;
    let rows = before.compare(&now);
    print!("{}", baseline::table(&rows));
    let growths = growth::judge(&now.counts);
    growths.iter().for_each(|growth| println!("{growth}"));
    let broken = growths.iter().filter(|growth| !growth.is_kept()).count();
    if bless {
        // What was not counted stays.
        now.counts.extend(before.counts.into_iter().filter(|(case, _)| !is_meant(case)));
        fs::write(FILE, now.text())?;
        println!("written to {FILE}");
    } else {
        judge(&before, &now, &rows)?;
        if before.counts.keys().any(|case| is_meant(case) && !now.counts.contains_key(case)) {
            return Err(format!("{FILE} has cases that are no more; write it anew: {BLESS}").into());
        }
    }
    if broken > 0 {
        return Err(format!("{broken} rules of growth are broken; they cannot be blessed").into());
    }
    Ok(())
}

/// Says what became better, and fails on what became worse.
fn judge(before: &Baseline, now: &Baseline, rows: &[Row]) -> Outcome {
    let is_comparable = before.tools == now.tools;
    if !is_comparable {
        println!(
            "The baseline was counted with other tools, so more instructions are no error: {}, and now {}. Write it anew, \
             once the code is known to be as it was: {BLESS}",
            before.tools, now.tools
        );
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict() == verdict).count();
    let (better, worse, new) = (count(Verdict::Better), count(Verdict::Worse), count(Verdict::New));
    if better > 0 {
        println!(
            "{better} cases take more than {TOLERANCE} % less: bless them, so that it stays so. {BLESS}"
        );
    }
    if worse > 0 && is_comparable {
        return Err(format!(
            "{worse} cases take more than {TOLERANCE} % more than {FILE} says. Make them faster; or write the file \
             anew, and give the reason in the message of the commit: {BLESS}"
        )
        .into());
    }
    if new > 0 {
        return Err(format!("{new} cases are not in {FILE}; write it anew: {BLESS}").into());
    }
    Ok(())
}

/// What was found good; nothing where there is no file.
fn read_file() -> Result<Baseline, String> {
    match fs::read_to_string(FILE) {
        Ok(text) => Baseline::parse(&text).map_err(|error| format!("{FILE}: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Baseline::default()),
        Err(error) => Err(format!("{FILE}: {error}")),
    }
}

/// What decides as much as the code: the compiler, the C library, and what the processor can.
fn tools() -> Result<String, Box<dyn Error>> {
    let version = |program: &str, argument: &str| -> Result<String, Box<dyn Error>> {
        let output =
            Command::new(program).arg(argument).output().map_err(|error| format!("{program}: {error}"))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let (compiler, library) = (version("rustc", "--version")?, version("getconf", "GNU_LIBC_VERSION")?);
    #[cfg(target_arch = "x86_64")]
    let vectors = if is_x86_feature_detected!("avx2") { " with AVX2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = "";
    Ok(format!("{compiler}, {library}, {}{vectors}", env::consts::ARCH))
}
