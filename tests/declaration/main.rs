//! What the words of a declaration do, end to end.

mod actor;
mod blocking;
mod cancel;
mod exclusive;
mod fallback;
mod hooks;
mod own_services;
mod own_thread;

use socketproto::prelude::*;
use socketproto::{Error, Result};

/// A server of one service, and a client of it.
async fn serve(service: impl Service + Send) -> Result<(Server, Client)> {
    let server = Server::bind("mem://").service(service).start().await?;
    let client = Client::connect(server.address()).await?;
    Ok((server, client))
}

/// The fault that a call was answered with, as text.
fn fault<T>(outcome: Result<T>) -> String {
    match outcome {
        Ok(_) => "okay".to_owned(),
        Err(Error::Fault { fault, .. }) => fault.to_string(),
        Err(other) => format!("no fault: {other}"),
    }
}
