//! The opening handshake (RFC 6455, section 4): one HTTP request and its answer, of either side.

use std::fmt::Write;
use std::io;

use bytes::BytesMut;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

use crate::transport::handshake::HandshakeFailed;
use crate::transport::upgrade::linger;

/// Bytes of a request or an answer up to its empty line. Browsers send less than 1 KiB, and cookies at most 4 KiB each.
const MAX_HEAD: usize = 16 * 1024;
/// Characters of an answer's text that an error shows.
const MAX_SHOWN: usize = 200;

/// What a server takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Rules {
    pub(super) path: String,
    /// The pages that may connect; whatever sends no origin is no page.
    pub(super) origins: Vec<String>,
}

/// What is read before the messages.
struct Head {
    head: BytesMut,
    /// What came behind it.
    rest: BytesMut,
}

/// Why a request is answered with an error.
struct Refusal {
    status: StatusCode,
    reason: String,
    /// A header that says what would be taken.
    header: &'static str,
}

/// Answers a request.
///
/// # Errors
/// Where it is refused; the peer has been told why.
pub(super) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    rules: &Rules,
) -> io::Result<()> {
    let answer = match read_head(stream).await? {
        Some(head) => judge(&head, rules),
        None => Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("the request is longer than {MAX_HEAD} bytes"),
        )),
    };
    match answer {
        Ok(answer) => {
            stream.write_all(&answer).await?;
            stream.flush().await
        }
        Err(refusal) => {
            // The peer may be gone, which is all the same.
            let _ = stream.write_all(refusal.answer().as_bytes()).await;
            linger(stream).await;
            Err(refusal.into_error())
        }
    }
}

/// Reads up to the empty line; none where it does not come in time. Each byte is looked at once, however they come.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Head>> {
    const END: &[u8] = b"\r\n\r\n";

    let mut head = BytesMut::with_capacity(1024);
    let mut seen = 0;
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            let reason = "closed by the peer in the middle of the WebSocket handshake";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        let found = memmem::find(head.get(seen..).unwrap_or_default(), END).map(|at| seen + at + END.len());
        match found {
            Some(end) if end <= MAX_HEAD => {
                let rest = head.split_off(end);
                return Ok(Some(Head { head, rest }));
            }
            None if head.len() < MAX_HEAD => seen = head.len().saturating_sub(END.len() - 1),
            _ => return Ok(None),
        }
    }
}

/// The answer to a request.
fn judge(head: &Head, rules: &Rules) -> Result<Vec<u8>, Refusal> {
    let request = match Request::try_parse(&head.head) {
        Ok(Some((_, request))) => request,
        Err(WsError::Protocol(ProtocolError::WrongHttpMethod)) => {
            return Err(Refusal {
                header: "Allow: GET\r\n",
                ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken")
            });
        }
        Ok(None) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request is not understood")),
        Err(error) => return Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
    };
    check_origin(request.headers(), rules)?;
    if request.uri().path() != rules.path {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("the WebSocket is at {}", rules.path)));
    }
    if !head.rest.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "bytes behind the request, before its answer"));
    }
    let mut answer = Vec::new();
    create_response(&request).and_then(|response| write_response(&mut answer, &response)).map_err(
        |error| {
            let (status, header) = match error {
                WsError::Protocol(
                    ProtocolError::MissingConnectionUpgradeHeader
                    | ProtocolError::MissingUpgradeWebSocketHeader,
                ) => (StatusCode::UPGRADE_REQUIRED, "Upgrade: websocket\r\n"),
                WsError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
                    (StatusCode::UPGRADE_REQUIRED, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
                }
                _ => (StatusCode::BAD_REQUEST, ""),
            };
            Refusal { header, ..Refusal::new(status, error.to_string()) }
        },
    )?;
    Ok(answer)
}

/// Every browser names the page that asks: without this check any page could reach services of the machine it is shown on.
fn check_origin(headers: &HeaderMap, rules: &Rules) -> Result<(), Refusal> {
    for origin in headers.get_all("Origin") {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        if !rules.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(&origin)) {
            let reason = format!("the origin {} is not allowed here", printable(&origin));
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
    }
    Ok(())
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), header: "" }
    }

    fn answer(&self) -> String {
        let Self { status, reason, header } = self;
        let length = reason.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\n{header}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n{reason}\n"
        )
    }

    fn into_error(self) -> io::Error {
        let reason = format!("WebSocket refused with {}: {}", self.status, self.reason);
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    }
}

