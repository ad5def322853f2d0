//! The flags of the example servers.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use socketproto::{Level, Result, Secret, Server, ServerBuilder};
use tracing_subscriber::EnvFilter;

/// How a server is run.
#[derive(Debug, Parser)]
pub struct ServerFlags {
    /// Where to listen: tcp://HOST:PORT or ws://HOST:PORT, port 0 for a free one; `unix:///PATH`; `systemd://`
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:0")]
    pub listen: String,
    /// Takes WebSocket clients too
    #[arg(long)]
    pub websocket: bool,
    /// A web page's origin that may connect by WebSocket, as `http://127.0.0.1:8000`; may be given again
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// The secret that clients have to prove
    #[arg(long, value_name = "TEXT")]
    pub secret: Option<String>,
    /// How clients prove it: legacy takes clients of the Python library too
    #[arg(long, value_enum, default_value_t = Security::Secure)]
    pub security: Security,
    /// Takes a secret that could be found by trying: a word, or a sentence together with `--security legacy`
    #[arg(long)]
    pub allow_weak_secret: bool,
    /// The name of the channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Spreads connections over so many threads, 1 to 1024
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<usize>,
}

/// How clients prove the secret.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Security {
    /// Both sides prove it, and everything is encrypted
    Secure,
    /// Challenge and response over an open line
    Legacy,
}

impl From<Security> for Level {
    fn from(security: Security) -> Self {
        match security {
            Security::Secure => Self::Secure,
            Security::Legacy => Self::Legacy,
        }
    }
}

impl ServerFlags {
    /// A server as the flags say.
    ///
    /// # Errors
    /// Where the secret is empty.
    pub fn server(self) -> Result<ServerBuilder> {
        let mut server =
            Server::bind(self.listen).websocket(self.websocket).allowed_origins(self.allow_origin);
        if let Some(secret) = self.secret {
            server = server
                .secret(Secret::from_text(secret)?)
                .accept_legacy(matches!(self.security, Security::Legacy))
                .allow_weak_secret(self.allow_weak_secret);
        }
        if let Some(channel) = self.channel {
            server = server.channel_name(channel);
        }
        if let Some(workers) = self.workers {
            server = server.workers(workers);
        }
        Ok(server)
    }
}

/// Logs go to stderr; `RUST_LOG=debug` shows more of them.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Shows a line. Where nobody reads it, as behind `| head -1`, the program goes on with its work; `println!` would
/// panic.
pub fn show(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How a program ends: an error is one sentence on stderr.
pub fn finish(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
