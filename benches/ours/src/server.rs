//! The server.

use anyhow::Result;
use bench_common::{Certificate, Serve, serve_until_stdin_ends};
use socketproto::{DataId, Server, ServerTls, ServiceId};

use crate::service::Bench;
use crate::variant::{Line, Variant, secret};

/// Ids that are registered besides those of the service begin here.
const FURTHER: u32 = 1_000;

pub async fn run(serve: &Serve) -> Result<()> {
    let variant = Variant::parse(&serve.variant)?;
    let folder = tempfile::tempdir()?;
    let at = serve.at.clone().unwrap_or_else(|| match variant.line {
        Line::Unix => format!("unix://{}", folder.path().join("socket").display()),
        Line::Tls => "tls://127.0.0.1:0".to_owned(),
        _ => "tcp://127.0.0.1:0".to_owned(),
    });
    let mut builder = Server::bind(at);
    builder = match serve.workers {
        1 => builder.service(Bench),
        workers => builder.workers(workers).service_per_worker(|| Bench),
    };
    for id in 1..serve.ids {
        let id = DataId::new(FURTHER + id);
        builder = builder.register_callback(Some(ServiceId::EXECUTE_REQUEST), Some(id), |message| {
            Ok(message.json().clone())
        });
    }
    let mut certificate = None;
    match variant.line {
        Line::Tls => {
            let made = certificate.insert(Certificate::new()?);
            let tls = ServerTls::from_pem(made.certificate.as_str(), made.key.as_str())?;
            builder = builder.tls(tls);
        }
        Line::Secure => builder = builder.secret(secret()?),
        Line::Length | Line::Stp | Line::Unix => {}
    }
    let server = builder.start().await?;
    let address = server.address();
    let address = certificate.as_ref().map_or(address.to_owned(), |made| made.address(address));
    serve_until_stdin_ends(&address).await?;
    server.shutdown().await?;
    Ok(())
}
