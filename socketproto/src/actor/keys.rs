//! What the authenticator derives from secrets for secure mode (protocol.md 5.2).

#[cfg(feature = "secure")]
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::secret::Secret;
#[cfg(feature = "secure")]
use crate::secret::random;
#[cfg(feature = "secure")]
use crate::secure::{self, Psk};
use crate::secure::{Accepted, Channel, Initiator, Offer, Refused};

/// One key for each secret, by its key id.
#[derive(Default)]
pub(crate) struct Keys {
    #[cfg(feature = "secure")]
    keys: Vec<(Arc<str>, Psk)>,
}

#[cfg(feature = "secure")]
impl Keys {
    /// Derives them: slow where a secret is a passphrase.
    ///
    /// # Errors
    /// None that a secret can cause.
    pub(crate) fn derive(secrets: &[Secret]) -> Result<Self> {
        let derive = |secret: &Secret| {
            let key = secure::derive(secret.material(), secret.kid())
                .map_err(|_| Error::Config { setting: "secret", reason: "no key can be derived".into() })?;
            Ok((secret.kid().into(), key))
        };
        Ok(Self { keys: secrets.iter().map(derive).collect::<Result<_>>()? })
    }

    /// Whether there is no secure mode.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A client's handshake, with the first of the secrets.
    pub(super) fn offer(&self) -> Option<(Initiator, Offer)> {
        let (kid, key) = self.keys.first()?;
        secure::initiate(key, kid, random().ok()?).ok()
    }

    /// The answer to a client's handshake, unless it does not prove the secret that it names; one that nobody has takes as
    /// long as a wrong one. None where there are no random numbers.
    pub(super) fn accept(&self, offer: &Offer) -> Option<Result<Box<(Channel, Accepted)>, Refused>> {
        let nobodys = random().ok()?;
        let key = self.keys.iter().find(|(kid, _)| **kid == *offer.kid).map_or(&nobodys, |(_, key)| key);
        Some(secure::respond(key, offer, random().ok()?).map(Box::new))
    }
}

#[cfg(not(feature = "secure"))]
impl Keys {
    pub(crate) fn derive(_: &[Secret]) -> Result<Self> {
        Err(Error::Config { setting: "secret", reason: "secure mode needs the feature `secure`".into() })
    }

    pub(super) fn is_empty(&self) -> bool {
        true
    }

    pub(super) fn offer(&self) -> Option<(Initiator, Offer)> {
        None
    }

    pub(super) fn accept(&self, _: &Offer) -> Option<Result<Box<(Channel, Accepted)>, Refused>> {
        None
    }
}
