//! The messages of one WebSocket: the codec with its limits, pings, and the closing handshake (RFC 6455).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::transport::notes::{Farewell, Notes};
use crate::transport::websocket::guard::{Guard, PIECE};
use crate::transport::websocket::keepalive::{Due, Keepalive};

/// Bytes that the codec takes at once of what was read. Each connection keeps a buffer of this size.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes of messages that gather before they are written.
const WRITE_BUFFER: usize = 16 * 1024;
/// Bytes that answers to pings may take beside them; of more pings than that only the newest is answered.
const PONGS: usize = 4 * 1024;
/// Bytes of the reason in a close frame (RFC 6455, section 5.5).
const MAX_REASON: usize = 123;

/// The messages of one connection. An error of kind `InvalidData` is the peer's fault: when the line is closed it is told.
pub(crate) struct Messages<S> {
    codec: WebSocketStream<Guard<S>>,
    notes: Arc<Notes>,
    keepalive: Option<Keepalive>,
    sending: Option<Sending>,
    /// The codec may hold answers to pings that it could not write.
    answering: bool,
    /// The peer did what it must not; what else comes is not understood any more.
    is_deaf: bool,
    /// What it did wrong.
    failed: Option<(CloseCode, String)>,
    closing: Closing,
}

/// What a message carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// A message that leaves in fragments.
#[derive(Debug)]
struct Sending {
    rest: Bytes,
    opcode: Data,
}

/// How far the closing handshake is.
#[derive(Debug)]
enum Closing {
    No,
    Said,
    /// The close frame has left; what comes is dropped until the peer has closed as well.
    Waiting,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Messages<S> {
    /// The messages behind the opening handshake; `input` has been read already.
    pub(super) async fn new(
        stream: S,
        input: BytesMut,
        role: Role,
        ping: Option<Duration>,
        notes: Arc<Notes>,
    ) -> Self {
        let guard = Guard::new(stream, input, Arc::clone(&notes));
        let codec = WebSocketStream::from_raw_socket(guard, role, Some(config())).await;
        Self {
            codec,
            notes,
            keepalive: ping.map(Keepalive::new),
            sending: None,
            answering: false,
            is_deaf: false,
            failed: None,
            closing: Closing::No,
        }
    }

    /// The peer has done what this side does not take: gives the error, and keeps what is to be said.
    pub(super) fn fail(&mut self, code: CloseCode, reason: String) -> io::Error {
        self.is_deaf = true;
        self.failed = Some((code, reason.clone()));
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    fn handle_error(&mut self, error: WsError) -> Option<io::Error> {
        Some(match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => return None,
            WsError::Io(error) => {
                // Too large: the session finds the words for it.
                self.is_deaf = error.kind() == io::ErrorKind::InvalidData;
                error
            }
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer ended the connection without a close frame",
            ),
            WsError::Utf8(error) => self.fail(CloseCode::Invalid, error),
            WsError::Protocol(error) => {
                self.fail(CloseCode::Protocol, format!("against the rules of WebSocket: {error}"))
            }
            error => self.fail(CloseCode::Protocol, error.to_string()),
        })
    }

