//! How the two ends are connected.

use anyhow::{Result, bail};
use socketproto::Secret;

#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub line: Line,
    /// Large texts pass undecoded.
    pub is_json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line {
    Length,
    Stp,
    Unix,
    Tls,
    Secure,
}

impl Variant {
    /// # Errors
    /// For a name that is none.
    pub fn parse(name: &str) -> Result<Self> {
        let (line, is_json) = name.strip_suffix("-json").map_or((name, false), |line| (line, true));
        let line = match line {
            "length" | "default" => Line::Length,
            "stp" => Line::Stp,
            "unix" => Line::Unix,
            "tls" => Line::Tls,
            "secure" => Line::Secure,
            _ => bail!("the variants are length, stp, unix, tls and secure, each with -json or without"),
        };
        Ok(Self { line, is_json })
    }
}

/// What both ends know.
///
/// # Errors
/// Where the library refuses it.
pub fn secret() -> Result<Secret> {
    Ok(Secret::from_text("0f1e2d3c4b5a69788796a5b4c3d2e1f0")?)
}
