//! Counting: this program runs itself under callgrind, once for each number of iterations.

use std::env;
use std::error::Error;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// Counts at once. Each is a process; more of them would only wait for each other on small machines.
const AT_ONCE: usize = 2;

/// The word that begins the command line of a process that is counted.
pub(crate) const RUN: &str = "run";

/// Instructions that one iteration of each case takes, in the order of the cases: what twice as many iterations take
/// more, so that all that happens once falls out.
///
/// # Errors
/// The first case that could not be counted.
pub(crate) fn count(cases: &[(String, u64)]) -> Result<Vec<u64>, String> {
    let jobs: Vec<_> = cases.iter().flat_map(|(case, times)| [(case, *times), (case, 2 * times)]).collect();
    let totals = Mutex::new(vec![Ok(0); jobs.len()]);
    let next = Mutex::new(jobs.iter().enumerate());
    let lock = "no thread panics while it holds the lock";
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let job = next.lock().expect(lock).next();
                    let Some((at, (case, times))) = job else { return };
                    let total = total(case, *times).map_err(|error| format!("{case}: {error}"));
                    totals.lock().expect(lock)[at] = total;
                }
            });
        }
    });
    let totals = totals.into_inner().expect(lock).into_iter().collect::<Result<Vec<_>, _>>()?;
    let each =
        |((_, times), totals): (&(String, u64), &[u64])| totals[1].saturating_sub(totals[0]).div_ceil(*times);
    Ok(cases.iter().zip(totals.chunks(2)).map(each).collect())
}

/// Instructions of a process that does so many iterations of a case.
fn total(case: &str, times: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([RUN, case, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}; install it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}\n{said}", output.status).into());
    }
    collected(&said).ok_or_else(|| format!("callgrind told no count:\n{said}").into())
}

/// The count in what callgrind says at its end.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}
