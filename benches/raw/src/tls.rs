//! TLS on both sides.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use bench_common::Certificate;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

pub fn acceptor(made: &Certificate) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes())?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub async fn connect(certificate: &Path, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("no TLS")
}