    /// Pings a peer that is silent.
    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let heard = self.codec.get_ref().heard();
        while let Some(due) = self.keepalive.as_mut().and_then(|keepalive| keepalive.poll(heard, cx)) {
            match due {
                Due::Ping => {
                    // Where there is no room for it, there is enough under way to wake the peer.
                    let _ = Pin::new(&mut self.codec).start_send(Message::Ping(Bytes::new()));
                    let _ = Pin::new(&mut self.codec).poll_flush(cx).map_err(into_io)?;
                }
                Due::Silent(time) => {
                    self.keepalive = None;
                    let reason = format!("the peer has been silent for {time:?} and answers no ping");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
            }
        }
        Ok(())
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(Kind, Bytes)>>> {
        if self.is_deaf {
            return Poll::Ready(None);
        }
        self.poll_keepalive(cx)?;
        loop {
            let message = match ready!(Pin::new(&mut self.codec).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(self.handle_error(error).map(Err)),
                Some(Ok(message)) => message,
            };
            match message {
                Message::Binary(data) => return Poll::Ready(self.received(Kind::Binary, data)),
                Message::Text(text) => return Poll::Ready(self.received(Kind::Text, text.into())),
                Message::Close(frame) => {
                    // The answer leaves if it can; nobody waits for it.
                    if Pin::new(&mut self.codec).poll_flush(cx).is_ready() {
                        let _ = Pin::new(self.codec.get_mut()).poll_shutdown(cx);
                    }
                    return Poll::Ready(goodbye(frame).map(Err));
                }
                // The codec answers when it is polled next, which is at once.
                Message::Ping(_) => self.answering = true,
                Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn received(&mut self, kind: Kind, data: Bytes) -> Option<io::Result<(Kind, Bytes)>> {
        self.notes.clear_received();
        Some(Ok((kind, data)))
    }

    /// Whether the next message can be taken: all fragments of the one before have been.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(sending) = &mut self.sending {
            if self.answering {
                ready!(Pin::new(&mut self.codec).poll_flush(cx)).map_err(into_io)?;
                self.answering = false;
            }
            ready!(Pin::new(&mut self.codec).poll_ready(cx)).map_err(into_io)?;
            let piece = sending.rest.split_to(sending.rest.len().min(PIECE));
            let is_last = sending.rest.is_empty();
            let frame = Frame::message(piece, OpCode::Data(sending.opcode), is_last);
            sending.opcode = Data::Continue;
            self.notes.set_unsent(sending.rest.len());
            if is_last {
                self.sending = None;
            }
            Pin::new(&mut self.codec).start_send(Message::Frame(frame)).map_err(into_io)?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn start_send(&mut self, kind: Kind, data: Bytes) {
        let opcode = match kind {
            Kind::Text => Data::Text,
            Kind::Binary => Data::Binary,
        };
        self.notes.set_unsent(data.len());
        self.sending = Some(Sending { rest: data, opcode });
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        ready!(Pin::new(&mut self.codec).poll_flush(cx)).map_err(into_io)?;
        self.answering = false;
        Poll::Ready(Ok(()))
    }

    /// Says why, then waits until the peer has closed too.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Closing::No = self.closing {
            // What is held for the peer stands before the last word.
            ready!(Pin::new(&mut self.codec).poll_flush(cx)).map_err(into_io)?;
            let (code, reason) = self.failed.take().unwrap_or_else(|| last_word(self.notes.farewell()));
            let frame = CloseFrame { code, reason: shortened(&reason).into() };
            Pin::new(&mut self.codec).start_send(Message::Close(Some(frame))).map_err(into_io)?;
            self.closing = Closing::Said;
        }
        if let Closing::Said = self.closing {
            ready!(Pin::new(&mut self.codec).poll_flush(cx)).map_err(into_io)?;
            if self.is_deaf {
                // What the peer sends is not understood any more, so its close frame is not seen.
                ready!(Pin::new(self.codec.get_mut()).poll_shutdown(cx))?;
            }
            self.closing = Closing::Waiting;
        }
        if self.is_deaf {
            return self.codec.get_mut().poll_drop_input(cx);
        }
        while let Some(Ok(_)) = ready!(Pin::new(&mut self.codec).poll_next(cx)) {}
        Pin::new(self.codec.get_mut()).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Messages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("closing", &self.closing).finish_non_exhaustive()
    }
}

/// The limits of the codec. What may come is the guard's to judge.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * PIECE + PONGS)
        .max_frame_size(Some(PIECE))
        .max_message_size(None)
}

/// An error of sending.
fn into_io(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error.to_string()),
    }
}

/// What the peer's close frame says; nothing where it only says that all is done.
fn goodbye(frame: Option<CloseFrame>) -> Option<io::Error> {
    let CloseFrame { code, reason } = frame?;
    if code == CloseCode::Normal && reason.is_empty() {
        return None;
    }
    let reason = if reason.is_empty() { meaning(code) } else { &reason };
    let printable: String = reason.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    let space = if printable.is_empty() { "" } else { " " };
    Some(io::Error::other(format!("closed by the peer: {code}{space}{printable}")))
}

/// The meaning of a close code (RFC 6455, section 7.4.1, and its registry).
fn meaning(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Away => "going away",
        CloseCode::Protocol => "protocol error",
        CloseCode::Unsupported => "unsupported data",
        CloseCode::Invalid => "invalid data",
        CloseCode::Policy => "policy violation",
        CloseCode::Size => "message too big",
        CloseCode::Error => "internal error",
        CloseCode::Restart => "service restart",
        CloseCode::Again => "try again later",
        _ => "",
    }
}

