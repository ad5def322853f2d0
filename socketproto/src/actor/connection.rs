//! The actor of one connection: it owns the session and the line.
//!
//! Calls and replies do not come through its mailbox but through the [`Link`]: a message for each would cost more than
//! all the rest. The mailbox carries control alone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;
use tracing::{Span, error_span, info};

use crate::actor::Endpoint;
use crate::actor::authenticator::{Answer, Ask};
use crate::actor::handler::{Batch, HandlerMessage};
use crate::actor::pump::Pump;
use crate::actor::ticket::connection_id;
use crate::link::{Link, Outgoing, View};
use crate::session::{CallKey, CallOutcome, CloseReason, Event, Incoming, Session};
use crate::transport::Connected;

/// How long what is left to send may take when a connection is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(150);

/// Told once how the connection began: ready, or why it never was.
pub(crate) type ReadySender = oneshot::Sender<Result<(), CloseReason>>;

/// What to do when the connection has ended.
pub(crate) type OnEnd = Box<dyn FnOnce()>;

/// No further requests; close when those that run are answered, at the latest after this time.
pub(crate) struct Drain {
    pub(crate) within: Duration,
}

impl Message for Drain {
    type Result = ();
}

/// The actor of one connection.
pub(crate) struct Connection {
    session: Session,
    link: Arc<Link>,
    endpoint: Arc<Endpoint>,
    pump: Pump,
    /// What was taken from the link last, kept for its memory.
    taken: Outgoing,
    /// Jobs of this turn, by handler.
    jobs: Vec<Vec<Incoming>>,
    outcomes: Vec<(CallKey, CallOutcome)>,
    shown: View,
    ready: Option<ReadySender>,
    on_end: Option<OnEnd>,
    drain_until: Option<Instant>,
    flush_until: Option<Instant>,
    span: Span,
}

impl Connection {
    /// Starts the actor of a connected line on this thread.
    pub(crate) fn start(
        line: Connected,
        link: Arc<Link>,
        endpoint: Arc<Endpoint>,
        ready: Option<ReadySender>,
        on_end: OnEnd,
    ) -> Addr<Self> {
        Self::create(move |ctx| {
            ctx.set_mailbox_capacity(0);
            ctx.spawn(Drive);
            // At the level of errors, so that every line of the connection's log names its peer.
            let span = error_span!("connection", peer = %line.peer, channel = tracing::field::Empty);
            let session = span.in_scope(|| Session::new(endpoint.config.clone(), now()));
            Self {
                session,
                link,
                pump: Pump::new(line.stream),
                taken: Outgoing::default(),
                jobs: endpoint.handlers.iter().map(|_| Vec::new()).collect(),
                endpoint,
                outcomes: Vec::new(),
                shown: View::default(),
                ready,
                on_end: Some(on_end),
                drain_until: None,
                flush_until: None,
                span,
            }
        })
    }

    /// One turn: everything that has come is taken, then everything that is due goes out, in one write.
    fn turn(&mut self, addr: impl Fn() -> Addr<Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        self.link.register(cx);
        let now = now();
        self.take_outgoing(now);
        if self.pump.is_due(now) {
            self.session.handle_timeout(now);
        }
        if self.drain_until.is_some_and(|until| until <= now || self.session.is_idle()) {
            self.session.close(CloseReason::Local);
        }
        if let Err(reason) = self.pump.read(&mut self.session, cx, now) {
            self.session.close(reason);
        }
        // Before the outcomes: who is woken by one sees all that came before it.
        self.show();
        self.hand_out(addr);
        if let Err(reason) = self.pump.write(&mut self.session, cx, now) {
            self.session.close(reason);
        }
        if self.session.close_reason().is_some() {
            ready!(self.poll_end(cx, now));
            return Poll::Ready(());
        }
        if self.drain_until.is_some() && self.session.is_idle() {
            // The last answer has just left: the next turn closes.
            cx.waker().wake_by_ref();
        }
        self.arm(cx, self.session.poll_timeout());
        Poll::Pending
    }

