//! The flags of the example servers.

use std::fmt::{self, Display};
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};
use socketproto::{Error, Level, Result, Secret, Server, ServerBuilder};
use tracing_subscriber::EnvFilter;

/// Where a program looks for the secret that no flag names.
const SECRET_VARIABLE: &str = "SOCKETPROTO_SECRET";

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
    /// What clients have to prove.
    #[command(flatten)]
    pub secret: SecretFlags,
    /// How clients prove it; legacy is taken beside secure
    #[arg(long, value_enum, default_value_t = Security::Secure)]
    pub security: Security,
    /// A secret of their own for clients of the Python library, with `--security legacy`; see the note at --secret
    #[arg(long, value_name = "TEXT", group = "legacy")]
    pub legacy_secret: Option<HiddenText>,
    /// The environment variable that holds it
    #[arg(long, value_name = "NAME", group = "legacy")]
    pub legacy_secret_env: Option<String>,
    /// The name of the channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Spreads connections over so many threads, 1 to 1024
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<usize>,
}

/// What both sides prove.
#[derive(Args, Debug)]
pub struct SecretFlags {
    /// The secret that both sides know: `keygen` makes one. Others on this machine can see the arguments of a program, so an
    /// environment variable is better: `SOCKETPROTO_SECRET` is taken where no flag names a secret
    #[arg(long = "secret", value_name = "TEXT", group = "of_both")]
    pub text: Option<HiddenText>,
    /// The environment variable that holds it
    #[arg(long = "secret-env", value_name = "NAME", group = "of_both")]
    pub variable: Option<String>,
    /// The key id of the secret, up to 64 bytes, where it has one; it is no secret
    #[arg(long, value_name = "TEXT")]
    pub kid: Option<String>,
    /// Takes a secret that could be found by trying: a word, or a sentence together with `--security legacy`
    #[arg(long)]
    pub allow_weak_secret: bool,
}

impl SecretFlags {
    /// The secret that they mean, if any.
    ///
    /// # Errors
    /// Where it is none: empty, or its variable is not set.
    pub fn secret(&self) -> Result<Option<Secret>> {
        let named = named(self.text.as_ref(), self.variable.as_deref())?;
        let secret = match named {
            None if std::env::var_os(SECRET_VARIABLE).is_some() => Some(Secret::from_env(SECRET_VARIABLE)?),
            named => named,
        };
        match (secret, &self.kid) {
            (Some(secret), Some(kid)) => secret.with_kid(kid).map(Some),
            (None, Some(_)) => Err(Error::Config {
                setting: "--kid",
                reason: "there is no secret that it could name".into(),
            }),
            (secret, None) => Ok(secret),
        }
    }
}

fn named(text: Option<&HiddenText>, variable: Option<&str>) -> Result<Option<Secret>> {
    match (text, variable) {
        (Some(text), _) => Secret::from_text(text.as_str()).map(Some),
        (None, Some(variable)) => Secret::from_env(variable).map(Some),
        (None, None) => Ok(None),
    }
}

/// A text that does not show.
#[derive(Clone)]
pub struct HiddenText(String);

impl HiddenText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for HiddenText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenText(..)")
    }
}

/// How a secret is proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Security {
    /// Both sides prove it, and everything is encrypted
    Secure,
    /// As the Python library does: the server proves nothing, everything is in clear and can be changed on its way, and one
    /// login that was listened to can be searched for the secret
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
    /// Where a secret is none, or would never be asked for.
    pub fn server(self) -> Result<ServerBuilder> {
        let legacy = self.security == Security::Legacy;
        let mut server =
            Server::bind(self.listen).websocket(self.websocket).allowed_origins(self.allow_origin);
        let legacy_secret = named(self.legacy_secret.as_ref(), self.legacy_secret_env.as_deref())?;
        let secret = self.secret.secret()?;
        if legacy_secret.is_some() && !legacy {
            let reason = "nobody could prove it without `--security legacy`";
            return Err(Error::Config { setting: "--legacy-secret", reason: reason.into() });
        }
        let accepts = legacy && (secret.is_some() || legacy_secret.is_some());
        server = server.accept_legacy(accepts).allow_weak_secret(self.secret.allow_weak_secret);
        if let Some(secret) = secret {
            server = server.secret(secret);
        }
        if let Some(secret) = legacy_secret {
            server = server.legacy_secret(secret);
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
            eprintln!("{error}{}", by_flags(&error));
            ExitCode::FAILURE
        }
    }
}

/// What an error means for who gives flags, where it speaks to who writes programs.
fn by_flags(error: &Error) -> &'static str {
    match error {
        Error::Config { setting: "secret", .. } => {
            " (here: the example `keygen` makes one, `--allow-weak-secret` takes weak ones)"
        }
        Error::PeerCanDoSecure { .. } => " (here: without `--security legacy`)",
        _ => "",
    }
}
