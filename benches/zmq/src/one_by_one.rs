//! A client that waits for each answer, for connections that do next to nothing.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use bench_common::{Connection, Reply, Request};
use zmq::{Context, Socket};

/// As many contexts as it takes: one has no more than 1,023 sockets.
#[derive(Default)]
pub struct Contexts(RefCell<Vec<(Context, usize)>>);

const SOCKETS: usize = 1000;

impl Contexts {
    pub fn connect(&self, endpoint: &str) -> Result<OneByOne> {
        let mut contexts = self.0.borrow_mut();
        if contexts.last().is_none_or(|&(_, sockets)| sockets == SOCKETS) {
            contexts.push((Context::new(), 0));
        }
        let last = contexts.len() - 1;
        let (context, sockets) = &mut contexts[last];
        *sockets += 1;
        Ok(OneByOne(Rc::new(crate::connect(context, endpoint)?)))
    }
}

#[derive(Clone)]
pub struct OneByOne(Rc<Socket>);

impl Connection for OneByOne {
    async fn call(&self, request: Request) -> Result<Reply> {
        self.0.send(serde_json::to_vec(&request)?, 0)?;
        Ok(serde_json::from_slice(&self.0.recv_msg(0)?)?)
    }

    async fn echo(&self, text: &str) -> Result<usize> {
        self.0.send(serde_json::to_vec(text)?, 0)?;
        Ok(serde_json::from_slice::<String>(&self.0.recv_msg(0)?)?.len())
    }
}
