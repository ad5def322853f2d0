//! The actors: they move bytes through sessions, requests to services, and keep the secret.
//!
//! ```text
//!  Listener ──starts──▶ Connection ──jobs, one message a read──▶ service actors
//!                         │   ▲  ▲                                   │
//!                   ask   ▼   │  └────── replies through the Link ───┘
//!                    Authenticator
//! ```
//! All that is actix stays in this folder. Only `do_send` is used: actix neither bounds a mailbox by its capacity nor
//! keeps the order of `send`; the bound is the credit of the session (`Limits::max_in_flight`).

pub(crate) mod authenticator;
pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod contain;
pub(crate) mod handler;
pub(crate) mod listener;
mod own_thread;
mod pump;
pub(crate) mod runtime;
mod task;
mod ticket;

use std::io;

use actix::{Actor, Addr, Recipient};

use crate::actor::authenticator::Authenticator;
use crate::actor::handler::HandlerMessage;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::secret::{Secret, random_hex};
use crate::service::{Hook, Service};
use crate::session::Config;

/// Bytes of the number that tells one start of an endpoint from another (protocol.md 7.1).
const SESSION_BYTES: usize = 8;

/// Starts the actor of a service on the thread it is called on.
pub(crate) struct StartHandler {
    start: Box<dyn FnOnce() -> io::Result<Recipient<HandlerMessage>> + Send>,
    hooks: bool,
}

/// How a service is started.
pub(crate) fn starter<S: Service + Send>(service: S) -> StartHandler {
    StartHandler { start: Box::new(move || handler::start(service)), hooks: S::SERVICE.has_hooks() }
}

/// A new session number.
pub(crate) fn new_session() -> Result<std::sync::Arc<str>> {
    random_hex::<SESSION_BYTES>().map(Into::into)
}

/// What the connections of one endpoint share. When the last of them is gone its actors end.
pub(crate) struct Endpoint {
    pub(crate) config: Config,
    handlers: Vec<Recipient<HandlerMessage>>,
    /// Those of them that want to be told of peers.
    hooked: Vec<Recipient<HandlerMessage>>,
    authenticator: Option<Addr<Authenticator>>,
}

impl Endpoint {
    /// Starts the actors of an endpoint on this thread.
    pub(crate) fn start(config: Config, handlers: Vec<StartHandler>, secret: Option<Secret>) -> Result<Self> {
        let mut endpoint = Self { config, handlers: Vec::new(), hooked: Vec::new(), authenticator: None };
        for StartHandler { start, hooks } in handlers {
            // Where one cannot be started, the others end with the endpoint.
            let handler = start().map_err(|error| Error::Config {
                setting: "own_thread",
                reason: format!("the thread cannot be started: {error}").into(),
            })?;
            endpoint.hooked.extend(hooks.then(|| handler.clone()));
            endpoint.handlers.push(handler);
        }
        endpoint.authenticator = secret.map(|secret| Authenticator::new(secret).start());
        Ok(endpoint)
    }

    /// Tells the services with hooks what happened to a peer.
    pub(crate) fn announce(&self, hook: &Hook) {
        for handler in &self.hooked {
            handler.do_send(HandlerMessage::Hook(hook.clone()));
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // An item that never ends keeps each of them alive, so they have to be told.
        for handler in &self.handlers {
            handler.do_send(HandlerMessage::Stop);
        }
    }
}

/// A registry of services to be started.
pub(crate) type Services = Registry<StartHandler>;
