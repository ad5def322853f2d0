//! A certificate for servers that speak TLS.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

/// A certificate of 127.0.0.1 that signs itself. Its file, which clients trust, is gone when this is dropped.
#[derive(Debug)]
pub struct Certificate {
    _folder: TempDir,
    path: PathBuf,
    pub certificate: String,
    pub key: String,
}

impl Certificate {
    /// # Errors
    /// Where no file can be written.
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("certificate.pem");
        fs::write(&path, &certificate)?;
        Ok(Self { _folder: folder, path, certificate, key })
    }

    /// An address with the certificate behind it, for [`Certificate::of`].
    pub fn address(&self, address: &str) -> String {
        format!("{address}#{}", self.path.display())
    }

    /// The address, and the file of the certificate behind it, where there is one.
    pub fn of(address: &str) -> (&str, Option<&Path>) {
        address.split_once('#').map_or((address, None), |(address, path)| (address, Some(Path::new(path))))
    }
}
