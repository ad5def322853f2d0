//! The actor of one connection: it owns the session and the line.
//!
//! Calls and replies do not come through its mailbox but through the [`Link`]: a message for each would cost more than
//! all the rest. The mailbox carries control alone.

mod close;
mod hand_out;
mod open;
mod rest;
mod room;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::sync::oneshot;
use tracing::{Span, error_span};

use crate::actor::Endpoint;
use crate::actor::admission::Admitted;
use crate::actor::authenticator::Answer;
use crate::actor::connection::open::Handshake;
use crate::actor::connection::rest::Rest;
use crate::actor::connection::room::Room;
use crate::actor::dialer::Dialer;
use crate::actor::gatekeeper::Gatekeeper;
use crate::actor::handler::HandlerMessage;
use crate::actor::memory::Verdict;
use crate::actor::pump::Pump;
use crate::actor::timer::Timer;
use crate::limits::{Breach, Limit};
use crate::link::{Link, Outgoing, View};
use crate::mailbox::{Bounded, Mailbox};
use crate::peer::Peer;
use crate::session::{CallKey, CallOutcome, CloseReason, Config, Incoming, Session, first};
use crate::transport::Connected;

/// How often a connection that is short of memory looks again.
const MEMORY_RETRY: Duration = Duration::from_millis(50);

/// Told once how the connection began: ready, or why it never was.
pub(crate) type ReadySender = oneshot::Sender<Result<(), CloseReason>>;

/// What to do when a line is there.
pub(crate) type OnLine = Box<dyn Fn()>;

/// What to do when the connection has ended.
pub(crate) type OnEnd = Box<dyn FnOnce()>;

/// No further requests; close when those that run are answered, at the latest after this time.
pub(crate) struct Drain {
    pub(crate) within: Duration,
}

impl Message for Drain {
    type Result = ();
}

/// Each [`Shutdown`](crate::actor::listener::Shutdown) sends one to a connection, and its arrival one more.
impl Bounded for Drain {}

/// What a connection is made of.
pub(crate) struct Start {
    /// A line that is there; else the dialer gives the first.
    pub(crate) line: Option<Connected>,
    /// What the listener knows of it.
    pub(crate) admitted: Admitted,
    pub(crate) link: Arc<Link>,
    pub(crate) endpoint: Arc<Endpoint>,
    /// The one of the endpoint's workers on which it is started.
    pub(crate) worker: usize,
    /// Gives a client its next line when one is lost.
    pub(crate) dialer: Option<Dialer>,
    /// Told when calls can be made. Until then a line that is lost is the end.
    pub(crate) ready: Option<ReadySender>,
    pub(crate) on_line: OnLine,
    pub(crate) on_end: OnEnd,
}

/// The actor of one connection; a client's has one line after the other.
pub(crate) struct Connection {
    session: Session,
    /// The version of the endpoint's table that the session knows.
    version: u64,
    link: Arc<Link>,
    endpoint: Arc<Endpoint>,
    admitted: Admitted,
    worker: usize,
    peer: Peer,
    line: Option<Pump>,
    opening: Option<Handshake>,
    dialer: Option<Box<Dialer>>,
    timer: Timer,
    handlers: Vec<Arc<Recipient<HandlerMessage>>>,
    gatekeeper: Option<Box<Gatekeeper>>,
    /// The waker that the link has.
    registered: Option<Waker>,
    /// Requests of this turn, by handler.
    jobs: Vec<Vec<Incoming>>,
    outcomes: Vec<(CallKey, CallOutcome)>,
    shown: View,
    ready: Option<ReadySender>,
    /// Since when an answer is waited for that may never come: the line has no end of connection.
    awaited_since: Option<Instant>,
    /// Since when calls can be made on this line.
    ready_since: Option<Instant>,
    was_ready: bool,
    on_line: OnLine,
    on_end: Option<OnEnd>,
    drain_until: Option<Instant>,
    flush_until: Option<Instant>,
    /// Set once a drain is over: how long a peer that still sends may put that off, for the drain may have time left.
    linger_until: Option<Instant>,
    /// How long the services may take to end.
    end_until: Option<Instant>,
    /// Bytes that were held at the end of the last turn.
    held: usize,
    /// When to look again whether there is memory.
    retry_at: Option<Instant>,
    rest: Rest,
    span: Span,
}

