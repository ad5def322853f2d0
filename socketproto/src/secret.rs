//! The shared secret.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fmt;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Random bytes of a generated secret, as in the seed library's advice.
const GENERATED_BYTES: usize = 24;

/// What both sides know and nobody else: the proof of who they are.
///
/// It never shows in logs or `Debug` output, and its memory is overwritten when it is dropped. Legacy authentication
/// lets anyone who records one login try guesses offline, at billions a second: use a generated secret, not a word.
///
/// ```
/// use socketproto::Secret;
///
/// let secret = Secret::generate()?;
/// assert_eq!(secret.reveal().len(), 48);
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// # Ok::<(), socketproto::Error>(())
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as it is; hex digits are not decoded (protocol.md 5.1).
    ///
    /// # Errors
    /// [`Error::Config`] where the text is empty.
    pub fn from_text(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(config("it is empty; make one with `Secret::generate()`"));
        }
        Ok(Self(text))
    }

    /// Takes the text of an environment variable.
    ///
    /// # Errors
    /// [`Error::Config`] where the variable is missing, empty or no Unicode.
    ///
    /// ```
    /// use socketproto::Secret;
    ///
    /// let error = Secret::from_env("SOCKETPROTO_NO_SUCH_VARIABLE").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "secret: the environment variable SOCKETPROTO_NO_SUCH_VARIABLE is not set"
    /// );
    /// ```
    pub fn from_env(variable: &str) -> Result<Self> {
        match std::env::var(variable) {
            Ok(text) if !text.is_empty() => Self::from_text(text),
            Ok(_) => Err(config(format!("the environment variable {variable} is empty"))),
            Err(std::env::VarError::NotPresent) => {
                Err(config(format!("the environment variable {variable} is not set")))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(config(format!("the environment variable {variable} is not valid Unicode")))
            }
        }
    }

    /// Makes a new one: 24 random bytes as 48 hex digits.
    ///
    /// # Errors
    /// [`Error::Random`] where the operating system gives no random numbers.
    pub fn generate() -> Result<Self> {
        Ok(Self(Zeroizing::new(random_hex::<GENERATED_BYTES>()?)))
    }

    /// The text, to be stored or shown to the one who sets up the other side.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// This many random bytes of the operating system, as lower-case hex digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Random(error.to_string().into()))?;
    Ok(hex::encode(bytes))
}

fn config(reason: impl Into<String>) -> Error {
    Error::Config { setting: "secret", reason: reason.into().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_is_refused() {
        let error = Secret::from_text("").unwrap_err();
        assert_eq!(error.to_string(), "secret: it is empty; make one with `Secret::generate()`");
    }

    #[test]
    fn generated_secrets_differ() {
        assert_ne!(Secret::generate().unwrap().reveal(), Secret::generate().unwrap().reveal());
    }
}
