//! Makes a secret, or says what one is worth.
//!
//! `cargo run --example keygen`

use std::process::ExitCode;

use clap::Parser;
use socketproto::prelude::*;
use socketproto::{Error, Level};
use socketproto_examples::flags::{HiddenText, Security, finish, show};

/// Makes a secret for both sides: 24 random bytes as 48 hex digits, on stdout.
#[derive(Debug, Parser)]
#[command(
    after_help = "It ends with 0; with 1 where there is no secret, or the checked one is too weak for the level; \
                        with 2 where the flags are wrong."
)]
struct Flags {
    /// Makes none, but says what kind of secret a text is, and which levels it is strong enough for. Others on this machine
    /// can see the arguments of a program, so `-` is better: one line of stdin
    #[arg(long, value_name = "TEXT")]
    check: Option<HiddenText>,
    /// The level that the exit code of --check is for
    #[arg(long, value_enum, default_value_t = Security::Secure, requires = "check")]
    security: Security,
}

fn main() -> ExitCode {
    match Flags::parse() {
        Flags { check: None, .. } => finish(Secret::generate().map(|secret| show(secret.reveal()))),
        Flags { check: Some(text), security } => {
            match read(&text).and_then(|secret| check(&secret, security.into())) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => finish(Err(error)),
            }
        }
    }
}

fn read(text: &HiddenText) -> socketproto::Result<Secret> {
    if text.as_str() != "-" {
        return Secret::from_text(text.as_str());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Error::Config {
        setting: "secret",
        reason: format!("stdin cannot be read: {error}").into(),
    })?;
    Secret::from_text(line.trim_end_matches(['\r', '\n']))
}

/// Says what a secret is; true where it is strong enough for the level.
fn check(secret: &Secret, asked: Level) -> socketproto::Result<bool> {
    if secret.is_passphrase() {
        show(format_args!("a passphrase, {} characters", secret.reveal().chars().count()));
    } else {
        show(format_args!("generated, {} bytes", secret.reveal().len() / 2));
    }
    let mut enough = false;
    for level in [Level::Secure, Level::Legacy] {
        let outcome = secret.check(level);
        enough |= level == asked && outcome.is_ok();
        match outcome {
            Ok(()) => show(format_args!("{level}: strong enough")),
            Err(Error::Config { reason, .. }) => {
                // The remedy behind it is for who writes programs.
                let why = reason.split(';').next().unwrap_or_default();
                show(format_args!("{level}: too weak, {why}"));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(enough)
}
