//! The actors: they move bytes through sessions, requests to services, and keep the secret.
//!
//! ```text
//!  Listener ──starts──▶ Connection ──jobs, one message a read──▶ service actors
//!                         │   ▲  ▲                                   │
//!                   ask   ▼   │  └────── replies through the Link ───┘
//!                    Authenticator
//! ```
//! All that is actix stays in this folder, but for the way into a mailbox (`mailbox`) and actors of the user's own
//! (`actix`). What bounds requests on their way is the credit of the session (`Limits::max_in_flight`).

mod admission;
pub(crate) mod authenticator;
pub(crate) mod connection;
pub(crate) mod connector;
mod dialer;
pub(crate) mod gatekeeper;
pub(crate) mod handler;
mod keys;
mod lifeline;
pub(crate) mod listener;
mod memory;
mod overrun;
mod own_thread;
mod penalties;
mod pump;
mod repeats;
pub(crate) mod runtime;
mod spread;
mod task;
mod ticket;
mod timer;
mod worker;
pub(crate) mod workers;

use std::io;
use std::sync::Arc;

use actix::{Actor, Addr, Recipient};

use crate::actor::authenticator::Authenticator;
use crate::actor::gatekeeper::Authorize;
use crate::actor::handler::HandlerMessage;
use crate::actor::keys::Keys;
use crate::actor::lifeline::{Alive, Lifeline};
use crate::actor::memory::Memory;
use crate::actor::penalties::Penalties;
use crate::actor::workers::Workers;
use crate::contain::contain;
use crate::credentials::Secrets;
use crate::error::{Error, Result};
use crate::event::ConnectionEvent;
use crate::fault::Fault;
use crate::limits::Tally;
use crate::mailbox::Mailbox;
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
    /// One for the connections of each worker.
    PerWorker(PerWorker),
    /// One for each.
    PerPeer(PerPeer),
}

/// Makes the service of one worker, on its thread.
pub(crate) type PerWorker = Arc<dyn Fn(Alive) -> io::Result<Recipient<HandlerMessage>> + Send + Sync>;

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

/// How a service of each worker is started.
pub(crate) fn starter_per_worker<S: Service>(
    service: impl Fn() -> S + Send + Sync + 'static,
) -> StartHandler {
    let service = Arc::new(service);
    StartHandler::PerWorker(Arc::new(move |alive| {
        let service = Arc::clone(&service);
        handler::start(move || service(), |_| {}, alive)
    }))
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
    pub(crate) secrets: Option<Secrets>,
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
    /// How often limits were exceeded.
    pub(crate) tally: Arc<Tally>,
    penalties: Penalties,
    lifeline: Lifeline,
    /// Dropped last: the threads may end with it.
    workers: Workers,
}

enum Hosted {
    Shared(Arc<Recipient<HandlerMessage>>),
    /// By worker.
    PerWorker(Vec<Instance>),
    PerPeer(PerPeer),
}

/// The service of one worker; it ends where nobody wants it any more, be it before its endpoint has got it.
struct Instance(Arc<Recipient<HandlerMessage>>);

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.tell(HandlerMessage::Stop);
    }
}

impl Endpoint {
    /// Starts the actors of an endpoint, those of which there is one on this thread, the first of the workers.
    pub(crate) async fn start(start: StartEndpoint, workers: Workers) -> Result<Self> {
        start.routes.settle(workers.threads());
        let mut endpoint = Self {
            memory: Memory::new(start.config.limits.max_memory),
            tally: Arc::default(),
            penalties: Penalties::new(&start.config.limits),
            config: start.config,
            routes: start.routes,
            handlers: Vec::new(),
            authenticator: None,
            authorize: start.authorize,
            on_event: start.on_event,
            lifeline: Lifeline::new(),
            workers,
        };
        for handler in start.handlers {
            // Where one cannot be started, those before it end with the endpoint.
            let alive = endpoint.lifeline.alive().ok_or(Error::ShutDown)?;
            endpoint.handlers.push(match handler {
                StartHandler::Shared(start) => {
                    Hosted::Shared(start(alive).map(Arc::new).map_err(|error| not_started(&error))?)
                }
                StartHandler::PerWorker(make) => {
                    Hosted::PerWorker(start_on_each(&endpoint.workers, &make, alive).await?)
                }
                StartHandler::PerPeer(make) => Hosted::PerPeer(make),
            });
        }
        if let Some(Secrets { legacy, secure }) = start.secrets {
            let keys = if secure.iter().any(Secret::is_passphrase) {
                // It takes its time, and connections of others live on this thread.
                let keys = tokio::task::spawn_blocking(move || Keys::derive(&secure)).await;
                keys.map_err(|_| Error::ShutDown)??
            } else {
                Keys::derive(&secure)?
            };
            endpoint.authenticator = Some(Authenticator::new(legacy, keys).start());
        }
        Ok(endpoint)
    }

    /// The handlers of one connection of a worker.
    fn handlers(&self, peer: &Peer, worker: usize) -> Result<Vec<Arc<Recipient<HandlerMessage>>>, Fault> {
        let mut handlers = Vec::with_capacity(self.handlers.len());
        for hosted in &self.handlers {
            handlers.push(match hosted {
                // A clone of the handle itself would cost each connection three allocations.
                Hosted::Shared(handler) => Arc::clone(handler),
                // There is one on each.
                Hosted::PerWorker(instances) => Arc::clone(&instances[worker].0),
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
                handler.tell(HandlerMessage::Stop);
            }
        }
    }

    /// Ends the services.
    fn stop(&self) {
        // An item that never ends keeps each of them alive, so they have to be told.
        for hosted in &self.handlers {
            match hosted {
                Hosted::Shared(handler) => handler.tell(HandlerMessage::Stop),
                Hosted::PerWorker(instances) => {
                    instances.iter().for_each(|instance| instance.0.tell(HandlerMessage::Stop));
                }
                Hosted::PerPeer(_) => {}
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

/// Makes the service of each worker on its thread.
async fn start_on_each(workers: &Workers, make: &PerWorker, alive: Alive) -> Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for worker in workers.list() {
        let (make, alive) = (Arc::clone(make), alive.clone());
        let start =
            move || async move { contain(|| make(alive)).map(|made| made.map(Arc::new).map(Instance)) };
        let made = worker.run(start).await?.map_err(|_| Error::Config {
            setting: "service_per_worker",
            reason: "the closure that makes the service panicked; standard error has where".into(),
        })?;
        instances.push(made.map_err(|error| not_started(&error))?);
    }
    Ok(instances)
}

/// Tells services what happened to a peer; those without hooks do not listen.
fn tell(handlers: &[Arc<Recipient<HandlerMessage>>], hook: &Hook) {
    for handler in handlers {
        handler.tell(HandlerMessage::Hook(hook.clone()));
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
