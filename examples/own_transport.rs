//! A transport of one's own: a pipe within the process, in two short traits.

use std::io;

use socketproto::Json;
use socketproto::prelude::*;
use socketproto::transport::{Accept, Connect, Connected};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The client's end: each connection is a new pipe, whose other half goes to the server.
struct Plug(UnboundedSender<DuplexStream>);

impl Connect for Plug {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (ours, theirs) = duplex(64 * 1024);
        self.0.send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Connected::stream(ours, self.address()))
    }
}

/// The server's end.
struct Socket(UnboundedReceiver<DuplexStream>);

impl Accept for Socket {
    fn address(&self) -> String {
        "pipe://kitchen".to_owned()
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        let pipe = self.0.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Connected::stream(pipe, "pipe://client"))
    }

    /// A pipe does not leave the process, so nothing has to be encrypted.
    fn is_exposed(&self) -> bool {
        false
    }
}

#[tokio::main]
async fn main() -> socketproto::Result<()> {
    let (plug, socket) = unbounded_channel();
    let server = Server::over(Socket(socket))
        .register_callback(Some(ServiceId::READ_REQUEST), None, |message| {
            Ok(Json::encode(&format!("{} over a pipe", message.data_id())).unwrap_or_default())
        })
        .start()
        .await?;
    let client = Client::over(Plug(plug)).await?;
    println!("{}", client.read::<String>(7).await?);
    server.shutdown().await
}
