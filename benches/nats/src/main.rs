//! NATS: core request and reply through a broker, a `nats-server` process. The responder lives in the serving program,
//! so that its server is two processes.

mod broker;

use std::process;

use anyhow::{Context, Result};
use async_nats::{Client, Message};
use bench_common::{
    Command, Connection, Flavor, Load, Reply, Request, Serve, command, drive, drive_with, run,
    serve_until_stdin_ends,
};
use futures_util::{Stream, StreamExt};

use crate::broker::Broker;

const READ: &str = "bench.read";
const ECHO: &str = "bench.echo";

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, answer(&serve)),
        Command::Load(load) => run(load.runtime, ask(&load)),
    }
}

async fn answer(serve: &Serve) -> Result<()> {
    let broker = Broker::start(serve.at.as_deref().unwrap_or("127.0.0.1:0"))?;
    let client = async_nats::connect(broker.address()).await?;
    let reads = client.subscribe(READ).await?;
    let echoes = client.subscribe(ECHO).await?;
    let reading = tokio::spawn(respond(client.clone(), reads, |payload| {
        Ok(serde_json::to_vec(&Reply::to(&serde_json::from_slice::<Request>(payload)?))?)
    }));
    let echoing = tokio::spawn(respond(client.clone(), echoes, |payload| {
        Ok(serde_json::to_vec(&serde_json::from_slice::<String>(payload)?)?)
    }));
    // The broker has both subscriptions before anybody is told where it is.
    client.flush().await?;
    let address = format!("{} pid={},{}", broker.address(), broker.id(), process::id());
    tokio::select! {
        ended = reading => ended?,
        ended = echoing => ended?,
        ended = serve_until_stdin_ends(&address) => ended,
    }
}

async fn respond(
    client: Client,
    mut requests: impl Stream<Item = Message> + Unpin,
    handle: impl Fn(&[u8]) -> Result<Vec<u8>>,
) -> Result<()> {
    while let Some(request) = requests.next().await {
        let to = request.reply.context("a request without a subject for the reply")?;
        client.publish(to, handle(&request.payload)?.into()).await?;
    }
    Ok(())
}

async fn ask(load: &Load) -> Result<()> {
    let connect = async || Ok(Asker(async_nats::connect(&load.to).await?));
    match load.runtime {
        Flavor::Multi => drive_with(load, connect, |worker| drop(tokio::spawn(worker.run()))).await,
        _ => drive(load, connect).await,
    }
}

#[derive(Clone)]
struct Asker(Client);

impl Connection for Asker {
    async fn call(&self, request: Request) -> Result<Reply> {
        let reply = self.0.request(READ, serde_json::to_vec(&request)?.into()).await?;
        Ok(serde_json::from_slice(&reply.payload)?)
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        let reply = self.0.request(ECHO, serde_json::to_vec(text)?.into()).await?;
        Ok(serde_json::from_slice::<String>(&reply.payload)?.len())
    }
}
