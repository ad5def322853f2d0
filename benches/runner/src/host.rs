//! The machine, and what else happens on it.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What figures depend on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub rustc: String,
}

impl Machine {
    pub fn this() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kib = value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: value(&cpus, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or_default() >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            rustc: said(&["rustc", "--version"]),
        }
    }
}

/// When this is, in UTC.
pub fn date() -> String {
    said(&["date", "-u", "+%Y-%m-%dT%H:%M"])
}

/// Which state of the project this is.
pub fn commit() -> String {
    let changed = if said(&["git", "status", "--porcelain", "--untracked-files=no"]).is_empty() {
        ""
    } else {
        " and changes"
    };
    format!("{}{changed}", said(&["git", "rev-parse", "--short=10", "HEAD"]))
}

/// What a program prints; what could not be found out is empty.
fn said(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// Seconds of CPU that the whole machine has used since it started.
pub fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat has no CPUs")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in the first two.
    ensure!(ticks.len() >= 8, "/proc/stat has other fields");
    Ok((ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) as f64 / TICKS)
}

/// Seconds of CPU that a process has used, and its children that have ended.
pub fn used(process: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program stands in parentheses and may hold anything.
    let fields = text.rsplit_once(')').context("stat without a name")?.1;
    let ticks = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok());
    Ok(ticks.sum::<u64>() as f64 / TICKS)
}

/// Ticks of the kernel's accounts in a second, the same on every Linux.
const TICKS: f64 = 100.0;

/// Gives all processes of this session a priority, where the kernel shares time among sessions.
pub fn set_priority(nice: i32) -> Result<()> {
    fs::write("/proc/self/autogroup", nice.to_string())
        .context("--nice needs a kernel with autogroups, and root for values below 0")
}

/// Lets a server have many connections, and its load as many.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where this fails, what needs more descriptors says so.
    let _ = setrlimit(Resource::Nofile, limit);
}