fn last_word(farewell: Farewell) -> (CloseCode, String) {
    match farewell {
        Farewell::Done => (CloseCode::Normal, String::new()),
        Farewell::GoingAway => (CloseCode::Away, String::new()),
        Farewell::TooLarge(reason) => (CloseCode::Size, reason),
        Farewell::Refused(reason) => (CloseCode::Policy, reason),
        Farewell::Failed(reason) => (CloseCode::Error, reason),
    }
}

fn shortened(reason: &str) -> &str {
    let fits = (0..=reason.len().min(MAX_REASON)).rev().find(|length| reason.is_char_boundary(*length));
    fits.and_then(|length| reason.get(..length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    async fn server(buffer: usize) -> (Messages<DuplexStream>, DuplexStream, Arc<Notes>) {
        let (ours, theirs) = tokio::io::duplex(buffer);
        let notes = Arc::new(Notes::default());
        let messages = Messages::new(ours, BytesMut::new(), Role::Server, None, Arc::clone(&notes)).await;
        (messages, theirs, notes)
    }

    #[tokio::test]
    async fn a_large_message_leaves_in_fragments_and_only_as_fast_as_it_is_read() {
        let (mut messages, mut peer, notes) = server(1024).await;
        let length = 10 * PIECE + 1;
        messages.start_send(Kind::Binary, vec![7; length].into());
        assert!(poll_fn(|cx| Poll::Ready(messages.poll_flush(cx))).await.is_pending());
        // The codec holds no more than one fragment, so the next message has to wait.
        assert_eq!(notes.held(), length - PIECE);
        assert!(poll_fn(|cx| Poll::Ready(messages.poll_ready(cx))).await.is_pending());
        let read = async {
            let mut bytes = vec![0; length + 10 * 10 + 2];
            peer.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let (bytes, flushed) = tokio::join!(read, poll_fn(|cx| messages.poll_flush(cx)));
        flushed.unwrap();
        assert_eq!(notes.held(), 0);
        assert_eq!(bytes[..2], [0x02, 127]);
        assert_eq!(bytes[PIECE + 10..PIECE + 12], [0x00, 127]);
        assert_eq!(bytes[bytes.len() - 3..], [0x80, 1, 7]);
    }

    #[tokio::test]
    async fn answers_to_pings_that_wait_leave_room_for_messages() {
        let (mut messages, mut peer, _) = server(1024).await;
        let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        let flood = async {
            for _ in 0..10_000 {
                peer.write_all(&ping).await.unwrap();
            }
        };
        let flood = std::pin::pin!(flood);
        let read = poll_fn(|cx| messages.poll_next(cx).map(|_| ()));
        futures_util::future::select(flood, std::pin::pin!(read)).await;
        messages.start_send(Kind::Binary, vec![7; 3 * PIECE].into());
        let drain = async {
            let mut bytes = vec![0; 4096];
            while peer.read(&mut bytes).await.unwrap() > 0 {}
        };
        let flush = std::pin::pin!(poll_fn(|cx| messages.poll_flush(cx)));
        match futures_util::future::select(std::pin::pin!(drain), flush).await {
            futures_util::future::Either::Right((flushed, _)) => flushed.unwrap(),
            futures_util::future::Either::Left(_) => panic!("the line has ended"),
        }
    }

    #[tokio::test]
    async fn the_last_word_says_why() {
        for (farewell, code, reason) in [
            (Farewell::Done, 1000, ""),
            (Farewell::GoingAway, 1001, ""),
            (Farewell::Refused("no".to_owned()), 1008, "no"),
            (Farewell::TooLarge("much".to_owned()), 1009, "much"),
            (Farewell::Failed("oh".to_owned()), 1011, "oh"),
        ] {
            let (mut messages, mut peer, notes) = server(1024).await;
            notes.say(farewell);
            notes.say(Farewell::Refused("a later word".to_owned()));
            assert!(poll_fn(|cx| Poll::Ready(messages.poll_close(cx))).await.is_pending());
            drop(messages);
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).await.unwrap();
            let code: [u8; 2] = u16::to_be_bytes(code);
            assert_eq!(bytes, [&[0x88, 2 + reason.len() as u8][..], &code, reason.as_bytes()].concat());
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"x".repeat(200)).len(), MAX_REASON);
        assert_eq!(shortened(&"\u{20AC}".repeat(100)).len(), MAX_REASON);
        assert_eq!(shortened(&format!("x{}", "\u{20AC}".repeat(100))).len(), 121);
    }
}
