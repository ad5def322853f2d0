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
pub(crate) mod handler;
pub(crate) mod listener;
mod pump;
pub(crate) mod runtime;
mod ticket;

use actix::{Actor, Addr, Recipient};

use crate::actor::authenticator::Authenticator;
use crate::actor::handler::HandlerMessage;
use crate::error::Result;
use crate::registry::Registry;
use crate::secret::{Secret, random_hex};
use crate::service::Service;
use crate::session::Config;

/// Bytes of the number that tells one start of an endpoint from another (protocol.md 7.1).
const SESSION_BYTES: usize = 8;

/// Starts the actor of a service on the thread it is called on.
pub(crate) type StartHandler = Box<dyn FnOnce() -> Recipient<HandlerMessage> + Send>;

/// How a service is started.
pub(crate) fn starter<S: Service + Send>(service: S) -> StartHandler {
    Box::new(move || handler::start(service))
}

/// A new session number.
pub(crate) fn new_session() -> Result<std::sync::Arc<str>> {
    random_hex::<SESSION_BYTES>().map(Into::into)
}

/// What the connections of one endpoint share. When the last of them is gone its actors end.
pub(crate) struct Endpoint {
    pub(crate) config: Config,
    handlers: Vec<Recipient<HandlerMessage>>,
    authenticator: Option<Addr<Authenticator>>,
}

impl Endpoint {
    /// Starts the actors of an endpoint on this thread.
    pub(crate) fn start(config: Config, handlers: Vec<StartHandler>, secret: Option<Secret>) -> Self {
        Self {
            config,
            handlers: handlers.into_iter().map(|start| start()).collect(),
            authenticator: secret.map(|secret| Authenticator::new(secret).start()),
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
