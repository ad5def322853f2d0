//! The actor of one server: it accepts, counts, and in the end drains its connections.

mod newcomer;
mod waits;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};
use futures_util::future::{Either, select};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::actor::Endpoint;
use crate::actor::admission::Admission;
use crate::actor::connection::{Connection, Drain};
use crate::actor::listener::newcomer::{Newcomer, Place};
use crate::actor::listener::waits::Waits;
use crate::actor::repeats::Repeats;
use crate::actor::spread::Spread;
use crate::actor::workers::HOME;
use crate::limits::Limit;
use crate::link::Link;
use crate::mailbox::{Bounded, Mailbox};
use crate::peer::Peer;
use crate::transport::{self, Connected};

/// Connections accepted in one turn; then those that are there have theirs.
const ACCEPTS_PER_TURN: usize = 64;
/// An error of accept after this time without one is told as a new one.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Descriptors that connections leave to the rest of the program (protocol.md section 8).
const SPARE_DESCRIPTORS: usize = 64;

/// How long services may take to end, where the time for shutting down is used up.
const SERVICES_TIMEOUT: Duration = Duration::from_secs(1);

/// How long requests that run may take when a server is shut down.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connections may take to end on top of that. Those that take longer are held up by a handler that blocks their
/// thread.
const CONNECTIONS_TIMEOUT: Duration = Duration::from_secs(2);

/// Stop accepting, let run what runs for this long, close.
pub(crate) struct Shutdown {
    pub(crate) within: Duration,
}

impl Message for Shutdown {
    type Result = ();
}

/// One for each server dropped or told to shut down, by its program or the end of its threads; never by a peer.
impl Bounded for Shutdown {}

/// A connection runs on another thread than the listener. It is drained where nobody takes note of it any more.
struct Arrived(u64, Option<Addr<Connection>>);

impl Drop for Arrived {
    fn drop(&mut self) {
        if let Some(addr) = &self.1 {
            addr.tell(Drain { within: Duration::ZERO });
        }
    }
}

impl Message for Arrived {
    type Result = ();
}

/// One for each connection, and of those there are at most `Limits::max_connections`.
impl Bounded for Arrived {}

/// A connection has ended.
struct Gone(u64);

impl Message for Gone {
    type Result = ();
}

/// One for each connection, as [`Arrived`]: its place is free only when this has been taken.
impl Bounded for Gone {}

/// The connections of a server, for those who hold its handle.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<PeerList>);

#[derive(Default)]
struct PeerList {
    peers: Mutex<BTreeMap<u64, Peer>>,
    arrived: Notify,
}

impl Peers {
    /// In the order in which they were accepted.
    pub(crate) fn list(&self) -> Vec<Peer> {
        self.lock().values().cloned().collect()
    }

    /// The first that is connected, or the next.
    pub(crate) async fn first(&self) -> Peer {
        loop {
            let mut arrived = std::pin::pin!(self.0.arrived.notified());
            // Before the look, so that none is missed.
            arrived.as_mut().enable();
            if let Some(first) = self.list().into_iter().find(Peer::is_connected) {
                return first;
            }
            arrived.await;
        }
    }

