//! Sends every message back, text too: what suites of WebSocket cases ask of either side. Handshakes, limits and all of
//! [`Messages`] are those of the transport; only the rule that one binary message is one frame stands above it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::transport::notes::Notes;
use crate::transport::websocket::handshake::{self, Rules};
use crate::transport::websocket::messages::Messages;

/// Answers a request for `/`, then sends back what comes, up to so many bytes a message.
///
/// # Errors
/// What ended the connection, unless the peer closed it as it should.
pub async fn echo_as_server<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    max_message: usize,
) -> io::Result<()> {
    let rules = Rules { path: "/".to_owned(), origins: Vec::new() };
    handshake::accept(&mut stream, &rules).await?;
    echo(stream, BytesMut::new(), Role::Server, max_message).await.map(|_| ())
}

/// Asks for a URL, then sends back what comes, up to so many bytes a message; gives the last text.
///
/// # Errors
/// What ended the connection, unless the peer closed it as it should.
pub async fn echo_as_client<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &str,
    max_message: usize,
) -> io::Result<Option<String>> {
    let input = handshake::connect(&mut stream, url).await?;
    echo(stream, input, Role::Client, max_message).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    input: BytesMut,
    role: Role,
    max_message: usize,
) -> io::Result<Option<String>> {
    let notes = Arc::new(Notes::default());
    notes.set_max_frame(max_message);
    let mut messages = Messages::new(stream, input, role, None, notes).await;
    let mut last = None;
    let ended = loop {
        match poll_fn(|cx| messages.poll_next(cx)).await {
            Some(Ok((kind, data))) => {
                last = String::from_utf8(data.to_vec()).ok();
                messages.start_send(kind, data);
                poll_fn(|cx| messages.poll_flush(cx)).await?;
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(last),
        }
    };
    // Where the peer has closed there is nothing left to say.
    let _ = poll_fn(|cx| messages.poll_close(cx)).await;
    ended
}
