//! The actor of one connection: it owns the session and the line.
//!
//! Calls and replies do not come through its mailbox but through the [`Link`]: a message for each would cost more than
//! all the rest. The mailbox carries control alone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::sync::oneshot;
use tracing::{Span, error_span, info};

use crate::actor::authenticator::{Answer, Ask};
use crate::actor::dialer::Dialer;
use crate::actor::gatekeeper::Gatekeeper;
use crate::actor::handler::{Batch, HandlerMessage};
use crate::actor::memory::Verdict;
use crate::actor::pump::{Pump, broken};
use crate::actor::ticket::connection_id;
use crate::actor::timer::Timer;
use crate::actor::{Endpoint, tell};
use crate::event::ConnectionEvent;
use crate::link::{Link, Outgoing, View};
use crate::peer::Peer;
use crate::service::Hook;
use crate::session::{CallKey, CallOutcome, CloseReason, Config, Event, Incoming, RequestId, Session};
use crate::transport::{Connected, Io, Opening};

/// How long what is left to send may take when a connection is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(150);

/// How long a drained peer that was still sending may say nothing before its line is closed: it may be about to read what
/// was answered last.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client's services may take to end; with the time above it stays below 200 ms (protocol.md section 4).
const SERVICES_TIMEOUT: Duration = Duration::from_millis(40);

/// How long a client that is awaited waits for the first answer on a line without an end of connection: as long as for
/// HELLO elsewhere (protocol.md section 3). Where somebody has been heard, twice as long for all of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a connection that is short of memory looks again.
const MEMORY_RETRY: Duration = Duration::from_millis(50);

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

/// What a connection is made of.
pub(crate) struct Start {
    /// A line that is there; else the dialer gives the first.
    pub(crate) line: Option<Connected>,
    pub(crate) link: Arc<Link>,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Gives a client its next line when one is lost.
    pub(crate) dialer: Option<Dialer>,
    /// Told when calls can be made. Until then a line that is lost is the end.
    pub(crate) ready: Option<ReadySender>,
    pub(crate) on_end: OnEnd,
}

/// What has to be done before a line is there.
struct Handshake {
    opening: Opening,
    until: Instant,
}

/// The actor of one connection; a client's has one line after the other.
pub(crate) struct Connection {
    session: Session,
    /// The version of the endpoint's table that the session knows.
    version: u64,
    link: Arc<Link>,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    line: Option<Pump>,
    opening: Option<Handshake>,
    dialer: Option<Dialer>,
    timer: Timer,
    handlers: Vec<Recipient<HandlerMessage>>,
    gatekeeper: Option<Gatekeeper>,
    /// What was taken from the link last, kept for its memory.
    taken: Outgoing,
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
    on_end: Option<OnEnd>,
    drain_until: Option<Instant>,
    flush_until: Option<Instant>,
    /// How long a peer that still sends may put that off: a drain that is over early has time left.
    linger_until: Option<Instant>,
    /// How long the services may take to end.
    end_until: Option<Instant>,
    /// Bytes that were held at the end of the last turn.
    held: usize,
    /// When to look again whether there is memory.
    retry_at: Option<Instant>,
    span: Span,
}

