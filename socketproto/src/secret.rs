//! The shared secret.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fmt;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::Level;
use crate::secure::MAX_KID;
#[cfg(feature = "secure")]
use crate::secure::Material;

/// Random bytes of a generated secret, as in the seed library's advice.
const GENERATED_BYTES: usize = 24;

/// The fewest bytes of a secret that nobody can guess (protocol.md section 5).
const MIN_BYTES: usize = 16;

/// The fewest characters of a passphrase: each guess takes a while, and still there may be many.
const MIN_PASSPHRASE: usize = 12;

/// What both sides know and nobody else: the proof of who they are.
///
/// | text or bytes | is |
/// | --- | --- |
/// | 32 or more hex digits, an even number | *generated*: random bytes that nobody can guess |
/// | bytes, 16 or more ([`Secret::from_bytes`]) | the same |
/// | any other text | a *passphrase*: 12 characters or more, for secure mode alone, unless `allow_weak_secret(true)` is said |
///
/// It never shows in logs or `Debug` output, and its memory is overwritten when it is dropped.
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
pub struct Secret {
    /// As it was given, or hex digits of bytes.
    text: Zeroizing<String>,
    /// The random bytes; none of a passphrase.
    generated: Option<Zeroizing<Vec<u8>>>,
    /// Whether bytes were given.
    is_bytes: bool,
    kid: Arc<str>,
}

