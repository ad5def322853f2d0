//! The actor around one service: it runs requests one after the other and keeps those that wait.
//!
//! Whatever the service's code does is contained: a panic becomes an answer, and the service lives on.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Handler, Message, Recipient};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use rustc_hash::FxHashMap;

use crate::actor::lifeline::Alive;
use crate::actor::overrun::Watch;
use crate::actor::own_thread;
use crate::actor::task::{Task, TaskId};
use crate::actor::ticket::{Ticket, connection_id, unanswered};
use crate::contain::contain;
use crate::fault::Fault;
use crate::link::{Link, Replies};
use crate::mailbox::{Bounded, Mailbox};
use crate::peer::Peer;
use crate::service::{Door, Entry, Hook, Request, Service, State, Step, Visit};
use crate::session::{Incoming, RequestId};

/// What a handler is told. One type, so that requests and what concerns them keep their order.
pub(crate) enum HandlerMessage {
    /// What one read of a connection brought for this handler, in order.
    Run(Batch),
    /// The request, or all of the connection, are of no use any more.
    Cancel { connection: usize, request: Option<RequestId> },
    /// Peers that took too little have caught up.
    Resume,
    /// Something happened to a peer; for services with hooks alone.
    Hook(Hook),
    /// The endpoint has ended.
    Stop,
}

impl Message for HandlerMessage {
    type Result = ();
}

/// - `Run`: at most one for each request of a connection that its session counts as worked on, see
///   `Limits::max_in_flight`;
/// - `Cancel`: one for each such request, and one for each connection;
/// - `Resume`: one for each batch that was set aside;
/// - `Hook`: a few for each connection;
/// - `Stop`: one or two.
impl Bounded for HandlerMessage {}

/// Requests of one connection, in order. Those that are never run are answered all the same.
pub(crate) struct Batch {
    link: Arc<Link>,
    jobs: VecDeque<Incoming>,
}

impl Batch {
    pub(crate) fn new(link: Arc<Link>, jobs: Vec<Incoming>) -> Self {
        Self { link, jobs: jobs.into() }
    }

    /// Drops requests that are over; the connection hears of each, for until then it keeps its place.
    fn forget(&mut self, is_over: impl Fn(&TaskId) -> bool) {
        let of = connection_id(&self.link);
        let mut replies = Replies::default();
        self.jobs.retain(|job| {
            let is_over = is_over(&(of, job.request));
            if is_over {
                replies.add(job.request, |_| Err(unanswered()));
            }
            !is_over
        });
        self.link.reply(&mut replies);
    }

    /// Answers all of them with this fault.
    fn refuse(&mut self, fault: &Fault) {
        let mut replies = Replies::default();
        for job in self.jobs.drain(..) {
            replies.add(job.request, |_| Err(fault.clone()));
        }
        self.link.reply(&mut replies);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.refuse(&unanswered());
    }
}

/// The actor of one service.
struct HandlerActor<S> {
    state: State<S>,
    /// Futures that were not ready when first polled.
    waiting: FuturesUnordered<Abortable<Task>>,
    aborts: FxHashMap<TaskId, AbortHandle>,
    /// The request beside which no other begins.
    exclusive: Option<Exclusive>,
    /// What came while it runs.
    queue: VecDeque<Batch>,
    /// Requests of peers to which too much is unsent.
    aside: Vec<Batch>,
    /// Replies of the batch that runs.
    replies: Replies,
    watch: Watch,
    /// Dropped last, when the hooks have run.
    _alive: Alive,
}

/// A future that was not ready when first polled, and beside which no other request begins.
struct Exclusive {
    task: Task,
    id: TaskId,
    /// Calls of its method to the peer that wait for their answers.
    calls: Arc<AtomicUsize>,
    no_cancel: bool,
}

/// Makes a service and starts its actor: on this thread, or on one of its own. `on_door` is given the way into it;
/// `alive` is held until it has ended.
pub(crate) fn start<S: Service>(
    make: impl FnOnce() -> S + Send + 'static,
    on_door: impl FnOnce(&Door<S>) + Send + 'static,
    alive: Alive,
) -> io::Result<Recipient<HandlerMessage>> {
    if S::SERVICE.has_own_thread() {
        own_thread::start(S::SERVICE.name(), move || start_here(make(), on_door, alive))
    } else {
        Ok(start_here(make(), on_door, alive))
    }
}

