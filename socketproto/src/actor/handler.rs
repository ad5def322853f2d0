//! The actor around one service: it runs requests one after the other and keeps those that wait.
//!
//! Whatever the service's code does stays in here: a panic becomes an answer, and the service lives on.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Handler, Message, Recipient};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use rustc_hash::FxHashMap;

use crate::actor::ticket::{Ticket, unanswered};
use crate::fault::Fault;
use crate::link::{Link, Replies};
use crate::peer::Peer;
use crate::service::{Request, Service, State, Step};
use crate::session::{Incoming, RequestId};

/// What a handler is told. One type, so that requests and what concerns them keep their order.
pub(crate) enum HandlerMessage {
    /// What one read of a connection brought for this handler, in order.
    Run(Batch),
    /// The request, or all of the connection, are of no use any more.
    Cancel { connection: usize, request: Option<RequestId> },
    /// The endpoint has ended.
    Stop,
}

impl Message for HandlerMessage {
    type Result = ();
}

/// Requests of one connection, in order. Those that are never run are answered all the same.
pub(crate) struct Batch {
    link: Arc<Link>,
    jobs: std::vec::IntoIter<Incoming>,
}

impl Batch {
    pub(crate) fn new(link: Arc<Link>, jobs: Vec<Incoming>) -> Self {
        Self { link, jobs: jobs.into_iter() }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut replies = Replies::default();
        for job in self.jobs.by_ref() {
            replies.add(job.request, |_| Err(unanswered()));
        }
        self.link.reply(&mut replies);
    }
}

/// The actor of one service.
struct HandlerActor<S> {
    state: State<S>,
    /// Futures that were not ready when first polled.
    waiting: FuturesUnordered<Abortable<Task>>,
    aborts: FxHashMap<(usize, RequestId), AbortHandle>,
    /// Replies of the batch that runs.
    replies: Replies,
}

/// Starts the actor of a service on this thread.
pub(crate) fn start<S: Service>(service: S) -> Recipient<HandlerMessage> {
    HandlerActor::create(|ctx| {
        // Only `do_send` is used, which ignores capacity; the bound is the credit of each connection.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(Drive);
        HandlerActor {
            state: State::new(service),
            waiting: FuturesUnordered::new(),
            aborts: FxHashMap::default(),
            replies: Replies::default(),
        }
    })
    .recipient()
}

impl<S: Service> HandlerActor<S> {
    /// Runs the requests one after the other; their replies leave together.
    fn run(&mut self, mut batch: Batch) {
        let mut request = Request::new(Peer::of_handler(Arc::clone(&batch.link)));
        for job in batch.jobs.by_ref() {
            request.set(job.header, job.data, job.route.name);
            let mut later = None;
            self.replies.add_some(job.request, |out| {
                match contain(|| S::dispatch(&self.state, job.route.entry, &request, out)) {
                    Ok(Step::Now(outcome)) => Some(outcome),
                    Ok(Step::Later(future)) => {
                        later = Some(future);
                        None
                    }
                    Err(fault) => Some(Err(fault)),
                }
            });
            if let Some(future) = later {
                let ticket = Ticket::new(Arc::clone(&batch.link), job.request);
                self.keep(Task { future: Some(future), ticket: Some(ticket) });
            }
        }
        batch.link.reply(&mut self.replies);
    }

    /// Polls a future once, here and now: many are ready at once. The others are kept; their wakers come with the
    /// first poll of the collection, which this actor's item does before it sleeps.
    fn keep(&mut self, mut task: Task) {
        let id = task.ticket.as_ref().map(Ticket::id);
        if Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        let (abort, registration) = AbortHandle::new_pair();
        if let Some(id) = id {
            self.aborts.insert(id, abort);
        }
        self.waiting.push(Abortable::new(task, registration));
    }

    fn cancel(&mut self, connection: usize, request: Option<RequestId>) {
        let concerned =
            |id: &(usize, RequestId)| id.0 == connection && request.is_none_or(|request| request == id.1);
        for abort in self.aborts.extract_if(|id, _| concerned(id)).map(|(_, abort)| abort) {
            abort.abort();
        }
    }
}

impl<S: Service> Actor for HandlerActor<S> {
    type Context = actix::Context<Self>;
}

impl<S: Service> Handler<HandlerMessage> for HandlerActor<S> {
    type Result = ();

    fn handle(&mut self, message: HandlerMessage, ctx: &mut Self::Context) {
        match message {
            HandlerMessage::Run(batch) => self.run(batch),
            HandlerMessage::Cancel { connection, request } => self.cancel(connection, request),
            HandlerMessage::Stop => ctx.stop(),
        }
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
        while let Poll::Ready(Some(ended)) = actor.waiting.poll_next_unpin(cx) {
            if let Ok(id) = ended {
                actor.aborts.remove(&id);
            }
        }
        Poll::Pending
    }
}

/// A method's future together with its ticket. Ends with the ticket's id.
struct Task {
    future: Option<LocalBoxFuture<'static, Result<Vec<u8>, Fault>>>,
    ticket: Option<Ticket>,
}

impl Task {
    /// Drops the future: that is foreign code too.
    fn release(&mut self) {
        let future = self.future.take();
        let _ = contain(|| drop(future));
    }
}

impl Future for Task {
    type Output = (usize, RequestId);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.future {
            Some(future) => match contain(|| future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(outcome)) => outcome,
                Err(fault) => Err(fault),
            },
            None => Err(Fault::callback_error("")),
        };
        self.release();
        let Some(ticket) = self.ticket.take() else { return Poll::Ready((0, 0)) };
        let id = ticket.id();
        ticket.settle(outcome);
        Poll::Ready(id)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.release();
    }
}

/// Runs foreign code; a panic becomes a fault. The state is borrowed step by step, so it is whole afterwards, if not
/// always as the service's author would wish.
pub(super) fn contain<R>(code: impl FnOnce() -> R) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        tracing::error!("a handler panicked; its caller gets status 2 and the handler lives on");
        // The payload's own destructor may panic as well.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Fault::callback_error("handler panicked")
    })
}
