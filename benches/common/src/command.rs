//! The command line, the same for every program.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, ValueEnum};
use tokio::task::LocalSet;

/// One end of a comparison.
#[derive(Debug, Parser)]
pub enum Command {
    /// Serves until stdin ends; prints `listening ADDRESS` first.
    Serve(Serve),
    /// Asks, and prints one line of JSON.
    Load(Load),
}

/// How a server is run.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Which of the program's ways to do it
    #[arg(long, default_value = "default")]
    pub variant: String,
    #[arg(long, value_enum, default_value_t = Flavor::Current)]
    pub runtime: Flavor,
    /// Where to listen, as the program writes addresses; a free port of 127.0.0.1 unless said
    #[arg(long)]
    pub at: Option<String>,
    /// How many ids are registered, where the program has such
    #[arg(long, default_value_t = 1)]
    pub ids: u32,
    /// On how many threads connections are spread, where the program does that
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
}

/// How a server is asked.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// Which of the program's ways to do it
    #[arg(long, default_value = "default")]
    pub variant: String,
    #[arg(long, value_enum, default_value_t = Flavor::Current)]
    pub runtime: Flavor,
    /// What the server printed
    #[arg(long)]
    pub to: String,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Requests that are outstanding on each connection
    #[arg(long, default_value_t = 1)]
    pub outstanding: usize,
    #[arg(long, value_enum)]
    pub shape: Shape,
    /// The processes of the server
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub warmup: Duration,
    #[arg(long, value_name = "SECONDS", default_value = "0.8", value_parser = seconds)]
    pub seconds: Duration,
}

impl Load {
    /// Of so many latencies of a task one is taken: where requests are pipelined, reading the clock for each would cost
    /// more than some peers' work.
    pub fn sampling(&self) -> u64 {
        let is_pipelined = matches!(self.shape, Shape::S2 | Shape::S3) && self.outstanding > 1;
        if is_pipelined { 16 } else { 1 }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shape {
    /// One small request after the other
    S1,
    /// Many small requests on one connection
    S2,
    /// Many small requests on many connections
    S3,
    /// Texts of 1 MiB
    S4,
    /// Connections that do nothing
    S5,
    /// Bursts of small requests, with pauses
    S6,
}

/// The runtime of a program.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Flavor {
    /// tokio on one thread
    Current,
    /// tokio on two threads
    Multi,
    /// actix's own, where the program has it
    Actix,
}

/// The threads of [`Flavor::Multi`].
const THREADS: usize = 2;

/// Reads the command line, or ends the process with what is wrong with it.
pub fn command() -> Command {
    Command::parse()
}

/// Runs a program's future on a tokio runtime. `spawn_local` works in it.
///
/// # Errors
/// What the future says; and [`Flavor::Actix`], which a program has to bring along.
pub fn run(flavor: Flavor, future: impl Future<Output = Result<()>>) -> Result<()> {
    let mut builder = match flavor {
        Flavor::Current => tokio::runtime::Builder::new_current_thread(),
        Flavor::Multi => tokio::runtime::Builder::new_multi_thread(),
        Flavor::Actix => bail!("this program does not run on actix"),
    };
    let runtime = builder.worker_threads(THREADS).enable_all().build().context("no runtime")?;
    let outcome = LocalSet::new().block_on(&runtime, future);
    // What still runs is the load's own, and the process ends now.
    runtime.shutdown_background();
    outcome
}

fn seconds(text: &str) -> Result<Duration> {
    Duration::try_from_secs_f64(text.parse()?).context("seconds, as 0.8")
}
