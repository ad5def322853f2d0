//! Which loop, and how it is changed.

use anyhow::{Result, bail, ensure};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Variant {
    /// Frames are not looked at.
    Blind,
    /// Blocking sockets.
    Threads,
    Parsed(Parsed),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parsed {
    pub has_ids: bool,
    pub is_stuffed: bool,
    pub line: Line,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Line {
    #[default]
    Tcp,
    Tls,
    Unix,
}

impl Variant {
    /// # Errors
    /// For a name that is none.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "a" => return Ok(Self::Blind),
            "threads" => return Ok(Self::Threads),
            _ => {}
        }
        let mut words = name.split('-');
        ensure!(
            words.next() == Some("b"),
            "the variants are a, threads, and b with -id, -stp, -tls or -unix"
        );
        let mut parsed = Parsed::default();
        for word in words {
            match word {
                "id" => parsed.has_ids = true,
                "stp" => parsed.is_stuffed = true,
                "tls" => parsed.line = Line::Tls,
                "unix" => parsed.line = Line::Unix,
                _ => bail!("`{word}` changes nothing: -id, -stp, -tls and -unix do"),
            }
        }
        Ok(Self::Parsed(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_together() {
        let all = Parsed { has_ids: true, is_stuffed: true, line: Line::Tls };
        assert_eq!(Variant::parse("b-id-stp-tls").unwrap(), Variant::Parsed(all));
        assert_eq!(Variant::parse("b").unwrap(), Variant::Parsed(Parsed::default()));
        assert!(Variant::parse("b-x").is_err() && Variant::parse("c").is_err());
    }
}
