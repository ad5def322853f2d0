//! The `nats-server` process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Large enough for a text of 1 MiB, and for many that wait for one receiver.
const LIMITS: &str = "max_payload: 8388608\nmax_pending: 536870912\n";
/// The line of the log that says where clients connect.
const LISTENING: &str = "Listening for client connections on ";
/// The last line of the log before clients are served.
const READY: &str = "Server is ready";

/// A broker, which ends with this value.
pub struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    /// Starts a broker at an address whose port may be 0.
    pub fn start(at: &str) -> Result<Self> {
        let at: SocketAddr =
            at.parse().with_context(|| format!("{at} is not an address such as 127.0.0.1:0"))?;
        // The broker's 0 is its default port, and its -1 a free one.
        let port = if at.port() == 0 { -1 } else { i32::from(at.port()) };
        let process = Command::new("nats-server")
            .args(["--config", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("nats-server does not start; is it installed?")?;
        let mut broker = Self { process, address: String::new() };
        let mut config = broker.process.stdin.take().context("the broker has no stdin")?;
        write!(config, "host: \"{}\"\nport: {port}\n{LIMITS}", at.ip())?;
        drop(config);
        let log = broker.process.stderr.take().context("the broker has no stderr")?;
        broker.wait_until_ready(BufReader::new(log).lines())?;
        Ok(broker)
    }

    fn wait_until_ready(
        &mut self,
        mut log: impl Iterator<Item = std::io::Result<String>> + Send + 'static,
    ) -> Result<()> {
        let mut said = String::new();
        for line in log.by_ref() {
            let line = line?;
            if let Some((_, address)) = line.split_once(LISTENING) {
                self.address = address.to_owned();
            }
            if line.ends_with(READY) {
                // Its log is read on: a full pipe would hold the broker up.
                thread::spawn(move || log.for_each(drop));
                return Ok(());
            }
            said.push_str(&line);
            said.push('\n');
        }
        bail!("nats-server ended before it was ready:\n{said}");
    }

    /// Where clients connect.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
