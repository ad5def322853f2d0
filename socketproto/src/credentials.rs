//! What an endpoint proves itself by, and how: secrets, levels, and whether they go together (protocol.md section 5).

use crate::error::{Error, Result};
use crate::id::Level;
use crate::secret::Secret;
use crate::session::Role;
use crate::transport::Options;

/// What a builder was told of secrets.
#[derive(Default)]
pub(crate) struct Credentials {
    pub(crate) secret: Option<Secret>,
    /// Server: others, each under a key id of its own.
    pub(crate) further: Vec<Secret>,
    /// Server: what old peers prove instead.
    pub(crate) legacy_secret: Option<Secret>,
    /// Server: whether Legacy is taken beside secure mode.
    pub(crate) accept_legacy: bool,
    /// Client: which of both is spoken.
    pub(crate) level: Option<Level>,
    pub(crate) allow_weak_secret: bool,
    pub(crate) ignore_sentinel: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Levels {
    pub(crate) secure: bool,
    pub(crate) legacy: bool,
}

/// The secrets of an endpoint that has some.
pub(crate) struct Secrets {
    /// What is hashed in Legacy.
    pub(crate) legacy: Secret,
    /// What secure mode derives its keys from: a client's own, or all that a server takes.
    pub(crate) secure: Vec<Secret>,
}

impl Credentials {
    /// Whether peers have to be authenticated.
    pub(crate) fn is_some(&self) -> bool {
        self.secret.is_some() || self.legacy_secret.is_some()
    }

    /// Which levels are spoken.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that do not go together, and secrets too weak for them.
    pub(crate) fn levels(&self, role: Role, options: &Options) -> Result<Levels> {
        let old_peer = options.old_peer;
        let legacy = match role {
            Role::Client if self.level == Some(Level::Secure) && old_peer => {
                return Err(config("level", "an old peer does not know secure mode"));
            }
            Role::Client => old_peer || self.level == Some(Level::Legacy),
            Role::Server => old_peer || self.accept_legacy,
        };
        if self.legacy_secret.is_some() && !legacy {
            return Err(config("legacy_secret", "nobody could prove it without `.accept_legacy(true)`"));
        }
        let Some(secret) = &self.secret else {
            return match (self.further.is_empty(), &self.legacy_secret) {
                (false, _) => Err(config("further_secret", "there is no first one, `.secret(..)`")),
                (true, Some(legacy_secret)) => {
                    self.check(legacy_secret, true)?;
                    Ok(Levels { secure: false, legacy })
                }
                (true, None) => Ok(Levels { secure: false, legacy: false }),
            };
        };
        let secure = role == Role::Server || !legacy;
        if secure && !cfg!(feature = "secure") && !legacy {
            let remedy = match role {
                Role::Client => "`.level(Level::Legacy)`",
                Role::Server => "`.accept_legacy(true)`",
            };
            let reason = format!("secure mode needs the feature `secure`; without it, say {remedy}");
            return Err(config("secret", reason));
        }
        self.check(secret, legacy && self.legacy_secret.is_none())?;
        if let Some(legacy_secret) = &self.legacy_secret {
            self.check(legacy_secret, true)?;
        }
        for (index, further) in self.further.iter().enumerate() {
            self.check(further, false)?;
            let mut before = self.further.iter().take(index).chain([secret]);
            if before.any(|before| before.kid() == further.kid()) {
                let reason =
                    format!("two secrets have the key id {:?}; tell them apart by `with_kid`", further.kid());
                return Err(config("further_secret", reason));
            }
        }
        Ok(Levels { secure: secure && cfg!(feature = "secure"), legacy })
    }

    fn check(&self, secret: &Secret, legacy: bool) -> Result<()> {
        let level = if legacy { Level::Legacy } else { Level::Secure };
        if self.allow_weak_secret { Ok(()) } else { secret.check(level) }
    }

    /// The secrets that these levels need; none where there are none.
    pub(crate) fn into_secrets(self, levels: Levels) -> Option<Secrets> {
        let legacy = self.legacy_secret.or_else(|| self.secret.clone())?;
        let secure =
            if levels.secure { self.secret.into_iter().chain(self.further).collect() } else { Vec::new() };
        Some(Secrets { legacy, secure })
    }
}

fn config(setting: &'static str, reason: impl Into<Box<str>>) -> Error {
    Error::Config { setting, reason: reason.into() }
}

#[cfg(all(test, feature = "secure"))]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::from_text(text).unwrap())
    }

    fn generated() -> Option<Secret> {
        secret("000102030405060708090a0b0c0d0e0f")
    }

    #[track_caller]
    fn check(role: Role, credentials: Credentials, expected: Result<(bool, bool), &str>) {
        let levels = credentials.levels(role, &Options::default());
        match expected {
            Ok((secure, legacy)) => assert_eq!(levels.unwrap(), Levels { secure, legacy }),
            Err(part) => {
                let error = levels.unwrap_err().to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn secure_mode_is_what_a_secret_means() {
        let with = |secret| Credentials { secret, ..Credentials::default() };
        for role in [Role::Client, Role::Server] {
            check(role, with(None), Ok((false, false)));
            check(role, with(generated()), Ok((true, false)));
            check(role, with(secret("a passphrase")), Ok((true, false)));
            check(role, with(secret("a password")), Err("shorter than 12"));
        }
    }

    #[test]
    fn a_client_speaks_one_level_and_a_server_takes_both_where_it_is_told_to() {
        let client = |level, secret| Credentials { secret, level: Some(level), ..Credentials::default() };
        check(Role::Client, client(Level::Legacy, generated()), Ok((false, true)));
        check(Role::Client, client(Level::Secure, generated()), Ok((true, false)));
        check(Role::Client, client(Level::Legacy, secret("a long passphrase")), Err("allow_weak_secret"));
        let server = |secret, legacy_secret| Credentials {
            secret,
            legacy_secret,
            accept_legacy: true,
            ..Credentials::default()
        };
        check(Role::Server, server(generated(), None), Ok((true, true)));
        check(Role::Server, server(None, generated()), Ok((false, true)));
        check(Role::Server, server(secret("a long passphrase"), None), Err("together with Legacy"));
        check(Role::Server, server(secret("a long passphrase"), generated()), Ok((true, true)));
        check(Role::Server, server(generated(), secret("a long passphrase")), Err("together with Legacy"));
        let weak = Credentials { allow_weak_secret: true, ..server(secret("word"), None) };
        check(Role::Server, weak, Ok((true, true)));
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let legacy_secret = Credentials { legacy_secret: generated(), ..Credentials::default() };
        check(Role::Server, legacy_secret, Err("accept_legacy(true)"));
        let further = Credentials { further: vec![generated().unwrap()], ..Credentials::default() };
        check(Role::Server, further, Err("no first one"));
        let twice = Credentials {
            secret: generated(),
            further: vec![generated().unwrap()],
            ..Credentials::default()
        };
        check(Role::Server, twice, Err("the key id \"\""));
    }
}