impl Secret {
    /// Takes a text as it is. Legacy authentication hashes it so, secure mode the bytes that hex digits stand for
    /// (protocol.md section 5).
    ///
    /// # Errors
    /// [`Error::Config`] where the text is empty or ends in a line break, as that of a file may.
    pub fn from_text(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(config("it is empty; make one with `Secret::generate()`"));
        }
        if text.ends_with(['\n', '\r']) {
            return Err(config("it ends in a line break; trim what was read from a file"));
        }
        let generated = hex::decode(text.as_str()).ok().filter(|bytes| bytes.len() >= MIN_BYTES);
        Ok(Self { text, generated: generated.map(Zeroizing::new), is_bytes: false, kid: "".into() })
    }

    /// Takes random bytes, 16 or more.
    ///
    /// # Errors
    /// [`Error::Config`] where there are fewer.
    ///
    /// ```
    /// use socketproto::Secret;
    ///
    /// let error = Secret::from_bytes(*b"too short").unwrap_err();
    /// assert_eq!(error.to_string(), "secret: 9 bytes are fewer than 16, and could be guessed");
    /// ```
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        if bytes.len() < MIN_BYTES {
            return Err(config(format!(
                "{} bytes are fewer than {MIN_BYTES}, and could be guessed",
                bytes.len()
            )));
        }
        let generated = Some(Zeroizing::new(bytes.to_vec()));
        Ok(Self { text: Zeroizing::new(hex::encode(bytes)), generated, is_bytes: true, kid: "".into() })
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
        Self::from_text(random_hex::<GENERATED_BYTES>()?)
    }

    /// Names it: the key id (kid) by which a client says which of a server's secrets it means, so that one can take the place
    /// of another while both are known. It is sent in clear. Without one it is empty.
    ///
    /// # Errors
    /// [`Error::Config`] where it has more than 64 bytes.
    ///
    /// ```
    /// use socketproto::{Secret, Server};
    ///
    /// # async fn demo(old: Secret) -> socketproto::Result<()> {
    /// // Clients take the new one in their own time.
    /// let server = Server::bind("tcp://127.0.0.1:0")
    ///     .secret(Secret::generate()?.with_kid("2027")?)
    ///     .further_secret(old.with_kid("2026")?)
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn with_kid(mut self, kid: &str) -> Result<Self> {
        if kid.len() > MAX_KID {
            let reason = format!("{} bytes exceed {MAX_KID}", kid.len());
            return Err(Error::Config { setting: "kid", reason: reason.into() });
        }
        self.kid = kid.into();
        Ok(self)
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The text, to be stored or shown to the one who sets up the other side; of bytes their hex digits, which mean the same
    /// in secure mode.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether it is a passphrase: a text that somebody made up, so that it can be searched for.
    pub fn is_passphrase(&self) -> bool {
        self.generated.is_none()
    }

    /// What Legacy authentication hashes.
    pub(crate) fn legacy_bytes(&self) -> &[u8] {
        match &self.generated {
            Some(bytes) if self.is_bytes => bytes,
            _ => self.text.as_bytes(),
        }
    }

    /// What secure mode derives its key from.
    #[cfg(feature = "secure")]
    pub(crate) fn material(&self) -> Material<'_> {
        match &self.generated {
            Some(bytes) => Material::Generated(bytes),
            None => Material::Passphrase(&self.text),
        }
    }

    /// Whether it is strong enough for a level, which servers and clients check themselves.
    ///
    /// # Errors
    /// [`Error::Config`] where it is not, with what could be done to it, and the remedy.
    ///
    /// ```
    /// use socketproto::{Level, Secret};
    ///
    /// let passphrase = Secret::from_text("correct horse battery")?;
    /// assert!(passphrase.check(Level::Secure).is_ok());
    /// assert!(passphrase.check(Level::Legacy).is_err());
    /// # Ok::<(), socketproto::Error>(())
    /// ```
    pub fn check(&self, level: Level) -> Result<()> {
        const REMEDY: &str = "take `Secret::generate()`, or accept that with `.allow_weak_secret(true)`";
        let characters = self.text.chars().count();
        if !self.is_passphrase() {
            return Ok(());
        }
        if level == Level::Legacy {
            return Err(config(format!(
                "a passphrase together with Legacy can be searched by whoever listens to one login, billions of tries a \
                 second; {REMEDY}"
            )));
        }
        if characters < MIN_PASSPHRASE {
            return Err(config(format!(
                "a passphrase of {characters} characters is shorter than {MIN_PASSPHRASE}, and could be found by trying; {REMEDY}"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// This many random bytes of the operating system, as lower-case hex digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    Ok(hex::encode(*random::<BYTES>()?))
}

/// This many random bytes of the operating system.
pub(crate) fn random<const BYTES: usize>() -> Result<Zeroizing<[u8; BYTES]>> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(|error| Error::Random(error.to_string().into()))?;
    Ok(bytes)
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
    fn a_secret_is_weak_where_it_can_be_guessed() {
        let secret = |text: &str| Secret::from_text(text).unwrap();
        let random = "0123456789abcdef0123456789ABCDEF";
        assert!(secret(random).check(Level::Legacy).is_ok());
        assert!(Secret::from_bytes([7; 16]).unwrap().check(Level::Legacy).is_ok());
        for (text, enough) in
            [(&random[1..], true), ("twelve chars", true), ("eleven char", false), ("pässwörd😀 12", true)]
        {
            assert!(secret(text).check(Level::Legacy).is_err(), "{text}");
            assert_eq!(secret(text).check(Level::Secure).is_ok(), enough, "{text}");
        }
        let error = secret("seven77").check(Level::Secure).unwrap_err().to_string();
        assert!(error.starts_with("secret: a passphrase of 7 characters is shorter than 12"), "{error}");
        let error = secret("correct horse battery").check(Level::Legacy).unwrap_err().to_string();
        assert!(error.starts_with("secret: a passphrase together with Legacy can be searched"), "{error}");
    }

    #[test]
    fn bytes_and_their_hex_digits_differ_in_legacy_alone() {
        let bytes = Secret::from_bytes([0xAB; 16]).unwrap();
        let digits = Secret::from_text(bytes.reveal()).unwrap();
        assert_eq!(bytes.legacy_bytes(), [0xAB; 16]);
        assert_eq!(digits.legacy_bytes(), "ab".repeat(16).as_bytes());
        assert_eq!(bytes.generated, digits.generated);
    }

    #[test]
    fn the_line_break_of_a_file_is_no_part_of_a_secret() {
        for text in ["abc\n", "abc\r\n", "\n"] {
            assert!(Secret::from_text(text).unwrap_err().to_string().contains("trim"), "{text:?}");
        }
    }

    #[test]
    fn a_key_id_is_short() {
        let secret = Secret::generate().unwrap();
        assert_eq!(secret.clone().with_kid(&"k".repeat(64)).unwrap().kid().len(), 64);
        let error = secret.with_kid(&"k".repeat(65)).unwrap_err();
        assert_eq!(error.to_string(), "kid: 65 bytes exceed 64");
    }

    #[test]
    fn generated_secrets_differ() {
        assert_ne!(Secret::generate().unwrap().reveal(), Secret::generate().unwrap().reveal());
    }
}
