//! A method that waits, and the duty to answer for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::future::LocalBoxFuture;

use crate::actor::overrun::Overrun;
use crate::actor::ticket::Ticket;
use crate::contain::Contained;
use crate::fault::Fault;
use crate::message::Header;
use crate::session::RequestId;

/// The connection, by the place of its link, and the request.
pub(super) type TaskId = (usize, RequestId);

/// A method's future together with its ticket. Ends with the ticket's id.
pub(super) struct Task {
    future: Contained,
    ticket: Option<Ticket>,
    /// The request, where a step that takes long holds up others.
    watched: Option<Header>,
    has_begun: bool,
}

impl Task {
    pub(super) fn new(
        future: LocalBoxFuture<'static, Result<Vec<u8>, Fault>>,
        ticket: Ticket,
        watched: Option<Header>,
    ) -> Self {
        Self { future: Contained::new(future), ticket: Some(ticket), watched, has_begun: false }
    }

    /// One step. The first is a part of the turn in which the request came, and is watched there.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Fault>> {
        let watched = self.watched.filter(|_| std::mem::replace(&mut self.has_begun, true));
        let Some(header) = watched else { return Pin::new(&mut self.future).poll(cx) };
        let began = Instant::now();
        let outcome = Pin::new(&mut self.future).poll(cx);
        if let (Some(overrun), Some(ticket)) = (Overrun::of_step(began, Instant::now()), self.ticket.as_ref())
        {
            ticket.tell(overrun, &header);
        }
        outcome
    }

    /// What it belongs to; none when it is over.
    pub(super) fn id(&self) -> Option<TaskId> {
        self.ticket.as_ref().map(Ticket::id)
    }
}

impl Future for Task {
    type Output = TaskId;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.step(cx));
        let Some(ticket) = self.ticket.take() else { return Poll::Ready((0, 0)) };
        let id = ticket.id();
        ticket.settle(outcome);
        Poll::Ready(id)
    }
}
