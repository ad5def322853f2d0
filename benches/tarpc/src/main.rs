//! tarpc: JSON in length-delimited frames over TCP, one task for each request as in its examples.

use anyhow::Result;
use bench_common::{
    Command, Connection, Flavor, Load, Reply, Request, Serve, command, drive, drive_with, run,
    serve_until_stdin_ends,
};
use futures_util::StreamExt;
use tarpc::client::Config;
use tarpc::context::{self, Context};
use tarpc::serde_transport;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Json;
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio::net::{TcpListener, TcpStream};

const FRAME_LIMIT: usize = 64 << 20;

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, answer(&serve)),
        Command::Load(load) => run(load.runtime, ask(&load)),
    }
}

#[tarpc::service]
trait Peer {
    async fn read(request: Request) -> Reply;
    async fn echo(text: String) -> String;
}

#[derive(Clone)]
struct Answers;

impl Peer for Answers {
    async fn read(self, _: Context, request: Request) -> Reply {
        Reply::to(&request)
    }

    async fn echo(self, _: Context, text: String) -> String {
        text
    }
}

async fn answer(serve: &Serve) -> Result<()> {
    let listener = TcpListener::bind(serve.at.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?.to_string();
    let accepting = tokio::spawn(accept(listener));
    tokio::select! {
        ended = accepting => ended?,
        ended = serve_until_stdin_ends(&address) => ended,
    }
}

async fn accept(listener: TcpListener) -> Result<()> {
    loop {
        let transport = serde_transport::new(framed(listener.accept().await?.0)?, Json::default());
        let answers = BaseChannel::with_defaults(transport).execute(Answers.serve());
        tokio::spawn(answers.for_each(async |answer| drop(tokio::spawn(answer))));
    }
}

async fn ask(load: &Load) -> Result<()> {
    let connect = async || Client::connect(&load.to).await;
    match load.runtime {
        Flavor::Multi => drive_with(load, connect, |worker| drop(tokio::spawn(worker.run()))).await,
        _ => drive(load, connect).await,
    }
}

#[derive(Clone)]
struct Client(PeerClient);

impl Client {
    async fn connect(address: &str) -> Result<Self> {
        let transport = serde_transport::new(framed(TcpStream::connect(address).await?)?, Json::default());
        Ok(Self(PeerClient::new(Config::default(), transport).spawn()))
    }
}

impl Connection for Client {
    async fn call(&self, request: Request) -> Result<Reply> {
        Ok(self.0.read(context::current(), request).await?)
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        Ok(self.0.echo(context::current(), text.to_owned()).await?.len())
    }
}

fn framed(stream: TcpStream) -> Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_LIMIT).new_codec();
    Ok(Framed::new(stream, codec))
}
