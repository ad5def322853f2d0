//! A client's half of TLS.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Result;
use crate::transport::host::HostPort;
use crate::transport::tls::line::{Side, TlsLine, handshake_failed};
use crate::transport::tls::pem::{Identity, Pem, authorities, mistake};
use crate::transport::upgrade::{OpenTls, Raw, Upgrading};
use crate::transport::{Connect, Connected, tcp};

/// What a client takes and shows in TLS: whom it trusts to name servers, and its own certificate.
///
/// A server has to show a certificate for the name in the address (or [`server_name`](Self::server_name)) that one of
/// the authorities has issued and that is valid now; nothing switches that off. Who wants to take one certificate alone
/// gives it as [`ca_file`](Self::ca_file).
///
/// Clones mean the same settings: a program keeps one to [`reload`](Self::reload) them.
///
/// ```
/// use socketproto::{Client, ClientTls};
///
/// # async fn demo() -> socketproto::Result<()> {
/// let tls = ClientTls::new().ca_file("ca.pem")?.identity_files("client.pem", "client.key")?;
/// let client = Client::connect("tls://device.example:4000").tls(tls).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

struct Inner {
    source: Source,
    /// None until it is needed for the first time.
    current: RwLock<Option<Arc<ClientConfig>>>,
}

/// What the settings are made of.
#[derive(Clone, Debug, Default)]
struct Source {
    /// Where there is none: those of the web.
    ca: Vec<Pem>,
    identity: Option<Identity>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Trusts the authorities that browsers trust, as Mozilla lists them, and shows no certificate. It is what a client
    /// of `tls://` has without [`ClientBuilder::tls`](crate::ClientBuilder::tls).
    pub fn new() -> Self {
        Self(Arc::new(Inner { source: Source::default(), current: RwLock::default() }))
    }

    fn with(&self, change: impl FnOnce(&mut Source)) -> Result<Self> {
        let mut source = self.0.source.clone();
        change(&mut source);
        let current = RwLock::new(Some(source.load()?));
        Ok(Self(Arc::new(Inner { source, current })))
    }

    /// Trusts the authorities in this PEM file, and no others. A certificate that is no authority's stands for itself. A
    /// further file adds to them.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where the file cannot be read or holds no certificate.
    pub fn ca_file(self, path: impl AsRef<Path>) -> Result<Self> {
        self.with(|source| source.ca.push(Pem::file(path)))
    }

    /// The same with PEM text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where it holds no certificate.
    pub fn ca_pem(self, pem: impl Into<Vec<u8>>) -> Result<Self> {
        self.with(|source| source.ca.push(Pem::bytes(pem)))
    }

    /// Shows this certificate to servers that ask for one: its chain and its key, each a PEM file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where a file cannot be read or understood, or the key is another's.
    pub fn identity_files(self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (chain, key) = (Pem::file(chain), Pem::file(key));
        self.with(|source| source.identity = Some(Identity { chain, key }))
    }

    /// The same with PEM text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where it cannot be understood, or the key is another's.
    pub fn identity_pem(self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<Self> {
        let (chain, key) = (Pem::bytes(chain), Pem::bytes(key));
        self.with(|source| source.identity = Some(Identity { chain, key }))
    }

    /// The name, or IP address, that the server's certificate has to be for; unless said, it is the host of the
    /// address. It is never taken from the network.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for text that is neither.
    pub fn server_name(self, name: impl Into<String>) -> Result<Self> {
        let name = server_name(name.into())?;
        self.with(|source| source.server_name = Some(name))
    }

    /// Reads the files again: lines that are made from now on show and trust what is in them, the one that is there
    /// stays. It reads files, so it blocks for a moment.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where one of them is broken; then the old ones stay in force.
    pub fn reload(&self) -> Result<()> {
        let next = self.0.source.load()?;
        // A store is one step, so a poisoned lock holds sound settings.
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(())
    }

    fn current(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = &*self.0.current.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(config));
        }
        let config = self.0.source.load()?;
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(current.get_or_insert(config)))
    }

    /// The handshake on a stream of a test.
    #[cfg(test)]
    pub(super) async fn over(self, stream: tokio::io::DuplexStream) -> io::Result<Connected> {
        let name = self.0.source.server_name.clone().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(ToHost { tls: self, name }.open(Raw::new(stream, "tls://server".into())).await?.connected())
    }

    /// What encrypts the lines to a host.
    pub(crate) fn for_host(self, host: &str) -> Result<Arc<dyn OpenTls>> {
        // What is wrong is told at the start, not with each attempt.
        self.current()?;
        let name = match &self.0.source.server_name {
            Some(name) => name.clone(),
            None => server_name(host.to_owned())?,
        };
        Ok(Arc::new(ToHost { tls: self, name }))
    }
}

impl Source {
    fn load(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let roots = if self.ca.is_empty() {
            RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
        } else {
            authorities(&self.ca)?
        };
        let identity = self.identity.as_ref().map(|identity| identity.load(&provider)).transpose()?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| mistake(error.to_string()))?.with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(identity),
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn server_name(name: String) -> Result<ServerName<'static>> {
    ServerName::try_from(name.clone()).map_err(|_| {
        mistake(format!(
            "{name:?} is neither a host name nor an IP address, so no certificate can be for it; say the name that the \
             server's is for with `ClientTls::server_name(..)`"
        ))
    })
}

/// Connects to a host by TLS.
pub(crate) struct Connector {
    pub(crate) place: HostPort,
    pub(crate) tls: Arc<dyn OpenTls>,
}

/// TLS to one host.
struct ToHost {
    tls: ClientTls,
    name: ServerName<'static>,
}

impl Connect for Connector {
    fn address(&self) -> String {
        format!("tls://{}", self.place)
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (stream, peer) = tcp::connect(&self.place).await?;
        let address = Arc::<str>::from(format!("tls://{peer}"));
        let opening = self.tls.open(Raw::new(stream, Arc::clone(&address)));
        let handshake = async move { Ok(opening.await?.connected()) };
        Ok(Connected::opening(handshake, address).with_ip(peer.ip()))
    }
}

impl OpenTls for ToHost {
    fn open(&self, raw: Raw) -> Upgrading<Raw> {
        let (config, name) = (self.tls.current(), self.name.clone());
        Box::pin(async move {
            let connector = TlsConnector::from(config.map_err(io::Error::other)?);
            match connector.connect(name, raw.stream).await {
                Ok(stream) => Ok(TlsLine::raw(stream.into(), raw.peer, Side::Client)),
                Err(error) => Err(handshake_failed(error, Side::Client)),
            }
        })
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.source).finish()
    }
}