fn start_here<S: Service>(
    service: S,
    on_door: impl FnOnce(&Door<S>),
    alive: Alive,
) -> Recipient<HandlerMessage> {
    HandlerActor::create(|ctx| {
        // Nothing that it bounds is used, see `mailbox`.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Drive);
        let addr = ctx.address();
        let door = Door::new(move |visit| addr.tell(Enter(visit)));
        on_door(&door);
        HandlerActor {
            state: State::new(service, door),
            waiting: FuturesUnordered::new(),
            aborts: FxHashMap::default(),
            exclusive: None,
            queue: VecDeque::new(),
            aside: Vec::new(),
            replies: Replies::default(),
            watch: Watch::default(),
            _alive: alive,
        }
    })
    .recipient()
}

impl<S: Service> HandlerActor<S> {
    /// Takes the requests of one read: at once, or where another request excludes them, later.
    fn take(&mut self, mut batch: Batch) {
        match &self.exclusive {
            None => self.run(batch),
            // The method waits for its peer, and the peer perhaps for this: neither would ever end.
            Some(exclusive) if exclusive.waits_for(&batch) => batch.refuse(&busy()),
            Some(_) => self.queue.push_back(batch),
        }
    }

    /// Whether a batch has to wait until its peer has taken more of what it asked for (protocol.md 8.1), or until
    /// those before it do not wait any more.
    fn is_held_up(&self, batch: &Batch) -> bool {
        if self.aside.iter().any(|before| Arc::ptr_eq(&before.link, &batch.link)) {
            return true;
        }
        let link = &batch.link;
        if !link.is_congested(self.replies.size()) {
            return false;
        }
        link.set_aside();
        link.is_congested(self.replies.size())
    }

    /// Runs what was set aside, as far as its peers have caught up.
    fn take_aside(&mut self) {
        for batch in std::mem::take(&mut self.aside) {
            self.take(batch);
        }
    }

    /// Runs the requests one after the other; their replies leave together, or where the connection has a thread of
    /// its own to send them, each at once.
    fn run(&mut self, mut batch: Batch) {
        let link = Arc::clone(&batch.link);
        let mut request = Request::new(Peer::of_handler(Arc::clone(&link)));
        if !S::SERVICE.has_own_thread() {
            self.watch.begin(Instant::now());
        }
        loop {
            if !batch.jobs.is_empty() && self.is_held_up(&batch) {
                self.aside.push(batch);
                break;
            }
            let Some(job) = batch.jobs.pop_front() else { break };
            request.set(job.header, job.data, job.name);
            self.serve(&link, &request, job.request, job.entry);
            if self.watch.has_run() {
                self.look(&link, &request);
            }
            if S::SERVICE.has_own_thread() {
                link.reply(&mut self.replies);
            }
            if self.exclusive.is_some() && !batch.jobs.is_empty() {
                self.queue.push_front(batch);
                break;
            }
        }
        link.reply(&mut self.replies);
        if !S::SERVICE.has_own_thread() {
            self.look(&link, &request);
        }
    }

    /// Whether what has just run held up the thread.
    fn look(&mut self, link: &Link, request: &Request) {
        if let Some(overrun) = self.watch.look(Instant::now()) {
            overrun.tell(link, request.header());
        }
    }

    /// Runs one request as far as it goes at once.
    fn serve(&mut self, link: &Arc<Link>, request: &Request, id: RequestId, position: usize) {
        let entry = S::SERVICE.entries().get(position);
        let calls = entry.is_some_and(Entry::is_exclusive).then(Arc::<AtomicUsize>::default);
        let counted = calls
            .as_ref()
            .map(|calls| request.with_peer(Peer::of_handler(Arc::clone(link)).counted(Arc::clone(calls))));
        let request = counted.as_ref().unwrap_or(request);
        let mut later = None;
        self.replies.add_some(id, |out| match contain(|| self.state.dispatch(position, request, out)) {
            Ok(Step::Now(outcome)) => Some(outcome),
            Ok(Step::Later(future)) => {
                later = Some(future);
                None
            }
            Ok(Step::Untaken) => {
                link.give_back(id, request.message());
                None
            }
            Err(fault) => {
                panicked(link, request);
                Some(Err(fault))
            }
        });
        if let Some(future) = later {
            let watched = !S::SERVICE.has_own_thread();
            let task =
                Task::new(future, Ticket::new(Arc::clone(link), id), watched.then(|| *request.header()));
            self.keep(task, calls, entry.is_some_and(Entry::is_no_cancel));
        }
    }