/// Asks a server; gives what has been read behind its answer.
///
/// # Errors
/// Where it does not take the request, with what it says.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    url: &str,
) -> io::Result<BytesMut> {
    let (request, key) = url.into_client_request().and_then(generate_request).map_err(io::Error::other)?;
    stream.write_all(&request).await.map_err(unanswered)?;
    stream.flush().await.map_err(unanswered)?;
    let Some(Head { head, rest }) = read_head(stream).await.map_err(unanswered)? else {
        return Err(no_websocket(&format!("its answer is longer than {MAX_HEAD} bytes")));
    };
    let response = match Response::try_parse(&head) {
        Ok(Some((_, response))) => response,
        Ok(None) => return Err(no_websocket("its answer is not understood")),
        Err(error) => return Err(no_websocket(&error.to_string())),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let text = String::from_utf8_lossy(&rest);
        let mut answer = format!("HTTP {}", response.status());
        if let Some(line) = text.lines().next() {
            let _ = write!(answer, ": {}", printable(line));
        }
        return Err(no_websocket(&answer));
    }
    check_answer(response.headers(), &key).map_err(no_websocket)?;
    Ok(rest)
}

/// RFC 6455, section 4.1: what makes an answer one to our request.
fn check_answer(headers: &HeaderMap, key: &str) -> Result<(), &'static str> {
    let has = |name: &str, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !has("Upgrade", "websocket") || !has("Connection", "Upgrade") {
        return Err("it upgrades to something else");
    }
    if headers.get("Sec-WebSocket-Accept").is_none_or(|accept| *accept != derive_accept_key(key.as_bytes())) {
        return Err("its answer is not one to this request: Sec-WebSocket-Accept is wrong");
    }
    if headers.contains_key("Sec-WebSocket-Extensions") || headers.contains_key("Sec-WebSocket-Protocol") {
        return Err("it answers with an extension or a subprotocol that nobody asked for");
    }
    Ok(())
}

/// A server that is none, or takes nothing in clear, closes without a word.
fn unanswered(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            no_websocket(
                "it closed without an answer; where it takes none, connect with tcp://, and where it takes TLS alone, with \
                 wss://",
            )
        }
        _ => error,
    }
}

fn no_websocket(reason: &str) -> io::Error {
    HandshakeFailed::error(format!("the server gives no WebSocket: {reason}"), false)
}

/// What a peer says, for a log: short, and without control characters.
fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in bytes that come in such pieces: the head's length, and what is behind it.
    async fn found(bytes: &[u8], piece: usize) -> io::Result<Option<(usize, Vec<u8>)>> {
        let (mut theirs, mut ours) = tokio::io::duplex(piece);
        let write = async {
            // Nobody reads what is behind a head that is too long.
            let _ = theirs.write_all(bytes).await;
            drop(theirs);
        };
        let read = async {
            let head = read_head(&mut ours).await;
            drop(ours);
            head
        };
        let (head, ()) = tokio::join!(read, write);
        Ok(head?.map(|Head { head, rest }| (head.len(), rest.to_vec())))
    }

    #[tokio::test]
    async fn the_empty_line_is_found_wherever_reads_end() {
        for piece in 1..40 {
            let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            assert_eq!(
                found(head, piece).await.unwrap(),
                Some((head.len(), Vec::new())),
                "pieces of {piece}"
            );
            let error = found(&head[..head.len() - 1], piece).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(found(b"\r\n\r\nmore", 100).await.unwrap(), Some((4, b"more".to_vec())));
    }

    #[tokio::test]
    async fn a_head_has_at_most_16_kib() {
        for piece in [1, 1000, 100_000] {
            for (length, is_taken) in [(MAX_HEAD, true), (MAX_HEAD + 1, false), (4 * MAX_HEAD, false)] {
                let mut head = vec![b'x'; length - 4];
                head.extend_from_slice(b"\r\n\r\n");
                assert_eq!(
                    found(&head, piece).await.unwrap().is_some(),
                    is_taken,
                    "{length} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn a_reason_of_the_peer_is_short_and_printable() {
        assert_eq!(printable("a\r\nb\u{1b}[2J"), "a\u{FFFD}\u{FFFD}b\u{FFFD}[2J");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_SHOWN);
    }
}
