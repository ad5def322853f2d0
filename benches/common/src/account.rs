//! What processes have used, as the kernel accounts for it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The CPU time of some processes.
#[derive(Clone, Debug)]
pub struct Account(Vec<u32>);

impl Account {
    pub fn of(processes: &[u32]) -> Self {
        Self(processes.to_vec())
    }

    /// Nanoseconds of all threads that live, since they began.
    ///
    /// # Errors
    /// Where one of the processes has ended.
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for process in &self.0 {
            let tasks = format!("/proc/{process}/task");
            let tasks = fs::read_dir(&tasks).with_context(|| format!("no process {process}"))?;
            // A thread may end between the list and the look at it.
            sum += tasks.filter_map(|task| schedstat(&task.ok()?.path())).sum::<u64>();
        }
        Ok(sum)
    }

    /// KiB of memory that the processes have resident.
    ///
    /// # Errors
    /// Where one of the processes has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        self.0.iter().map(|&process| resident(process)).sum()
    }
}

/// KiB of memory that a process has resident, counted page by page: the cheap counters of the kernel lag.
///
/// # Errors
/// Where the process has ended.
pub fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) else {
        bail!("{path} does not say Rss");
    };
    kib.parse().with_context(|| format!("{path} says Rss {kib}"))
}

fn schedstat(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}