impl Connection {
    /// Starts the actor on this thread.
    pub(crate) fn start(start: Start) -> Addr<Self> {
        Self::create(move |ctx| {
            ctx.set_mailbox_capacity(0);
            ctx.spawn(Drive);
            let Start { line, link, endpoint, dialer, ready, on_end } = start;
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
                dialer,
                timer: Timer::default(),
                handlers: Vec::new(),
                gatekeeper: endpoint.authorize.clone().map(Gatekeeper::new),
                endpoint,
                taken: Outgoing::default(),
                jobs: Vec::new(),
                outcomes: Vec::new(),
                shown: View::default(),
                ready,
                awaited_since: None,
                ready_since: None,
                was_ready: false,
                on_end: Some(on_end),
                drain_until: None,
                flush_until: None,
                linger_until: None,
                end_until: None,
                held: 0,
                retry_at: None,
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
        self.link.register(cx);
        let now = now();
        self.refresh_routes();
        self.take_outgoing(now);
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
            self.hand_out_outcomes();
        }
        if self.poll_closed(cx, now).is_ready() {
            return Poll::Ready(());
        }
        self.account(now);
        if self.session.has_events() || (self.drain_until.is_some() && self.session.is_idle()) {
            // What was parked can run, or the last answer has left and the next turn closes.
            cx.waker().wake_by_ref();
        }
        let dialing = self.dialer.as_ref().and_then(Dialer::deadline);
        let ends =
            [self.drain_until, self.flush_until, self.end_until, self.opening_until(), self.answer_until()];
        let deadlines = [self.session.poll_timeout(), dialing, self.retry_at].into_iter().chain(ends);
        self.timer.arm(deadlines.flatten().min(), cx);
        Poll::Pending
    }

    /// Reports the memory that is held; where all together hold too much, requests wait.
    fn account(&mut self, now: Instant) {
        if self.link.set_unsent(self.session.poll_transmit().len()) {
            self.handlers.iter().for_each(|handler| handler.do_send(HandlerMessage::Resume));
        }
        let held = self.session.held() + self.line.as_ref().map_or(0, Pump::buffered);
        let verdict = self.endpoint.memory.report(&self.link, held, self.held);
        self.held = held;
        self.session.pause(verdict == Verdict::Pause, now);
        // Nobody tells when others have let go.
        self.retry_at = (verdict == Verdict::Pause).then(|| now + MEMORY_RETRY);
    }

    /// A line has come, or what leads to one.
    fn open(&mut self, line: Connected, now: Instant) {
        match line.io {
            Io::Stream(stream) => self.begin(Pump::new(stream, line.notes), line.certificate, now),
            Io::Opening(opening) => {
                let until = now + self.endpoint.config.limits.first_byte_timeout;
                self.opening = Some(Handshake { opening, until });
            }
        }
    }

    fn opening_until(&self) -> Option<Instant> {
        self.opening.as_ref().map(|handshake| handshake.until)
    }

    fn poll_opening(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        if self.opening.is_some() && self.has_ended() {
            self.opening = None;
        }
        while let Some(handshake) = &mut self.opening {
            let opened = match handshake.opening.as_mut().poll(cx) {
                Poll::Ready(opened) => opened.map_err(|error| never_was(&error)),
                Poll::Pending if handshake.until <= now => Err(CloseReason::HandshakeTimeout),
                Poll::Pending => return,
            };
            self.opening = None;
            match opened {
                Ok(line) => self.open(line, now),
                Err(reason) => self.not_opened(&reason, now),
            }
        }
    }

    /// There is no line, and was none.
    fn not_opened(&mut self, reason: &CloseReason, now: Instant) {
        info!(%reason, "no connection");
        if self.ready.is_some() || self.dialer.is_none() {
            self.session.end(reason.clone());
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(reason.clone()));
        }
        if let Some(dialer) = &mut self.dialer {
            dialer.lost(reason, None, now);
        }
    }

    /// Whether no line follows, and none is awaited.
    fn has_ended(&self) -> bool {
        self.session.close_reason().is_some_and(|reason| *reason != CloseReason::NotConnected)
            && !self.session.goes_on()
    }

    /// A line is there: the session begins on it.
    fn begin(&mut self, line: Pump, certificate: Option<Arc<[u8]>>, now: Instant) {
        if self.ready.is_some() && self.endpoint.config.serial {
            self.awaited_since.get_or_insert(now);
        }
        self.session.reopen(now);
        if line.keeps_borders() {
            self.session.expect_datagrams(now);
        }
        self.line = Some(line);
        if certificate.is_some() {
            self.session.handle_certificate(now);
        }
        self.link.show_certificate(certificate);
        match self.endpoint.handlers(&self.peer) {
            Ok(handlers) => self.handlers = handlers,
            Err(_) => self.session.close(CloseReason::ServiceFailed),
        }
        self.jobs.resize_with(self.handlers.len(), Vec::new);
        self.show();
        tell(&self.handlers, &Hook::PeerConnected(self.peer.clone()));
        self.endpoint.announce(&self.peer, &ConnectionEvent::Connected);
        // What a service of this peer or a follower has just registered holds from the first message on.
        self.refresh_routes();
    }

    /// Takes over what was registered since the last time.
    fn refresh_routes(&mut self) {
        if let Some((version, dispatch)) = self.endpoint.routes.newer(self.version) {
            self.version = version;
            self.session.set_dispatch(dispatch);
        }
    }