    /// Each change of the map is one step, so a poisoned lock holds a sound map.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actor of one server.
pub(crate) struct Listener {
    listener: Option<transport::Listener>,
    endpoint: Arc<Endpoint>,
    connections: FxHashMap<u64, Member>,
    spread: Spread,
    peers: Peers,
    next: u64,
    admission: Admission,
    waits: Waits,
    waiting: Option<Pin<Box<Sleep>>>,
    /// The errors of accept, and when the last one came.
    failed: (Repeats, Option<Instant>),
    shutdown_until: Option<Instant>,
    /// How long the connections of other threads may take to end.
    patience: Option<Pin<Box<Sleep>>>,
    /// How long the services may take to end, once the last connection has.
    ending: Option<Pin<Box<Sleep>>>,
    /// Told when all is over.
    closed: CancellationToken,
}

struct Member {
    /// Absent while it is on its way to its thread.
    addr: Option<Addr<Connection>>,
    ip: Option<IpAddr>,
    worker: usize,
}

impl Listener {
    /// Starts the actor on this thread.
    pub(crate) fn start(
        listener: transport::Listener,
        endpoint: Arc<Endpoint>,
        peers: Peers,
        closed: CancellationToken,
        counts_loopback: bool,
    ) -> Addr<Self> {
        let (ending, until) = (endpoint.workers.ending(), closed.clone());
        let addr = Self::create(|ctx| {
            ctx.set_mailbox_capacity(0);
            ctx.spawn(Accept);
            let descriptors =
                transport::descriptor_limit().map(|limit| limit.saturating_sub(SPARE_DESCRIPTORS));
            let limits = &endpoint.config.limits;
            let max_connections =
                descriptors.map_or(limits.max_connections, |free| free.min(limits.max_connections));
            let (secret, waits) = (endpoint.config.secret, Waits::new(limits));
            Self {
                listener: Some(listener),
                spread: Spread::new(endpoint.workers.len()),
                admission: Admission::new(limits, max_connections, secret, counts_loopback),
                endpoint,
                connections: FxHashMap::default(),
                peers,
                next: 0,
                waits,
                waiting: None,
                failed: Default::default(),
                shutdown_until: None,
                patience: None,
                ending: None,
                closed,
            }
        });
        if let Some(ending) = ending {
            shut_down_with(ending, until, addr.clone());
        }
        addr
    }

