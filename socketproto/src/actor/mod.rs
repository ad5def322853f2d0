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
mod dialer;
pub(crate) mod gatekeeper;
pub(crate) mod handler;
mod lifeline;
pub(crate) mod listener;
mod memory;
mod own_thread;
mod pump;
mod repeats;
pub(crate) mod runtime;
mod task;
mod ticket;
mod timer;

use std::io;
use std::sync::Arc;

use actix::{Actor, Addr, Recipient};

use crate::actor::authenticator::Authenticator;
use crate::actor::gatekeeper::Authorize;
use crate::actor::handler::HandlerMessage;
use crate::actor::lifeline::{Alive, Lifeline};
use crate::actor::memory::Memory;
use crate::contain::contain;
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::peer::Peer;
use crate::registry::Registry;
use crate::routes::Routes;
use crate::secret::{Secret, random_hex};
use crate::service::{Door, Hook, Service};
use crate::session::Config;

/// Bytes of the number that tells one start of an endpoint from another (protocol.md 7.1).
const SESSION_BYTES: usize = 8;

/// Starts the actor of a service on the thread it is called on.
pub(crate) enum StartHandler {
    /// One for all connections.
    Shared(Box<dyn FnOnce(Alive) -> io::Result<Recipient<HandlerMessage>> + Send>),
    /// One for each.
    PerPeer(PerPeer),
}

/// Makes the service of one connection.
pub(crate) type PerPeer = Arc<dyn Fn(Peer, Alive) -> io::Result<Recipient<HandlerMessage>> + Send + Sync>;

/// Follows connections.
pub(crate) type OnEvent = Arc<dyn Fn(&Peer, &ConnectionEvent) + Send + Sync>;

/// How a service is started.
pub(crate) fn starter<S: Service + Send>(service: S) -> StartHandler {
    starter_with_door(service, |_| {})
}

/// How a service is started; the way into it is handed out then.
pub(crate) fn starter_with_door<S: Service + Send>(
    service: S,
    on_door: impl FnOnce(&Door<S>) + Send + 'static,
) -> StartHandler {
    StartHandler::Shared(Box::new(move |alive| handler::start(move || service, on_door, alive)))
}

/// How a service of each connection is started.
pub(crate) fn starter_per_peer<S: Service>(
    service: impl Fn(Peer) -> S + Send + Sync + 'static,
) -> StartHandler {
    let service = Arc::new(service);
    StartHandler::PerPeer(Arc::new(move |peer, alive| {
        let service = Arc::clone(&service);
        handler::start(move || service(peer), |_| {}, alive)
    }))
}

/// A new session number.
pub(crate) fn new_session() -> Result<Arc<str>> {
    random_hex::<SESSION_BYTES>().map(Into::into)
}

/// What an endpoint is made of, before it runs.
pub(crate) struct StartEndpoint {
    pub(crate) config: Config,
    pub(crate) routes: Arc<Routes>,
    pub(crate) handlers: Vec<StartHandler>,
    pub(crate) secret: Option<Secret>,
    pub(crate) authorize: Option<Authorize>,
    pub(crate) on_event: Option<OnEvent>,
}

/// What the connections of one endpoint share. When the last of them is gone its actors end.
pub(crate) struct Endpoint {
    pub(crate) config: Config,
    pub(crate) routes: Arc<Routes>,
    handlers: Vec<Hosted>,
    authenticator: Option<Addr<Authenticator>>,
    authorize: Option<Authorize>,
    on_event: Option<OnEvent>,
    memory: Memory,
    lifeline: Lifeline,
}

enum Hosted {
    Shared(Arc<Recipient<HandlerMessage>>),
    PerPeer(PerPeer),
}

impl Endpoint {
    /// Starts the actors of an endpoint on this thread.
    pub(crate) fn start(start: StartEndpoint) -> Result<Self> {
        start.routes.settle();
        let mut endpoint = Self {
            memory: Memory::new(start.config.limits.max_memory),
            config: start.config,
            routes: start.routes,
            handlers: Vec::new(),
            authenticator: None,
            authorize: start.authorize,
            on_event: start.on_event,
            lifeline: Lifeline::new(),
        };
        for handler in start.handlers {
            // Where one cannot be started, those before it end with the endpoint.
            let alive = endpoint.lifeline.alive().ok_or(Error::ShutDown)?;
            endpoint.handlers.push(match handler {
                StartHandler::Shared(start) => {
                    Hosted::Shared(start(alive).map(Arc::new).map_err(|error| not_started(&error))?)
                }
                StartHandler::PerPeer(make) => Hosted::PerPeer(make),
            });
        }
        endpoint.authenticator = start.secret.map(|secret| Authenticator::new(secret).start());
        Ok(endpoint)
    }

    /// The handlers of one connection.
    fn handlers(&self, peer: &Peer) -> Result<Vec<Arc<Recipient<HandlerMessage>>>, Fault> {
        let mut handlers = Vec::with_capacity(self.handlers.len());
        for hosted in &self.handlers {
            handlers.push(match hosted {
                // A clone of the handle itself would cost each connection three allocations.
                Hosted::Shared(handler) => Arc::clone(handler),
                Hosted::PerPeer(make) => {
                    let alive = self.lifeline.alive().ok_or_else(|| Fault::from(Error::ShutDown))?;
                    contain(|| make(peer.clone(), alive))?
                        .map(Arc::new)
                        .map_err(|error| Fault::from(not_started(&error)))?
                }
            });
        }
        Ok(handlers)
    }

    /// Ends the handlers that were made for this connection alone.
    fn release(&self, handlers: &[Arc<Recipient<HandlerMessage>>]) {
        for (hosted, handler) in self.handlers.iter().zip(handlers) {
            if let Hosted::PerPeer(_) = hosted {
                handler.do_send(HandlerMessage::Stop);
            }
        }
    }

    /// Ends the services.
    fn stop(&self) {
        // An item that never ends keeps each of them alive, so they have to be told.
        for hosted in &self.handlers {
            if let Hosted::Shared(handler) = hosted {
                handler.do_send(HandlerMessage::Stop);
            }
        }
        self.lifeline.cut();
        // A closure may hold a handle of its own endpoint, which would never go.
        self.routes.clear();
    }

    /// Tells the application.
    fn announce(&self, peer: &Peer, event: &ConnectionEvent) {
        if let Some(on_event) = &self.on_event {
            let _ = contain(|| on_event(peer, event));
        }
    }
}

/// Tells services what happened to a peer; those without hooks do not listen.
fn tell(handlers: &[Arc<Recipient<HandlerMessage>>], hook: &Hook) {
    for handler in handlers {
        handler.do_send(HandlerMessage::Hook(hook.clone()));
    }
}

fn not_started(error: &io::Error) -> Error {
    Error::Config { setting: "own_thread", reason: format!("the thread cannot be started: {error}").into() }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A registry of services to be started.
pub(crate) type Services = Registry<StartHandler>;