    /// Where the session has ended its line: sends what is left, for a moment, then goes on without a line or ends.
    fn poll_closed(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Poll<()> {
        let Some(reason) = self.session.close_reason().cloned() else { return Poll::Pending };
        if self.opening.is_some() && !self.has_ended() {
            return Poll::Pending;
        }
        if reason == CloseReason::PeerRestarted && self.line.is_some() && self.drain_until.is_none() {
            self.begin_again(&reason, now);
            // What came behind the news has to be read.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(line) = &mut self.line {
            let until = *self.flush_until.get_or_insert(now + FLUSH_TIMEOUT);
            match reason {
                CloseReason::Peer => line.shutdown_now(cx),
                CloseReason::Transport(_) | CloseReason::Handshake { .. } => {}
                _ if until > now => {
                    ready!(line.poll_shutdown(&self.session, cx));
                    // A peer that broke a rule is not listened to any longer.
                    if reason == CloseReason::Local {
                        let mut heard = false;
                        let ended = line.poll_ended(cx, &mut heard);
                        if let Some(most) = self.linger_until.filter(|_| heard) {
                            self.flush_until = Some(until.max(most.min(now + LINGER)));
                        }
                        ready!(ended);
                    }
                }
                _ => {}
            }
            self.lose_line(&reason, now);
            // The dialer has to be polled.
            cx.waker().wake_by_ref();
        }
        if self.session.goes_on() { Poll::Pending } else { self.poll_services_ended(cx, now) }
    }

    /// A client's services are its own, and end with it.
    fn poll_services_ended(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Poll<()> {
        if self.dialer.is_none() {
            return Poll::Ready(());
        }
        self.endpoint.stop();
        let until = *self.end_until.get_or_insert(now + SERVICES_TIMEOUT);
        if until > now { self.endpoint.lifeline.poll_ended(cx) } else { Poll::Ready(()) }
    }

    /// The peer has restarted at the other end of a line that is still there.
    fn begin_again(&mut self, reason: &CloseReason, now: Instant) {
        let Some(line) = self.line.take() else { return };
        self.ready_since = None;
        self.part(reason);
        self.begin(line, None, now);
    }

    /// When whoever awaits the client is told that nobody answers.
    fn answer_until(&self) -> Option<Instant> {
        let since = self.awaited_since.filter(|_| self.ready.is_some() && self.line.is_some())?;
        Some(since + if self.session.has_heard() { 2 * ANSWER_TIMEOUT } else { ANSWER_TIMEOUT })
    }

    /// The line is gone: nobody waits for it any more.
    fn lose_line(&mut self, reason: &CloseReason, now: Instant) {
        if self.line.take().is_none() {
            return;
        }
        let ready_for = self.ready_since.take().map(|since| now.saturating_duration_since(since));
        if let Some(ready) = self.ready.take() {
            self.session.end(reason.clone());
            let _ = ready.send(Err(reason.clone()));
        }
        let goes_on = self.session.goes_on();
        if ready_for.is_some() || !goes_on {
            info!(%reason, "disconnected");
        }
        if let Some(dialer) = self.dialer.as_mut().filter(|_| goes_on) {
            dialer.lost(reason, ready_for, now);
        }
        self.part(reason);
    }

    /// Parts from the peer: what ran for it is cancelled, and everybody is told.
    fn part(&mut self, reason: &CloseReason) {
        self.endpoint.memory.report(&self.link, 0, self.held);
        (self.held, self.retry_at) = (0, None);
        self.flush_until = None;
        for handler in 0..self.handlers.len() {
            self.cancel(handler, None);
        }
        if let Some(gatekeeper) = &mut self.gatekeeper {
            gatekeeper.clear();
        }
        let handlers = std::mem::take(&mut self.handlers);
        self.show();
        let reason: Box<str> = reason.to_string().into();
        tell(&handlers, &Hook::PeerGone { peer: self.peer.clone(), reason: reason.as_ref().into() });
        self.endpoint.release(&handlers);
        self.endpoint.announce(&self.peer, &ConnectionEvent::Disconnected { reason });
        // Who follows the event still sees whose line it was.
        self.session.forget_channel_name();
        self.show();
    }

    /// Takes what handlers and callers have left.
    fn take_outgoing(&mut self, now: Instant) {
        let taken = &mut self.taken;
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
            self.session.close(CloseReason::Reconnect);
            self.dialer.iter_mut().for_each(Dialer::hurry);
        }
        if taken.close {
            self.session.end(CloseReason::Local);
        }
        if taken.shed {
            self.session.close(CloseReason::MemoryExceeded);
        }
        taken.clear();
    }

    /// Does what the session says.
    fn hand_out(&mut self, addr: impl Fn() -> Addr<Self>, cx: &mut TaskContext<'_>, now: Instant) {
        self.hand_out_events(addr, now);
        self.poll_gatekeeper(cx, now);
        for (handler, jobs) in self.handlers.iter().zip(&mut self.jobs) {
            if !jobs.is_empty() {
                let batch = Batch::new(Arc::clone(&self.link), std::mem::take(jobs));
                handler.do_send(HandlerMessage::Run(batch));
            }
        }
        if !self.outcomes.is_empty() {
            self.link.complete(&mut self.outcomes);
        }
    }

    fn hand_out_events(&mut self, addr: impl Fn() -> Addr<Self>, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Dispatch(incoming) => match &mut self.gatekeeper {
                    Some(gatekeeper) => gatekeeper.push(incoming),
                    None => self.run(incoming),
                },
                Event::Completed { call, outcome } => self.outcomes.push((call, outcome)),
                Event::Expired { request, handler } | Event::Cancelled { request, handler } => {
                    self.give_up(handler, request);
                }
                Event::Ask(question) => {
                    if let Some(authenticator) = &self.endpoint.authenticator {
                        authenticator.do_send(Ask { question, answer_to: addr().recipient() });
                    }
                }
                Event::Ready => self.be_ready(now),
            }
        }
    }

    /// Outcomes alone: the line has just failed, and the next turn does the rest.
    fn hand_out_outcomes(&mut self) {
        while let Some(event) = self.session.poll_event() {
            if let Event::Completed { call, outcome } = event {
                self.outcomes.push((call, outcome));
            }
        }
        self.link.complete(&mut self.outcomes);
    }

    /// Takes the application's judgements.
    fn poll_gatekeeper(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        while let Some(Poll::Ready((incoming, verdict))) =
            self.gatekeeper.as_mut().map(|gatekeeper| gatekeeper.poll(&self.link, cx))
        {
            match verdict {
                // One that took too long to judge has been answered.
                Ok(()) if !self.session.is_running(incoming.request) => {}
                Ok(()) => self.run(incoming),
                Err(fault) => {
                    self.session.handle_reply(incoming.request, fault.status(), fault.message(), now);
                }
            }
        }
    }

    fn run(&mut self, incoming: Incoming) {
        // A route always names a handler of its endpoint.
        if let Some(jobs) = self.jobs.get_mut(incoming.route.handler) {
            jobs.push(incoming);
        }
    }

    fn be_ready(&mut self, now: Instant) {
        self.ready_since = Some(now);
        self.show();
        let event = if self.was_ready { ConnectionEvent::Reconnected } else { ConnectionEvent::Ready };
        self.was_ready = true;
        if let Some(dialer) = &mut self.dialer {
            dialer.ready();
        }
        self.endpoint.announce(&self.peer, &event);
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(()));
        }
    }

    /// A request is over before its handler is: where it is on its way there, it does not arrive.
    fn give_up(&mut self, handler: usize, request: RequestId) {
        if self.gatekeeper.as_mut().is_some_and(|gatekeeper| gatekeeper.forget(request)) {
            return;
        }
        let jobs = self.jobs.get_mut(handler);
        match jobs.and_then(|jobs| Some((jobs.iter().position(|job| job.request == request)?, jobs))) {
            Some((at, jobs)) => drop(jobs.remove(at)),
            None => self.cancel(handler, Some(request)),
        }
    }

    fn cancel(&self, handler: usize, request: Option<u64>) {
        if let Some(handler) = self.handlers.get(handler) {
            handler.do_send(HandlerMessage::Cancel { connection: connection_id(&self.link), request });
        }
    }

    /// Shows handles what has changed.
    fn show(&mut self) {
        let view = View {
            auth_state: self.session.auth_state(),
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
            self.shown = view.clone();
            self.link.show(view);
        }
    }

    /// Tells everybody who has to know that no line follows.
    fn end(&mut self) {
        let reason = self.session.close_reason().cloned().unwrap_or(CloseReason::Local);
        self.session.end(reason.clone());
        self.lose_line(&reason, now());
        self.link.end(&reason, self.session.take_inbox());
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

/// Why a line never was; what the transport says is the reason, whatever the kind.
fn never_was(error: &io::Error) -> CloseReason {
    match broken(error) {
        CloseReason::Peer => CloseReason::Transport(error.to_string()),
        reason => reason,
    }
}

/// The time of the runtime, so that a test which pauses it pauses connections too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
