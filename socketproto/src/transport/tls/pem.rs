//! Certificates and keys as PEM text.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys, RootCertStore};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Where PEM text comes from.
#[derive(Clone)]
pub(super) enum Pem {
    /// It can be read again.
    File(PathBuf),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl Pem {
    pub(super) fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        // A program may change its folder before it reads the file again.
        Self::File(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }

    pub(super) fn bytes(pem: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Arc::new(Zeroizing::new(pem.into())))
    }

    fn read(&self) -> Result<Arc<Zeroizing<Vec<u8>>>> {
        match self {
            Self::File(path) => match fs::read(path) {
                Ok(text) => Ok(Arc::new(Zeroizing::new(text))),
                Err(error) => Err(mistake(format!("{self} cannot be read: {error}"))),
            },
            Self::Bytes(text) => Ok(Arc::clone(text)),
        }
    }

    /// All certificates in it; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let text = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|error| self.unreadable(&error))?;
        if certificates.is_empty() {
            return Err(mistake(format!(
                "{self} holds no certificate; what is expected begins with -----BEGIN CERTIFICATE-----"
            )));
        }
        Ok(certificates)
    }

    /// The first key in it.
    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            // What is encrypted in the old way is no base64 to begin with.
            _ if is_encrypted(&text) => mistake(format!(
                "the private key in {self} is encrypted; decrypt it with `openssl pkey -in ENCRYPTED -out PLAIN`"
            )),
            PemError::NoItemsFound => mistake(format!(
                "{self} holds no private key; what is expected begins with -----BEGIN PRIVATE KEY-----"
            )),
            error => self.unreadable(&error),
        })
    }

    fn unreadable(&self, error: &PemError) -> Error {
        mistake(format!("{self} is no PEM text: {error}"))
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Bytes(_) => f.write_str("the PEM text"),
        }
    }
}

/// The text itself may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    text.windows(9).any(|window| window == b"ENCRYPTED")
}

/// A certificate with its chain, and its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

impl Identity {
    /// Reads both, and sees whether they belong together.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<SingleCertAndKey>> {
        let Self { chain, key } = self;
        let certified = CertifiedKey::from_der(chain.certificates()?, key.key()?, provider);
        let certified = certified.map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => mistake(format!(
                "the key in {key} is not that of the first certificate in {chain}; the certificate that the key belongs \
                 to stands first, then those of its authorities"
            )),
            TlsError::InvalidCertificate(error) => mistake(format!("the certificate in {chain} is none: {error}")),
            error => mistake(format!("the key in {key} cannot be used: {error}")),
        })?;
        Ok(Arc::new(certified.into()))
    }
}

/// The authorities in all of these.
pub(super) fn authorities(sources: &[Pem]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for source in sources {
        for certificate in source.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| mistake(format!("a certificate in {source} is none: {error}")))?;
        }
    }
    Ok(roots)
}

/// What is wrong with the settings of TLS.
pub(super) fn mistake(reason: String) -> Error {
    Error::Config { setting: "tls", reason: reason.into() }
}
