//! tonic: unary gRPC over HTTP/2, with windows that a message of 1 MiB fits into.

use anyhow::Result;
use bench_common::{
    Command, Connection, Flavor, Load, Reply, Request, Serve, command, drive, drive_with, run,
    serve_until_stdin_ends,
};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Response, Status};

use self::generated::peer_client::PeerClient;
use self::generated::peer_server::{Peer, PeerServer};

const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_LIMIT: u32 = (1 << 24) - 1;

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, answer(&serve)),
        Command::Load(load) => run(load.runtime, ask(&load)),
    }
}

mod generated {
    #![allow(clippy::all, clippy::pedantic, warnings)]
    include!(concat!(env!("OUT_DIR"), "/bench.Peer.rs"));
}

/// [`Request`] as protobuf writes it.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    sensor: String,
    #[prost(string, tag = "2")]
    unit: String,
    #[prost(uint64, tag = "3")]
    seq: u64,
}

/// [`Reply`] as protobuf writes it.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadReply {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(bool, tag = "3")]
    ok: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

struct Answers;

#[tonic::async_trait]
impl Peer for Answers {
    async fn read(&self, request: tonic::Request<ReadRequest>) -> Result<Response<ReadReply>, Status> {
        let ReadRequest { sensor, unit, seq } = request.into_inner();
        let Reply { seq, value, ok } = Reply::to(&Request { sensor, unit, seq });
        Ok(Response::new(ReadReply { seq, value, ok }))
    }

    async fn echo(&self, text: tonic::Request<Text>) -> Result<Response<Text>, Status> {
        Ok(Response::new(text.into_inner()))
    }
}

async fn answer(serve: &Serve) -> Result<()> {
    let incoming = TcpIncoming::bind(serve.at.as_deref().unwrap_or("127.0.0.1:0").parse()?)?;
    let address = incoming.local_addr()?.to_string();
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_LIMIT)
        .add_service(PeerServer::new(Answers));
    let serving = tokio::spawn(server.serve_with_incoming(incoming.with_nodelay(Some(true))));
    tokio::select! {
        ended = serving => Ok(ended??),
        ended = serve_until_stdin_ends(&address) => ended,
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
struct Client(PeerClient<Channel>);

impl Client {
    async fn connect(address: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_LIMIT);
        Ok(Self(PeerClient::new(endpoint.connect().await?)))
    }
}

impl Connection for Client {
    async fn call(&self, request: Request) -> Result<Reply> {
        let Request { sensor, unit, seq } = request;
        let reply = self.0.clone().read(ReadRequest { sensor, unit, seq }).await?;
        let ReadReply { seq, value, ok } = reply.into_inner();
        Ok(Reply { seq, value, ok })
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        let text = Text { text: text.to_owned() };
        Ok(self.0.clone().echo(text).await?.into_inner().text.len())
    }
}
