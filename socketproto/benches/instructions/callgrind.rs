//! Counting: this program runs itself under callgrind, twice for each case.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// Counts at once. Each is a process; more of them would only wait for each other on small machines.
const AT_ONCE: usize = 2;

/// A process that takes longer hangs.
const LONGEST: &str = "120s";

/// The word that begins the command line of a process that is counted.
pub(crate) const RUN: &str = "run";

/// A case to be counted.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) case: String,
    /// Repetitions before those that are counted.
    pub(crate) before: u64,
    pub(crate) counted: u64,
}

/// Instructions that each case takes once.
///
/// # Errors
/// A case that could not be counted.
pub(crate) fn count(jobs: &[Job]) -> Result<BTreeMap<String, u64>, String> {
    let next = Mutex::new(jobs.iter());
    let work = || {
        let mut counts = Vec::new();
        loop {
            let job = next.lock().expect("nothing panics under the lock").next();
            let Some(job) = job else { return Ok(counts) };
            let count = once(job).map_err(|error| format!("{}: {error}", job.case))?;
            counts.push((job.case.clone(), count));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let counts = workers.into_iter().map(|worker| worker.join().expect("nothing panics in it"));
        Ok(counts.collect::<Result<Vec<_>, String>>()?.into_iter().flatten().collect())
    })
}

/// What more repetitions take more, so that all that happens at the start falls out.
fn once(job: &Job) -> Result<u64, Box<dyn Error>> {
    let Job { case, before, counted } = job;
    let more = total(case, before + counted)?.saturating_sub(total(case, *before)?);
    Ok(more / counted)
}

/// Instructions of a process that repeats a case so often.
fn total(case: &str, times: u64) -> Result<u64, Box<dyn Error>> {
    // A watchdog inside would be counted, more or less of it.
    let output = Command::new("timeout")
        .args([LONGEST, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([RUN, case, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`timeout` cannot be started, is it installed? {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(
            format!("{} (124: not done within {LONGEST}; 127: no valgrind)\n{said}", output.status).into()
        );
    }
    collected(&said).ok_or_else(|| format!("callgrind told no count:\n{said}").into())
}

/// The count in what callgrind says at its end.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}
