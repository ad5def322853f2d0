//! A server's half of TLS.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};

use crate::error::Result;
use crate::transport::tls::line::{Side, TlsLine, handshake_failed};
use crate::transport::tls::pem::{Identity, Pem, authorities, mistake};
use crate::transport::upgrade::{AcceptTls, Raw, Upgrading, linger};

/// What a server shows and asks for in TLS: its certificate, and whether clients have to show theirs.
///
/// TLS 1.2 and 1.3 are spoken. Sessions are not resumed, so that every connection is judged by the certificates that
/// are in force. Clones mean the same settings: a program keeps one to [`reload`](Self::reload) them.
///
/// ```
/// use socketproto::{Client, ClientTls, Json, Server, ServerTls};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
///
/// let server = Server::bind("tls://127.0.0.1:0")
///     .tls(ServerTls::from_pem(certificate.as_str(), key)?)
///     .register_callback(None, Some(7.into()), |_| Ok(Json::NULL))
///     .start()
///     .await?;
///
/// let trusted = ClientTls::new().ca_pem(certificate)?.server_name("localhost")?;
/// let client = Client::connect(server.address()).tls(trusted).await?;
/// client.read::<()>(7).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    source: Source,
    current: RwLock<Arc<ServerConfig>>,
}

/// What the settings are made of.
#[derive(Clone, Debug)]
struct Source {
    identity: Identity,
    client_ca: Vec<Pem>,
    optional: bool,
}

impl ServerTls {
    /// Reads the server's certificate, behind it those of its authorities but for the root, and the key that belongs to
    /// it, each as PEM.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where a file cannot be read or understood, or the key is another's.
    ///
    /// ```
    /// # fn demo() -> socketproto::Result<()> {
    /// let tls = socketproto::ServerTls::from_files("/etc/device/chain.pem", "/etc/device/key.pem")?;
    /// # Ok(()) }
    /// ```
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        Self::new(Pem::file(chain), Pem::file(key))
    }

    /// The same from PEM text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where it cannot be understood, or the key is another's.
    pub fn from_pem(chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<Self> {
        Self::new(Pem::bytes(chain), Pem::bytes(key))
    }

    fn new(chain: Pem, key: Pem) -> Result<Self> {
        Self::of(Source { identity: Identity { chain, key }, client_ca: Vec::new(), optional: false })
    }

    fn of(source: Source) -> Result<Self> {
        let current = RwLock::new(source.load()?);
        Ok(Self(Arc::new(Inner { source, current })))
    }

    fn with(&self, change: impl FnOnce(&mut Source)) -> Result<Self> {
        let mut source = self.0.source.clone();
        change(&mut source);
        Self::of(source)
    }

    /// Asks clients for a certificate, and takes only those that one of the authorities in this PEM file has issued. A
    /// further file adds to them.
    ///
    /// Whoever has such a certificate may connect; it does not make a client trusted where a secret is set, unless
    /// [`ServerBuilder::trust_client_certificates`](crate::ServerBuilder::trust_client_certificates) says so.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where the file cannot be read or holds no certificate.
    pub fn client_ca_file(self, path: impl AsRef<Path>) -> Result<Self> {
        self.with(|source| source.client_ca.push(Pem::file(path)))
    }

    /// The same with PEM text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where it holds no certificate.
    pub fn client_ca_pem(self, pem: impl Into<Vec<u8>>) -> Result<Self> {
        self.with(|source| source.client_ca.push(Pem::bytes(pem)))
    }

    /// Takes clients that show no certificate as well; one that is shown has to be right all the same. What they may
    /// do is for a secret to say, or for [`Peer::certificate`](crate::Peer::certificate) in
    /// [`ServerBuilder::authorize`](crate::ServerBuilder::authorize).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where a file cannot be read any more.
    pub fn optional_client_certificate(self) -> Result<Self> {
        self.with(|source| source.optional = true)
    }

    /// Reads the files again, all of them: connections that come from now on get the new certificate and are judged by
    /// the new authorities, those that are there stay. It reads files, so it blocks for a moment.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where one of them is broken; then the old ones stay in force.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # async fn demo(tls: socketproto::ServerTls) -> std::io::Result<()> {
    /// use tokio::signal::unix::{SignalKind, signal};
    ///
    /// let mut hangup = signal(SignalKind::hangup())?;
    /// while hangup.recv().await.is_some() {
    ///     if let Err(error) = tls.reload() {
    ///         eprintln!("the old certificate stays: {error}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn reload(&self) -> Result<()> {
        let next = self.0.source.load()?;
        // A store is one step, so a poisoned lock holds sound settings.
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        tracing::info!(chain = %self.0.source.identity.chain, "certificates are read again");
        Ok(())
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source {
    fn load(&self) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(ring::default_provider());
        let identity = self.identity.load(&provider)?;
        let verifier = if self.client_ca.is_empty() {
            Arc::new(NoClientAuth)
        } else {
            let roots = Arc::new(authorities(&self.client_ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = if self.optional { verifier.allow_unauthenticated() } else { verifier };
            verifier.build().map_err(|error| mistake(format!("the authorities of clients: {error}")))?
        };
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config
            .map_err(|error| mistake(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(identity);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl AcceptTls for ServerTls {
    fn accept(&self, raw: Raw) -> Upgrading<Raw> {
        let acceptor = TlsAcceptor::from(self.current());
        Box::pin(async move {
            match acceptor.accept(raw.stream).into_fallible().await {
                Ok(stream) => Ok(TlsLine::raw(stream.into(), raw.peer, Side::Server)),
                Err((error, mut stream)) => {
                    // The alert says why; in TLS 1.3 a client may have gone on already, and its bytes are never read.
                    linger(&mut stream).await;
                    Err(handshake_failed(error, Side::Server))
                }
            }
        })
    }

    fn asks_for_certificate(&self) -> bool {
        !self.0.source.client_ca.is_empty()
    }

    fn requires_certificate(&self) -> bool {
        self.asks_for_certificate() && !self.0.source.optional
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0.source).finish()
    }
}