    /// Polls a future once, here and now: many are ready at once. The others are kept; their wakers come with the
    /// next poll, which this actor's item does before it sleeps.
    fn keep(&mut self, mut task: Task, exclusive: Option<Arc<AtomicUsize>>, no_cancel: bool) {
        let Some(id) = task.id() else { return };
        if Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        if let Some(calls) = exclusive {
            self.exclusive = Some(Exclusive { task, id, calls, no_cancel });
            return;
        }
        let (abort, registration) = AbortHandle::new_pair();
        if !no_cancel {
            self.aborts.insert(id, abort);
        }
        self.waiting.push(Abortable::new(task, registration));
    }

    /// Drops what is of no use any more: futures that may be cancelled, and requests that have not begun.
    fn cancel(&mut self, connection: usize, request: Option<RequestId>) {
        let concerned = |id: &TaskId| id.0 == connection && request.is_none_or(|request| request == id.1);
        for abort in self.aborts.extract_if(|id, _| concerned(id)).map(|(_, abort)| abort) {
            abort.abort();
        }
        self.exclusive.take_if(|exclusive| !exclusive.no_cancel && concerned(&exclusive.id));
        for batch in self.queue.iter_mut().chain(&mut self.aside) {
            batch.forget(concerned);
        }
        self.queue.retain(|batch| !batch.jobs.is_empty());
        self.aside.retain(|batch| !batch.jobs.is_empty());
    }

    /// Runs what came while a request excluded it, up to the next such request.
    fn resume(&mut self) {
        while self.exclusive.is_none() {
            let Some(batch) = self.queue.pop_front() else { return };
            self.run(batch);
        }
    }

    /// Steps into the state, for foreign code.
    fn enter(&self, step: impl FnOnce(&mut S)) {
        if let Ok(mut state) = self.state.borrow_mut() {
            // The caller of a step that panics sees that its result never comes.
            let _ = contain(|| step(&mut state));
        }
    }

    fn hook(&self, hook: &Hook) {
        if S::SERVICE.has_hooks() {
            self.enter(|state| state.hook(hook));
        }
    }
}

impl Exclusive {
    /// Whether its method waits for an answer of the peer that sent these requests.
    fn waits_for(&self, batch: &Batch) -> bool {
        self.id.0 == connection_id(&batch.link) && self.calls.load(Ordering::Acquire) > 0
    }
}

/// Says whose handler it was.
fn panicked(link: &Link, request: &Request) {
    let (_, table) = link.routes().snapshot();
    let channel = link.view().channel_name;
    let (message, peer) = (table.describe(request.header()), link.address());
    tracing::error!(%message, %peer, channel = channel.as_deref(), "its handler panicked");
}

fn busy() -> Fault {
    Fault::callback_error("busy: an exclusive method of this service waits for an answer of this peer")
}

impl<S: Service> Actor for HandlerActor<S> {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.hook(&Hook::Started);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.hook(&Hook::Stopping);
        if S::SERVICE.has_own_thread() {
            own_thread::end();
        }
    }
}

impl<S: Service> Handler<HandlerMessage> for HandlerActor<S> {
    type Result = ();

    fn handle(&mut self, message: HandlerMessage, ctx: &mut Self::Context) {
        match message {
            HandlerMessage::Run(batch) => self.take(batch),
            HandlerMessage::Cancel { connection, request } => self.cancel(connection, request),
            HandlerMessage::Resume => self.take_aside(),
            HandlerMessage::Hook(hook) => self.hook(&hook),
            HandlerMessage::Stop => ctx.stop(),
        }
    }
}

/// A step into the state, from another thread.
struct Enter<S>(Visit<S>);

impl<S> Message for Enter<S> {
    type Result = ();
}

/// One for each step that the program takes into its service, mostly awaited; a peer makes as many as requests of its run.
impl<S: 'static> Bounded for Enter<S> {}

impl<S: Service> Handler<Enter<S>> for HandlerActor<S> {
    type Result = ();

    fn handle(&mut self, Enter(visit): Enter<S>, _: &mut Self::Context) {
        self.enter(visit);
    }
}

/// The actor's one item: polls the futures that wait.
struct Drive;

impl<S: Service> ActorFuture<HandlerActor<S>> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut HandlerActor<S>,
        _: &mut actix::Context<HandlerActor<S>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            while let Poll::Ready(Some(ended)) = actor.waiting.poll_next_unpin(cx) {
                if let Ok(id) = ended {
                    actor.aborts.remove(&id);
                }
            }
            if let Some(exclusive) = &mut actor.exclusive {
                ready!(Pin::new(&mut exclusive.task).poll(cx));
                actor.exclusive = None;
            }
            if actor.queue.is_empty() {
                return Poll::Pending;
            }
            // What begins now is polled in the next round.
            actor.resume();
        }
    }
}

#[cfg(test)]
mod tests;
