//! What is written of a comparison, and read again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bench_common::Outcome;
use serde::{Deserialize, Serialize};

use crate::host::Machine;

/// A comparison: each of its runs, and where it was made.
#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    pub rounds: usize,
    pub warmup: f64,
    pub seconds: f64,
    /// More cores than this in use by others: a run is disturbed
    pub others_allowed: f64,
    pub groups: Vec<Group>,
    pub runs: Vec<Run>,
}

/// Runs that are compared with each other.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Group {
    pub name: String,
    pub title: String,
    pub shape: String,
    pub connections: usize,
    pub outstanding: usize,
    pub placement: Placement,
    /// The peer whose run of the same round the others are compared to
    pub base: String,
}

/// Where server and client run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    SameCore,
    TwoCores,
    Free,
}

/// One run of a server and its load.
#[derive(Debug, Deserialize, Serialize)]
pub struct Run {
    pub group: String,
    pub peer: String,
    pub round: usize,
    pub placement: Placement,
    pub server: String,
    pub client: String,
    /// How often it was tried because others disturbed it
    pub tries: usize,
    /// Cores that others used meanwhile, on average
    pub others: f64,
    pub disturbed: bool,
    pub outcome: Option<Outcome>,
    /// Why there is no outcome
    pub error: Option<String>,
}

impl Report {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))
    }

    /// One line for each run, so that two reports can be compared.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string(self)?;
        for key in ["\"machine\":", "\"rounds\":", "\"groups\":", "\"runs\":", "{\"group\":", "{\"name\":"] {
            text = text.replace(key, &format!("\n{key}"));
        }
        text.push('\n');
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}
