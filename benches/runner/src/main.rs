//! Runs the comparison, and shows what came out.
//!
//! See `benches/README.md` for how the figures are made and how far they can be trusted.

mod chart;
mod figures;
mod host;
mod measure;
mod plan;
mod process;
mod report;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser};

use crate::measure::measure;
use crate::report::Report;

/// Runs the comparison, and shows what came out.
#[derive(Debug, Parser)]
enum Command {
    /// Measures, prints the tables, and writes FOLDER/DATE.json and FOLDER/DATE.svg
    Run(Settings),
    /// Prints the tables of an earlier run, and writes its chart anew
    Show {
        /// What `run` has written
        file: PathBuf,
    },
    /// Lists what would be measured
    List(Settings),
}

/// What is measured, and how.
#[derive(Clone, Debug, Args)]
struct Settings {
    /// Fewer peers and shapes, shorter, 3 rounds
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; 5, or 3 with --quick
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each measurement is; 0.8, or 0.5 with --quick
    #[arg(long)]
    seconds: Option<f64>,
    /// How long each load runs before it is measured
    #[arg(long, default_value_t = 0.3)]
    warmup: f64,
    /// Only what has this text in its name, as `list` shows it, with what it is compared to; may be given again
    #[arg(long)]
    only: Vec<String>,
    /// How many cores other programs may use during a measurement
    #[arg(long, default_value_t = 1.2)]
    others: f64,
    /// How often a disturbed measurement is tried again
    #[arg(long, default_value_t = 2)]
    retries: usize,
    /// The priority of everything that is started, where the kernel groups processes by session; below 0 for root alone
    #[arg(long, allow_negative_numbers = true)]
    nice: Option<i32>,
    /// Where the results are written
    #[arg(long, default_value = "results")]
    folder: PathBuf,
}

impl Settings {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.5 } else { 0.8 })
    }
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Run(settings) => {
            let report = measure(&settings)?;
            let stem = settings.folder.join(report.date.replace(':', "-"));
            fs::create_dir_all(&settings.folder).context("the folder for results")?;
            report.write(&stem.with_extension("json"))?;
            show(&report, &stem)
        }
        Command::Show { file } => show(&Report::read(&file)?, &file.with_extension("")),
        Command::List(settings) => {
            for (group, cases) in plan::plan(&settings) {
                println!("{}: {}", group.name, group.title);
                for case in cases {
                    println!("    {}/{}", group.name, case.peer);
                }
            }
            Ok(())
        }
    }
}

fn show(report: &Report, stem: &Path) -> Result<()> {
    print!("{}", tables::all(report));
    let chart = stem.with_extension("svg");
    if chart::draw(report, &chart)? {
        println!("\nChart: {}", chart.display());
    }
    println!("Every run: {}", stem.with_extension("json").display());
    Ok(())
}
