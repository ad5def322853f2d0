//! What a client sends, and what it makes of the answers, without the line between.

use std::time::Instant;

use anyhow::{Result, ensure};
use bench_common::{Counter, Load, Reply, Request, Shape, text};

use crate::answer::Hello;
use crate::envelope::{ECHO, EXECUTE, Envelope, HELLO, READING};
use crate::framing::Framing;

#[derive(Debug)]
pub struct Asker<F> {
    framing: F,
    counter: Counter,
    has_ids: bool,
    /// Sent instead of readings
    text: Option<String>,
    /// When the requests that are outstanding were sent, by their numbers
    sent: Vec<Instant>,
    last: u64,
    answered: u64,
}

impl<F: Framing> Asker<F> {
    pub fn new(load: &Load, has_ids: bool, counter: Counter) -> Self {
        Self {
            framing: F::default(),
            counter,
            has_ids,
            text: (load.shape == Shape::S4).then(text),
            sent: vec![Instant::now(); load.outstanding],
            last: 0,
            answered: 0,
        }
    }

    /// How many requests have no answer yet.
    pub fn outstanding(&self) -> u64 {
        self.last - self.answered
    }

    pub fn is_over(&self) -> bool {
        self.counter.window().is_over()
    }

    pub fn fail(&self, error: anyhow::Error) {
        self.counter.window().fail(error);
    }

    /// Appends HELLO, which asks for message ids.
    pub fn put_hello(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let data = Hello::new(1);
        let hello = Envelope { data_id: 0, service_id: HELLO, status: 0, data, message_id: None };
        self.framing.put(&hello, out)
    }

    /// Appends so many requests.
    pub fn put(&mut self, count: u64, now: Instant, out: &mut Vec<u8>) -> Result<()> {
        for _ in 0..count {
            self.last += 1;
            let place = self.place(self.last);
            self.sent[place] = now;
            let message_id = self.has_ids.then_some(self.last);
            if let Some(text) = &self.text {
                let echo = Envelope { data_id: ECHO, service_id: EXECUTE, status: 0, data: text, message_id };
                self.framing.put(&echo, out)?;
            } else {
                let data = Request::new(self.last);
                let read = Envelope { data_id: READING, service_id: EXECUTE, status: 0, data, message_id };
                self.framing.put(&read, out)?;
            }
        }
        Ok(())
    }

    /// Takes one answer.
    pub fn take(&mut self, frame: &[u8], now: Instant) -> Result<()> {
        self.answered += 1;
        let number = if F::IS_BLIND { self.answered } else { self.check(frame)? };
        if self.counter.is_sampled(number) {
            self.counter.latency(now.saturating_duration_since(self.sent[self.place(number)]));
        }
        Ok(())
    }

    /// Counts the answers of one read.
    pub fn count(&self) {
        self.counter.add(self.answered - self.counter.done());
    }

    fn check(&self, frame: &[u8]) -> Result<u64> {
        let number = |message_id: Option<u64>| message_id.unwrap_or(self.answered);
        if let Some(text) = &self.text {
            let echo: Envelope<String> = serde_json::from_slice(frame)?;
            ensure!(echo.data.len() == text.len() && echo.status == 0, "the text came back changed");
            Ok(number(echo.message_id))
        } else {
            let read: Envelope<Reply> = serde_json::from_slice(frame)?;
            let number = number(read.message_id);
            ensure!(read.data.seq == number && read.data.ok, "asked {number}, answered {read:?}");
            Ok(number)
        }
    }

    fn place(&self, number: u64) -> usize {
        number as usize % self.sent.len()
    }
}
