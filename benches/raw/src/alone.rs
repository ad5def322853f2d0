//! A client that asks one thing after the other: for connections that are weighed, not timed.

use std::rc::Rc;

use anyhow::Result;
use bench_common::{Connection, Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::client::Exchange;
use crate::envelope::{ECHO, EXECUTE, Envelope, READING};
use crate::framing::{Framing, Length};

#[derive(Clone)]
pub struct Alone(pub Rc<Mutex<Exchange<Length>>>);

impl Connection for Alone {
    async fn call(&self, request: Request) -> Result<Reply> {
        self.ask(READING, request).await
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        self.ask::<String>(ECHO, text).await.map(|text| text.len())
    }
}

impl Alone {
    async fn ask<A: DeserializeOwned>(&self, data_id: u32, data: impl Serialize) -> Result<A> {
        let mut exchange = self.0.lock().await;
        let request = Envelope { data_id, service_id: EXECUTE, status: 0, data, message_id: None };
        Length.put(&request, &mut exchange.out)?;
        let mut answer = None;
        loop {
            let parse = |frame: &[u8]| {
                answer = Some(serde_json::from_slice::<Envelope<A>>(frame)?.data);
                Ok(())
            };
            exchange.next(parse).await?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }
}
