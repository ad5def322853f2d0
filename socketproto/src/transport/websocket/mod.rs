//! WebSocket lines: `ws://`, `wss://`, and the upgrade of other listeners. One binary message carries one frame, both ways
//! (protocol.md section 3).
//!
//! ```text
//! frames ◀─Datagrams─▶ Frames ─▶ Messages ─▶ codec ─▶ Guard ─▶ TCP or TLS
//! ```

mod echo;
mod guard;
mod handshake;
mod keepalive;
mod messages;
mod place;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream as FuturesStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::transport::datagrams::Datagrams;
use crate::transport::notes::Notes;
use crate::transport::upgrade::{AcceptWebSocket, OpenTls, Raw, Upgrades, Upgrading};
use crate::transport::{self, Accept, Connect, Connected, tcp};
pub use echo::{echo_as_client, echo_as_server};
use handshake::Rules;
use messages::{Kind, Messages};
pub(crate) use place::Place;

/// What a listener does with the requests of clients.
struct Acceptance {
    rules: Arc<Rules>,
    ping: Option<Duration>,
}

/// What a listener takes: at the path of its own address, or at the root of any other where it is `asked` to.
pub(super) fn acceptance(
    place: Option<&transport::Place>,
    asked: bool,
    origins: &[String],
) -> Option<Box<dyn AcceptWebSocket>> {
    let (path, ping) = match place {
        Some(transport::Place::WebSocket(place)) => (place.path.as_str(), place.ping),
        _ if asked => (place::ROOT, Some(place::PING)),
        _ => return None,
    };
    let rules = Arc::new(Rules { path: path.to_owned(), origins: origins.to_vec() });
    Some(Box::new(Acceptance { rules, ping }))
}

impl AcceptWebSocket for Acceptance {
    fn accept(&self, raw: Raw) -> Upgrading<Connected> {
        let (rules, ping) = (Arc::clone(&self.rules), self.ping);
        Box::pin(async move {
            let mut raw = raw;
            handshake::accept(&mut raw.stream, &rules).await?;
            Ok(line(raw, BytesMut::new(), Role::Server, ping).await)
        })
    }
}

/// A TCP listener whose address has a path.
pub(super) struct Acceptor {
    listener: tcp::Acceptor,
    path: String,
}

impl Acceptor {
    pub(super) async fn bind(place: &Place, upgrades: Arc<Upgrades>) -> io::Result<Self> {
        let listener = tcp::Acceptor::bind(place.scheme(), &place.host, upgrades).await?;
        Ok(Self { listener, path: place.path.clone() })
    }
}

impl Accept for Acceptor {
    fn address(&self) -> String {
        format!("{}{}", self.listener.address(), place::shown(&self.path))
    }

    async fn accept(&mut self) -> io::Result<Connected> {
        self.listener.accept().await
    }

    fn is_exposed(&self) -> bool {
        self.listener.is_exposed()
    }
}

/// Connects to a host and asks it for a WebSocket.
pub(super) struct Connector {
    pub(super) place: Place,
    /// None where the address is one of `ws`.
    pub(super) tls: Option<Arc<dyn OpenTls>>,
}

impl Connect for Connector {
    fn address(&self) -> String {
        self.place.to_string()
    }

    async fn connect(&self) -> io::Result<Connected> {
        let (stream, peer) = tcp::connect(&self.place.host).await?;
        let address: Arc<str> =
            format!("{}://{peer}{}", self.place.scheme(), place::shown(&self.place.path)).into();
        let mut raw = Raw::new(stream, Arc::clone(&address));
        let (tls, url, ping) = (self.tls.clone(), self.place.url(), self.place.ping);
        let opening = async move {
            if let Some(tls) = tls {
                raw = tls.open(raw).await?;
            }
            let input = handshake::connect(&mut raw.stream, &url).await?;
            Ok(line(raw, input, Role::Client, ping).await)
        };
        Ok(Connected::opening(opening, address).with_ip(peer.ip()))
    }
}

/// The line behind an opening handshake.
async fn line(raw: Raw, input: BytesMut, role: Role, ping: Option<Duration>) -> Connected {
    let Raw { stream, peer, certificate } = raw;
    let notes = Arc::new(Notes::default());
    let messages = Messages::new(stream, input, role, ping, Arc::clone(&notes)).await;
    let stream = Datagrams::new(Frames(messages));
    Connected { notes: Some(notes), ..Connected::boxed(Box::new(stream), peer, certificate) }
}

/// Messages that carry one frame each.
struct Frames<S>(Messages<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> FuturesStream for Frames<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.0.poll_next(cx)) {
            Some(Ok((Kind::Binary, frame))) => Some(Ok(frame)),
            Some(Ok((Kind::Text, _))) => {
                let reason = "a text message; frames are sent as binary messages".to_owned();
                Some(Err(self.0.fail(CloseCode::Unsupported, reason)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Bytes> for Frames<S> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> io::Result<()> {
        self.0.start_send(Kind::Binary, frame);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

impl<S> fmt::Debug for Frames<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frames").field(&self.0).finish()
    }
}
