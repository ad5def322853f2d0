//! Certificates made for a test.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use socketproto::{ClientTls, ServerTls};
use tempfile::TempDir;

/// An authority, and settings of a server with a certificate for `localhost` from it.
pub(crate) fn localhost() -> (Authority, ServerTls) {
    let authority = Authority::new("authority");
    let server = authority.server(["localhost"]).server_tls();
    (authority, server)
}

/// What trusts one authority, and expects `localhost`.
pub(crate) fn trusting(authority: &Authority) -> ClientTls {
    ClientTls::new()
        .ca_pem(authority.pem())
        .and_then(|tls| tls.server_name("localhost"))
        .expect("a certificate")
}

/// A certificate with its chain, and its key.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Made {
    pub(crate) fn server_tls(&self) -> ServerTls {
        ServerTls::from_pem(self.chain.as_str(), self.key.as_str()).expect("a certificate and its key")
    }

    /// The same settings, with this certificate to show.
    pub(crate) fn shown_by(&self, tls: ClientTls) -> ClientTls {
        tls.identity_pem(self.chain.as_str(), self.key.as_str()).expect("a certificate and its key")
    }
}

/// Who issues certificates; below others, or a root.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate and those above it, without the root.
    chain: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(name), key()).expect("a certificate");
        Self { issuer, chain: String::new() }
    }

    /// One whose certificate is issued by this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let issuer = CertifiedIssuer::signed_by(authority(name), key(), &self.issuer).expect("a certificate");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for these names.
    pub(crate) fn issue<const N: usize>(
        &self,
        names: [&str; N],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Made {
        let mut params = params(names);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = key();
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        Made {
            chain: format!("{}{}", made.pem(), self.chain),
            key: key.serialize_pem(),
            der: made.der().to_vec(),
        }
    }

    pub(crate) fn server<const N: usize>(&self, names: [&str; N]) -> Made {
        self.issue(names, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    pub(crate) fn client(&self, name: &str) -> Made {
        self.issue([name], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
    }
}

/// A certificate that nobody but itself has issued.
pub(crate) fn self_signed<const N: usize>(
    names: [&str; N],
    change: impl FnOnce(&mut CertificateParams),
) -> Made {
    let mut params = params(names);
    change(&mut params);
    let key = key();
    let made = params.self_signed(&key).expect("a certificate");
    Made { chain: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("random numbers")
}

fn params<const N: usize>(names: [&str; N]) -> CertificateParams {
    CertificateParams::new(names.map(str::to_owned)).expect("names")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params([]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A folder of its own, gone at the end.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for what is temporary"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a folder that can be written");
        path
    }
}
