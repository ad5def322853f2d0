//! The clients of tokio.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench_common::{Certificate, Counter, Load, PAUSE, Shape, Window, drive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use crate::alone::Alone;
use crate::asker::Asker;
use crate::framing::{Blind, Framing, Length, Stp};
use crate::inbox::Inbox;
use crate::variant::{Line, Parsed, Variant};
use crate::{threads, tls};

/// A line of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub async fn run(load: &Load) -> Result<()> {
    let variant = Variant::parse(&load.variant)?;
    let parsed = if let Variant::Parsed(parsed) = &variant { parsed.clone() } else { Parsed::default() };
    if load.shape == Shape::S5 {
        ensure!(!parsed.is_stuffed, "s5 is for length framing alone");
        return drive(load, async || {
            Ok(Alone(Rc::new(Mutex::new(Exchange::new(connect(load, parsed.line).await?)))))
        })
        .await;
    }
    let window = Window::new(load);
    for _ in 0..load.connections {
        let counter = window.counter();
        if variant == Variant::Threads {
            threads::spawn(load, counter)?;
            continue;
        }
        let stream = connect(load, parsed.line).await?;
        match &variant {
            Variant::Blind => spawn::<Blind>(stream, load, false, counter),
            _ if parsed.is_stuffed => spawn::<Stp>(stream, load, parsed.has_ids, counter),
            _ => spawn::<Length>(stream, load, parsed.has_ids, counter),
        }
    }
    window.measure().await
}

async fn connect(load: &Load, line: Line) -> Result<Box<dyn Stream>> {
    let (address, certificate) = Certificate::of(&load.to);
    let place = address.split_once("://").map_or(address, |(_, place)| place);
    if line == Line::Unix {
        return Ok(Box::new(UnixStream::connect(place).await.context(load.to.clone())?));
    }
    let stream = TcpStream::connect(place).await.context(load.to.clone())?;
    stream.set_nodelay(true)?;
    if line == Line::Tls {
        return Ok(Box::new(tls::connect(certificate.context("no certificate behind #")?, stream).await?));
    }
    Ok(Box::new(stream))
}

fn spawn<F: Framing>(stream: Box<dyn Stream>, load: &Load, has_ids: bool, counter: Counter) {
    let asker = Asker::<F>::new(load, has_ids, counter);
    let (shape, outstanding) = (load.shape, load.outstanding as u64);
    tokio::spawn(async move {
        let mut client = Client { exchange: Exchange::new(stream), asker };
        if let Err(error) = client.run(shape, outstanding, has_ids).await {
            client.asker.fail(error);
        }
    });
}

struct Client<F> {
    exchange: Exchange<F>,
    asker: Asker<F>,
}

impl<F: Framing> Client<F> {
    async fn run(&mut self, shape: Shape, outstanding: u64, has_ids: bool) -> Result<()> {
        if has_ids {
            self.asker.put_hello(&mut self.exchange.out)?;
            let mut answered = false;
            while !answered {
                let take = |_: &[u8]| {
                    answered = true;
                    Ok(())
                };
                self.exchange.next(take).await?;
            }
        }
        while !self.asker.is_over() {
            self.asker.put(outstanding - self.asker.outstanding(), Instant::now(), &mut self.exchange.out)?;
            self.read().await?;
            while shape == Shape::S6 && self.asker.outstanding() > 0 {
                self.read().await?;
            }
            if shape == Shape::S6 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Takes all answers of one read.
    async fn read(&mut self) -> Result<()> {
        // The clock is read once for all of them.
        let mut now = None;
        let asker = &mut self.asker;
        self.exchange.next(|frame| asker.take(frame, *now.get_or_insert_with(Instant::now))).await?;
        self.asker.count();
        Ok(())
    }
}

/// A line, with what is on its way.
pub struct Exchange<F> {
    stream: Box<dyn Stream>,
    inbox: Inbox<F>,
    /// What is to be written
    pub out: Vec<u8>,
    written: usize,
}

impl<F: Framing> Exchange<F> {
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, inbox: Inbox::new(), out: Vec::new(), written: 0 }
    }

    /// Writes what is to be written, and gives the frames of one read.
    pub async fn next(&mut self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let read = poll_fn(|task| self.poll(task)).await?;
        ensure!(read > 0, "the server has closed the connection");
        self.inbox.take(read, each)
    }

    /// Reads also while not all is written: with large requests both sides would else wait for each other.
    fn poll(&mut self, task: &mut Task<'_>) -> Poll<std::io::Result<usize>> {
        let mut stream = Pin::new(&mut self.stream);
        while self.written < self.out.len() {
            match stream.as_mut().poll_write(task, &self.out[self.written..])? {
                Poll::Ready(written) => self.written += written,
                Poll::Pending => break,
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            // Not ready: this task is woken when it is.
            let _ = stream.as_mut().poll_flush(task)?;
        } else if self.written > self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        let mut buffer = ReadBuf::new(self.inbox.free());
        ready!(stream.poll_read(task, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}
