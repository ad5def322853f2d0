//! jsonrpsee: JSON-RPC 2.0 over a WebSocket, answered by async methods.

use std::sync::Arc;

use anyhow::Result;
use bench_common::{
    Command, Connection, Flavor, Load, Reply, Request, Serve, command, drive, drive_with, run,
    serve_until_stdin_ends,
};
use jsonrpsee::core::client::ClientT;
use jsonrpsee::server::{Server, ServerConfig};
use jsonrpsee::types::ErrorObjectOwned;

use jsonrpsee::{RpcModule, rpc_params};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};

const MESSAGE_LIMIT: u32 = 64 << 20;
const CONNECTIONS: u32 = 10_000;
const OUTSTANDING: usize = 1024;

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, answer(&serve)),
        Command::Load(load) => run(load.runtime, ask(&load)),
    }
}

async fn answer(serve: &Serve) -> Result<()> {
    let mut methods = RpcModule::new(());
    methods.register_async_method("read", async |params, _, _| {
        Ok::<_, ErrorObjectOwned>(Reply::to(&params.one::<Request>()?))
    })?;
    methods.register_async_method("echo", async |params, _, _| params.one::<String>())?;
    let config = ServerConfig::builder()
        .ws_only()
        .max_connections(CONNECTIONS)
        .max_request_body_size(MESSAGE_LIMIT)
        .max_response_body_size(MESSAGE_LIMIT)
        .build();
    let at = serve.at.as_deref().unwrap_or("127.0.0.1:0");
    let server = Server::builder().set_config(config).build(at).await?;
    let address = server.local_addr()?.to_string();
    // The server ends with its handle.
    let _running = server.start(methods);
    serve_until_stdin_ends(&address).await
}

async fn ask(load: &Load) -> Result<()> {
    let connect = async || Client::connect(&load.to).await;
    match load.runtime {
        Flavor::Multi => drive_with(load, connect, |worker| drop(tokio::spawn(worker.run()))).await,
        _ => drive(load, connect).await,
    }
}

#[derive(Clone)]
struct Client(Arc<WsClient>);

impl Client {
    async fn connect(address: &str) -> Result<Self> {
        let client = WsClientBuilder::new()
            .max_request_size(MESSAGE_LIMIT)
            .max_response_size(MESSAGE_LIMIT)
            .max_concurrent_requests(OUTSTANDING)
            .build(format!("ws://{address}"))
            .await?;
        Ok(Self(Arc::new(client)))
    }
}

impl Connection for Client {
    async fn call(&self, request: Request) -> Result<Reply> {
        Ok(self.0.request("read", rpc_params![request]).await?)
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        let text: String = self.0.request("echo", rpc_params![text]).await?;
        Ok(text.len())
    }
}