    fn poll_accept(&mut self, addr: impl Fn() -> Addr<Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let Some(listener) = &mut self.listener else { return Poll::Pending };
            match std::task::ready!(listener.poll_accept(cx)) {
                Ok(line) => {
                    self.waits.reset();
                    self.admit(line, &addr);
                }
                Err(error) => {
                    let wait = self.waits.grow();
                    self.tell_failure(&error.to_string(), wait);
                    self.waiting = Some(Box::pin(tokio::time::sleep(wait)));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// While descriptors are short this may go on for hours, with successes in between.
    fn tell_failure(&mut self, error: &str, wait: Duration) {
        let (repeats, last) = &mut self.failed;
        if last.replace(Instant::now()).is_some_and(|last| last.elapsed() > FORGIVEN) {
            *repeats = Repeats::default();
        }
        let tell = repeats.add(error);
        let failures = repeats.count();
        self.endpoint.tally.count(Limit::AcceptBackoff);
        if tell {
            warn!(error, failures, ?wait, "cannot accept; repeated failures are logged at debug level");
        } else {
            debug!(error, failures, ?wait, "cannot accept");
        }
    }

    fn admit(&mut self, line: Connected, addr: impl Fn() -> Addr<Self>) {
        let now = Instant::now().into_std();
        let admitted = match self.admission.admit(line.ip, &self.endpoint.penalties, now) {
            Ok(admitted) => admitted,
            Err(breach) => return self.endpoint.tally.note(&breach, &line.peer, now),
        };
        info!(peer = %line.peer, "connection accepted");
        let (id, ip) = (self.next, line.ip);
        self.next += 1;
        let endpoint = Arc::clone(&self.endpoint);
        let workers = self.endpoint.workers.list();
        let worker = if line.any_thread {
            self.spread.choose(|worker| workers[worker].is_alive())
        } else {
            self.spread.count(HOME)
        };
        let mark = endpoint.config.limits.unsent_mark;
        let link = Arc::new(Link::new(Arc::clone(&line.peer), Arc::clone(&endpoint.routes), mark));
        self.peers.lock().insert(id, Peer::of_endpoint(Arc::clone(&link)));
        let place = Place { id, listener: addr() };
        let newcomer = Newcomer { line, admitted, link, endpoint, worker, peers: self.peers.clone(), place };
        let addr = if worker == HOME {
            Some(newcomer.begin())
        } else {
            // Where that thread has just ended, the newcomer is gone, and its place free.
            workers[worker].spawn(|| newcomer.begin_elsewhere());
            None
        };
        self.connections.insert(id, Member { addr, ip, worker });
    }

    fn forget(&mut self, id: u64) {
        self.peers.lock().remove(&id);
        let Some(Member { ip, worker, .. }) = self.connections.remove(&id) else { return };
        self.spread.release(worker);
        self.admission.release(ip);
    }

    /// The services end behind the last connection.
    fn stop_services_when_empty(&mut self) {
        if self.listener.is_none() && self.connections.is_empty() && self.ending.is_none() {
            self.endpoint.stop();
            let until = self.shutdown_until.max(Some(Instant::now() + SERVICES_TIMEOUT));
            self.ending = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        }
    }

    /// Gives up connections whose threads do not get to end them.
    fn poll_patience(&mut self, cx: &mut TaskContext<'_>) {
        let is_over = self.patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_ready());
        if !is_over {
            return;
        }
        self.patience = None;
        let before = self.connections.len();
        self.connections.retain(|_, member| member.worker == HOME);
        let connections = before - self.connections.len();
        if connections > 0 {
            warn!(connections, "a handler blocks the thread of connections, which have not ended in time");
        }
        self.stop_services_when_empty();
    }

    fn poll_ended(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.poll_patience(cx);
        let Some(ending) = &mut self.ending else { return Poll::Pending };
        if self.endpoint.lifeline.poll_ended(cx).is_ready() {
            return Poll::Ready(());
        }
        ending.as_mut().poll(cx).map(|()| warn!("a service has not ended in time"))
    }
}

/// Shuts the server down when its threads have to end.
fn shut_down_with(ending: CancellationToken, closed: CancellationToken, listener: Addr<Listener>) {
    actix_rt::spawn(async move {
        if let Either::Left(_) = select(pin!(ending.cancelled()), pin!(closed.cancelled())).await {
            listener.tell(Shutdown { within: SHUTDOWN_TIMEOUT });
        }
    });
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Drop for Listener {
    fn drop(&mut self) {
        info!("server closed");
        self.peers.lock().clear();
        self.closed.cancel();
    }
}

impl Handler<Arrived> for Listener {
    type Result = ();

    fn handle(&mut self, mut arrived: Arrived, _: &mut Context<Self>) {
        let Some(member) = self.connections.get_mut(&arrived.0) else { return };
        member.addr = arrived.1.take();
        if let (Some(until), Some(addr)) = (self.shutdown_until, &member.addr) {
            addr.tell(Drain { within: until.saturating_duration_since(Instant::now()) });
        }
    }
}

impl Handler<Gone> for Listener {
    type Result = ();

    fn handle(&mut self, gone: Gone, _: &mut Context<Self>) {
        self.forget(gone.0);
        self.stop_services_when_empty();
    }
}

impl Handler<Shutdown> for Listener {
    type Result = ();

    fn handle(&mut self, shutdown: Shutdown, _: &mut Context<Self>) {
        self.listener = None;
        let until = Instant::now() + shutdown.within;
        self.shutdown_until = Some(until);
        self.patience = Some(Box::pin(tokio::time::sleep_until(until + CONNECTIONS_TIMEOUT)));
        for addr in self.connections.values().filter_map(|member| member.addr.as_ref()) {
            addr.tell(Drain { within: shutdown.within });
        }
        self.stop_services_when_empty();
    }
}

/// The actor's one item.
struct Accept;

impl ActorFuture<Listener> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut Listener,
        ctx: &mut Context<Listener>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let _ = actor.poll_accept(|| ctx.address(), cx);
        std::task::ready!(actor.poll_ended(cx));
        ctx.stop();
        Poll::Ready(())
    }
}