impl Connection {
    /// Starts the actor on this thread.
    pub(crate) fn start(start: Start) -> Addr<Self> {
        Self::create(move |ctx| {
            ctx.set_mailbox_capacity(0);
            ctx.spawn(Drive);
            let Start { line, admitted, link, endpoint, worker, dialer, ready, on_line, on_end } = start;
            // At the level of errors, so that every line of the connection's log names its peer.
            let span = error_span!("connection", peer = %link.address(), channel = tracing::field::Empty);
            let (version, dispatch) = endpoint.routes.snapshot();
            let config = Config { dispatch, ..endpoint.config.clone() };
            let mut connection = Self {
                session: Session::waiting(config, now()),
                version,
                peer: Peer::of_endpoint(Arc::clone(&link)),
                link,
                line: None,
                opening: None,
                dialer: dialer.map(Box::new),
                timer: Timer::default(),
                handlers: Vec::new(),
                gatekeeper: endpoint.authorize.clone().map(Gatekeeper::new).map(Box::new),
                endpoint,
                admitted,
                worker,
                registered: None,
                jobs: Vec::new(),
                outcomes: Vec::new(),
                shown: View::default(),
                ready,
                awaited_since: None,
                ready_since: None,
                was_ready: false,
                on_line,
                on_end: Some(on_end),
                drain_until: None,
                flush_until: None,
                linger_until: None,
                end_until: None,
                held: 0,
                retry_at: None,
                rest: Rest::default(),
                span,
            };
            if let Some(line) = line {
                let span = connection.span.clone();
                span.in_scope(|| connection.open(line, now()));
            }
            connection
        })
    }