    /// Takes what handlers and callers have left.
    fn take_outgoing(&mut self, now: Instant) {
        let taken = &mut self.taken;
        self.link.take(taken);
        for (request, status, text) in taken.replies.iter() {
            self.session.handle_reply(request, status, text, now);
        }
        for call in taken.calls.drain(..) {
            self.session.handle_call(call, now);
        }
        for call in &taken.cancelled {
            self.session.handle_cancel(*call, now);
        }
        if taken.close {
            self.session.close(CloseReason::Local);
        }
        taken.clear();
    }

    /// Does what the session says.
    fn hand_out(&mut self, addr: impl Fn() -> Addr<Self>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                // A route always names a handler of its endpoint.
                Event::Dispatch(incoming) => self.jobs[incoming.route.handler].push(incoming),
                Event::Completed { call, outcome } => self.outcomes.push((call, outcome)),
                Event::Expired { request, handler } => self.cancel(handler, Some(request)),
                Event::Ask(question) => {
                    if let Some(authenticator) = &self.endpoint.authenticator {
                        authenticator.do_send(Ask { question, answer_to: addr().recipient() });
                    }
                }
                Event::Ready => {
                    if let Some(ready) = self.ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                }
            }
        }
        for (handler, jobs) in self.endpoint.handlers.iter().zip(&mut self.jobs) {
            if !jobs.is_empty() {
                let batch = Batch::new(Arc::clone(&self.link), std::mem::take(jobs));
                handler.do_send(HandlerMessage::Run(batch));
            }
        }
        if !self.outcomes.is_empty() {
            self.link.complete(&mut self.outcomes);
        }
    }

    fn cancel(&self, handler: usize, request: Option<u64>) {
        if let Some(handler) = self.endpoint.handlers.get(handler) {
            handler.do_send(HandlerMessage::Cancel { connection: connection_id(&self.link), request });
        }
    }

    /// Shows handles what has changed.
    fn show(&mut self) {
        let view = View {
            auth_state: self.session.auth_state(),
            channel_name: self.session.channel_name().cloned(),
        };
        if view != self.shown {
            if let Some(name) =
                view.channel_name.as_deref().filter(|_| view.channel_name != self.shown.channel_name)
            {
                self.span.record("channel", name);
            }
            self.shown = view.clone();
            self.link.show(view);
        }
    }

    /// Sends what is left, for a moment, then ends.
    fn poll_end(&mut self, cx: &mut std::task::Context<'_>, now: Instant) -> Poll<()> {
        let until = *self.flush_until.get_or_insert(now + FLUSH_TIMEOUT);
        let hopeless =
            matches!(self.session.close_reason(), Some(CloseReason::Peer | CloseReason::Transport(_)));
        if hopeless || until <= now || self.pump.poll_shutdown(&self.session, cx).is_ready() {
            return Poll::Ready(());
        }
        self.arm(cx, Some(until));
        Poll::Pending
    }

    fn arm(&mut self, cx: &mut std::task::Context<'_>, deadline: Option<Instant>) {
        let earliest = deadline.into_iter().chain(self.drain_until).min();
        self.pump.arm(earliest, cx);
    }

    /// Tells everybody who has to know.
    fn end(&mut self) {
        let reason = self.session.close_reason().cloned().unwrap_or(CloseReason::Local);
        info!(%reason, "connection ended");
        self.link.end(&reason);
        for handler in 0..self.endpoint.handlers.len() {
            self.cancel(handler, None);
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(reason));
        }
        if let Some(on_end) = self.on_end.take() {
            on_end();
        }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

impl Drop for Connection {
    /// Also where the whole thread ends: nobody is left waiting.
    fn drop(&mut self) {
        self.session.close(CloseReason::Local);
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
        cx: &mut std::task::Context<'_>,
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
