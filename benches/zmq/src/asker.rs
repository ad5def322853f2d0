//! The client that keeps requests outstanding on all its sockets, from one thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench_common::{Counter, Load, PAUSE, Reply, Request, Shape, TEXT_LEN, text};
use zmq::{Context, DONTWAIT, Error, Message, POLLIN, Socket};

/// How often the end of the measurement is looked for at least.
const LOOK: Duration = Duration::from_millis(50);

/// Asks until the measurement is over.
pub fn ask(load: &Load, counter: &Counter) -> Result<()> {
    let context = Context::new();
    let sockets =
        (0..load.connections).map(|_| crate::connect(&context, &load.to)).collect::<Result<Vec<_>>>()?;
    let mut items: Vec<_> = sockets.iter().map(|socket| socket.as_poll_item(POLLIN)).collect();
    let text = text();
    let now = Instant::now();
    let mut askers: Vec<_> = sockets
        .iter()
        .enumerate()
        .map(|(number, socket)| Asker {
            socket,
            load,
            counter,
            text: &text,
            asked: 0,
            answered: 0,
            begun: VecDeque::new(),
            // Bursts should not fall together.
            next: match load.shape {
                Shape::S6 => Some(now + PAUSE.mul_f64(number as f64 / load.connections as f64)),
                _ => Some(now),
            },
            request: Vec::new(),
            reply: Message::new(),
        })
        .collect();
    while !counter.window().is_over() {
        let mut wait = LOOK;
        if askers.iter().any(|asker| asker.next.is_some()) {
            let now = Instant::now();
            for asker in &mut askers {
                wait = wait.min(asker.begin(now)?);
            }
        }
        zmq::poll(&mut items, wait.as_micros().div_ceil(1000) as i64)?;
        for (item, asker) in items.iter().zip(&mut askers) {
            if item.is_readable() {
                asker.read()?;
            }
        }
    }
    Ok(())
}

/// One socket, and what is outstanding on it.
struct Asker<'a> {
    socket: &'a Socket,
    load: &'a Load,
    counter: &'a Counter,
    text: &'a str,
    asked: u64,
    answered: u64,
    /// When the requests began whose latency is taken.
    begun: VecDeque<Instant>,
    /// When the next burst begins, if nothing is outstanding.
    next: Option<Instant>,
    request: Vec<u8>,
    reply: Message,
}

impl Asker<'_> {
    /// Sends what is kept outstanding, if it is time; gives how long it is until then.
    fn begin(&mut self, now: Instant) -> Result<Duration> {
        let Some(next) = self.next else { return Ok(LOOK) };
        if next > now {
            return Ok(next - now);
        }
        self.next = None;
        for _ in 0..self.load.outstanding {
            self.send()?;
        }
        Ok(LOOK)
    }

    fn send(&mut self) -> Result<()> {
        if self.counter.is_sampled(self.asked) {
            self.begun.push_back(Instant::now());
        }
        self.request.clear();
        match self.load.shape {
            Shape::S4 => serde_json::to_writer(&mut self.request, self.text)?,
            _ => serde_json::to_writer(&mut self.request, &Request::new(self.asked))?,
        }
        self.asked += 1;
        Ok(self.socket.send(&self.request[..], 0)?)
    }

    /// Takes answers that are there, but no more than were outstanding, so that other sockets have their turn.
    fn read(&mut self) -> Result<()> {
        for _ in 0..self.load.outstanding {
            match self.socket.recv(&mut self.reply, DONTWAIT) {
                Err(Error::EAGAIN) => return Ok(()),
                outcome => outcome?,
            }
            self.check()?;
            if self.load.shape != Shape::S6 {
                self.send()?;
            } else if self.answered == self.asked {
                self.next = Some(Instant::now() + PAUSE);
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        if self.load.shape == Shape::S4 {
            let length = serde_json::from_slice::<String>(&self.reply)?.len();
            ensure!(length == TEXT_LEN, "sent {TEXT_LEN} bytes, {length} came back");
        } else {
            let reply: Reply = serde_json::from_slice(&self.reply)?;
            ensure!(reply.seq == self.answered && reply.ok, "asked {}, answered {reply:?}", self.answered);
        }
        self.counter.add(1);
        if self.counter.is_sampled(self.answered)
            && let Some(begun) = self.begun.pop_front()
        {
            self.counter.latency(begun.elapsed());
        }
        self.answered += 1;
        Ok(())
    }
}
