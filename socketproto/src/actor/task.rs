//! A method that waits, and the duty to answer for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::LocalBoxFuture;

use crate::actor::ticket::Ticket;
use crate::contain::Contained;
use crate::fault::Fault;
use crate::session::RequestId;

/// The connection, by the place of its link, and the request.
pub(super) type TaskId = (usize, RequestId);

/// A method's future together with its ticket. Ends with the ticket's id.
pub(super) struct Task {
    future: Contained,
    ticket: Option<Ticket>,
}

impl Task {
    pub(super) fn new(future: LocalBoxFuture<'static, Result<Vec<u8>, Fault>>, ticket: Ticket) -> Self {
        Self { future: Contained::new(future), ticket: Some(ticket) }
    }

    /// What it belongs to; none when it is over.
    pub(super) fn id(&self) -> Option<TaskId> {
        self.ticket.as_ref().map(Ticket::id)
    }
}

impl Future for Task {
    type Output = TaskId;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.future).poll(cx));
        let Some(ticket) = self.ticket.take() else { return Poll::Ready((0, 0)) };
        let id = ticket.id();
        ticket.settle(outcome);
        Poll::Ready(id)
    }
}
