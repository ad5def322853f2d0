//! The servers of tokio.

use std::future::Future;

use anyhow::{Context, Result};
use bench_common::{Certificate, Serve, serve_until_stdin_ends};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::answer::answer;
use crate::framing::{Blind, Framing, Length, Stp};
use crate::inbox::Inbox;
use crate::variant::{Line, Parsed, Variant};
use crate::{threads, tls};

pub async fn run(serve: &Serve) -> Result<()> {
    let at = serve.at.as_deref().unwrap_or("tcp://127.0.0.1:0");
    match Variant::parse(&serve.variant)? {
        Variant::Blind => on_tcp(at, converse::<_, Blind>).await,
        Variant::Threads => serve_until_stdin_ends(&threads::serve(at)?).await,
        Variant::Parsed(parsed) if parsed.is_stuffed => serve_framed::<Stp>(at, &parsed).await,
        Variant::Parsed(parsed) => serve_framed::<Length>(at, &parsed).await,
    }
}

async fn serve_framed<F: Framing>(at: &str, parsed: &Parsed) -> Result<()> {
    match parsed.line {
        Line::Tcp => on_tcp(at, converse::<_, F>).await,
        Line::Tls => {
            let certificate = Certificate::new()?;
            let acceptor = tls::acceptor(&certificate)?;
            let (listener, address) = listen(at).await?;
            tokio::spawn(accept(listener, move |stream| {
                let acceptor = acceptor.clone();
                async move { converse::<_, F>(acceptor.accept(stream).await?).await }
            }));
            let address = address.replace("tcp://", "tls://");
            serve_until_stdin_ends(&certificate.address(&address)).await
        }
        Line::Unix => {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("socket");
            let listener = UnixListener::bind(&path)?;
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(converse::<_, F>(stream));
                }
            });
            serve_until_stdin_ends(&format!("unix://{}", path.display())).await
        }
    }
}

async fn on_tcp<W>(at: &str, serve: impl Fn(TcpStream) -> W + Send + 'static) -> Result<()>
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (listener, address) = listen(at).await?;
    tokio::spawn(accept(listener, serve));
    serve_until_stdin_ends(&address).await
}

async fn listen(at: &str) -> Result<(TcpListener, String)> {
    let place = at.split_once("://").map_or(at, |(_, place)| place);
    let listener = TcpListener::bind(place).await.with_context(|| place.to_owned())?;
    let address = format!("tcp://{}", listener.local_addr()?);
    Ok((listener, address))
}

async fn accept<W>(listener: TcpListener, serve: impl Fn(TcpStream) -> W)
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_ok() {
            tokio::spawn(serve(stream));
        }
    }
}

/// All whole frames of a read are answered by one write.
async fn converse<S: AsyncRead + AsyncWrite + Unpin, F: Framing>(mut stream: S) -> Result<()> {
    let (mut inbox, mut framing, mut out) = (Inbox::<F>::new(), F::default(), Vec::new());
    loop {
        let read = stream.read(inbox.free()).await?;
        if read == 0 {
            return Ok(());
        }
        inbox.take(read, |frame| answer(frame, &mut framing, &mut out))?;
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
    }
}
