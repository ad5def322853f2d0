//! The client.

use std::sync::Arc;

use anyhow::{Context, Result};
use bench_common::{Certificate, Connection, Flavor, Load, Reply, Request, drive, drive_with};
use socketproto::{Client, ClientTls, Json};

use crate::service::BenchClient;
use crate::variant::{Line, Variant, secret};

pub async fn run(load: &Load) -> Result<()> {
    let variant = Variant::parse(&load.variant)?;
    let connect = async || Calls::connect(load, variant).await;
    match load.runtime {
        Flavor::Multi => drive_with(load, connect, |worker| drop(tokio::spawn(worker.run()))).await,
        Flavor::Current | Flavor::Actix => drive(load, connect).await,
    }
}

#[derive(Clone)]
struct Calls {
    bench: Arc<BenchClient>,
    client: Client,
    is_json: bool,
}

impl Calls {
    async fn connect(load: &Load, variant: Variant) -> Result<Self> {
        let (address, certificate) = Certificate::of(&load.to);
        let builder = match variant.line {
            Line::Length | Line::Unix => Client::connect(address),
            Line::Stp => Client::connect(format!("{address}?framing=stp")),
            Line::Tls => {
                let file = certificate.context("no certificate behind #")?;
                Client::connect(address).tls(ClientTls::new().ca_file(file)?.server_name("localhost")?)
            }
            Line::Secure => Client::connect(address).secret(secret()?),
        };
        let client = builder.await?;
        Ok(Self { bench: Arc::new(BenchClient::new(&client)), client, is_json: variant.is_json })
    }
}

impl Connection for Calls {
    async fn call(&self, request: Request) -> Result<Reply> {
        Ok(self.bench.reading(request).await?)
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        if self.is_json {
            let data = Json::encode(text)?;
            let passed = self.bench.pass(data).await?;
            // Without the quotes.
            return Ok(passed.as_str().len() - 2);
        }
        // The derived client would take the text, which is needed again: this borrows it.
        let echoed: String = self.client.execute(8, text).await?;
        Ok(echoed.len())
    }
}