    /// One turn: everything that has come is taken, then everything that is due goes out, in one write.
    fn turn(&mut self, addr: impl Fn() -> Addr<Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.registered = Some(cx.waker().clone());
            self.link.register(cx.waker().clone());
        }
        let now = now();
        let mut room = Room::borrow();
        self.session.swap_events(&mut room.events);
        self.refresh_routes();
        self.take_outgoing(&mut room.taken, now);
        if self.timer.is_due(now) {
            self.session.handle_timeout(now);
        }
        // Not once the end was asked for: a line that came in this very turn would outlive it.
        let dialer = self.dialer.as_mut().filter(|_| self.session.goes_on());
        if let Some(Poll::Ready(line)) = dialer.map(|dialer| dialer.poll(cx, now)) {
            self.open(line, now);
        }
        self.poll_opening(cx, now);
        if let Some(Err(reason)) = self.line.as_mut().map(|line| line.read(&mut self.session, cx, now)) {
            self.session.close(reason);
        }
        if self.answer_until().is_some_and(|until| until <= now) {
            self.session.end(self.session.why_not_ready());
        }
        if self.drain_until.is_some_and(|until| until <= now || self.session.is_idle()) {
            self.linger_until = self.drain_until.take();
            match self.opening.take() {
                Some(_) => self.session.end(CloseReason::Local),
                None => self.session.close(CloseReason::Local),
            }
        }
        // Before the outcomes: who is woken by one sees all that came before it.
        self.show();
        self.hand_out(addr, cx, now);
        if let Some(Err(reason)) = self.line.as_mut().map(|line| line.write(&mut self.session, cx, now)) {
            self.session.close(reason);
            self.hand_out_outcomes(now);
        }
        if self.poll_closed(cx, now).is_ready() {
            return Poll::Ready(());
        }
        self.session.swap_events(&mut room.events);
        room.give_back();
        self.account(now);
        self.rest(now);
        if self.session.has_events() || (self.drain_until.is_some() && self.session.is_idle()) {
            // What was parked can run, or the last answer has left and the next turn closes.
            cx.waker().wake_by_ref();
        }
        let dialing = self.dialer.as_ref().and_then(|dialer| dialer.deadline());
        let deadline = first([
            self.session.poll_timeout(),
            dialing,
            self.retry_at,
            self.rest.at(),
            self.drain_until,
            self.flush_until,
            self.end_until,
            self.opening_until(),
            self.answer_until(),
        ]);
        self.timer.arm(deadline, cx);
        Poll::Pending
    }

    /// Reports the memory that is held; where all together hold too much, requests wait.
    fn account(&mut self, now: Instant) {
        if self.link.set_unsent(self.session.unsent()) {
            self.handlers.iter().for_each(|handler| handler.tell(HandlerMessage::Resume));
            let mark = self.endpoint.config.limits.unsent_mark;
            let breach = Breach { allowed: Some(mark.into()), ..Breach::bare(Limit::UnsentMark) };
            self.endpoint.tally.note(&breach, self.link.address(), now);
        }
        let held = self.session.held() + self.line.as_ref().map_or(0, Pump::buffered);
        let verdict = self.endpoint.memory.report(&self.link, held, self.held);
        self.held = held;
        self.session.pause(verdict == Verdict::Pause, now);
        // Nobody tells when others have let go.
        self.retry_at = (verdict == Verdict::Pause).then(|| now + MEMORY_RETRY);
    }

    /// Takes over what was registered since the last time.
    fn refresh_routes(&mut self) {
        if let Some((version, dispatch)) = self.endpoint.routes.newer(self.version) {
            self.version = version;
            self.session.set_dispatch(dispatch);
        }
    }

    /// Takes what handlers and callers have left.
    fn take_outgoing(&mut self, taken: &mut Outgoing, now: Instant) {
        self.link.take(taken);
        for (request, status, text) in taken.replies.iter() {
            self.session.handle_reply(request, status, text, now);
        }
        // Calls that were left behind the wish for another line are for that one.
        let reconnect = taken.reconnect;
        for (index, call) in taken.calls.drain(..).enumerate() {
            if reconnect == Some(index) {
                self.session.close(CloseReason::Reconnect);
            }
            self.session.handle_call(call, now);
        }
        for (request, message) in taken.returned.drain(..) {
            self.session.handle_returned(request, message, now);
        }
        for received in taken.unreceived.drain(..) {
            self.session.handle_unreceived(received);
        }
        for call in &taken.cancelled {
            self.session.handle_cancel(*call, now);
        }
        if reconnect.is_some() {
            match (&self.opening, &self.dialer) {
                // A server has no other line.
                (Some(_), None) => self.session.end(CloseReason::Reconnect),
                _ => self.session.close(CloseReason::Reconnect),
            }
            self.dialer.iter_mut().for_each(|dialer| dialer.hurry());
        }
        if taken.close {
            self.session.end(CloseReason::Local);
        }
        if taken.shed {
            let limit = self.endpoint.config.limits.max_memory;
            self.session.close(CloseReason::MemoryExceeded { held: self.held, limit });
        }
        taken.clear();
    }

    /// Shows handles what has changed.
    fn show(&mut self) {
        let view = View {
            auth_state: self.session.auth_state(),
            level: self.session.level(),
            channel_name: self.session.channel_name().cloned(),
            connected: self.line.is_some() && self.session.close_reason().is_none(),
            ready: self.session.is_ready(),
            established: self.line.is_some() && self.session.is_established(),
        };
        if view != self.shown {
            if let Some(name) =
                view.channel_name.as_deref().filter(|_| view.channel_name != self.shown.channel_name)
            {
                self.span.record("channel", name);
            }
            if view.established {
                self.admitted.stranger = None;
            }
            self.shown = view.clone();
            self.link.show(view);
        }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

impl Drop for Connection {
    /// Also where the whole thread ends: nobody is left waiting.
    fn drop(&mut self) {
        let span = self.span.clone();
        span.in_scope(|| self.end());
    }
}

impl Handler<Answer> for Connection {
    type Result = ();

    fn handle(&mut self, answer: Answer, _: &mut Context<Self>) {
        let span = self.span.clone();
        let _entered = span.enter();
        // The actor's item runs after its mailbox and sends what this gives.
        self.session.handle_auth_answer(answer.0, now());
    }
}

impl Handler<Drain> for Connection {
    type Result = ();

    fn handle(&mut self, drain: Drain, _: &mut Context<Self>) {
        self.session.drain();
        self.drain_until = Some(now() + drain.within);
    }
}

/// The actor's one item.
struct Drive;

impl ActorFuture<Connection> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut Connection,
        ctx: &mut Context<Connection>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let span = actor.span.clone();
        let _entered = span.enter();
        ready!(actor.turn(|| ctx.address(), cx));
        ctx.stop();
        Poll::Ready(())
    }
}

/// The time of the runtime, so that a test which pauses it pauses connections too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
