//! The duty to answer one request.

use std::sync::Arc;

use crate::fault::Fault;
use crate::id::Status;
use crate::link::Link;
use crate::session::RequestId;

/// Answers exactly once, also when it is dropped: a handler that ends, a cancelled future or a closed mailbox never
/// leaves a caller without an answer, nor the connection without the credit that the request took.
pub(crate) struct Ticket {
    link: Option<Arc<Link>>,
    request: RequestId,
}

impl Ticket {
    pub(crate) fn new(link: Arc<Link>, request: RequestId) -> Self {
        Self { link: Some(link), request }
    }

    /// What the ticket belongs to: the connection, by the place of its link, and the request.
    pub(crate) fn id(&self) -> (usize, RequestId) {
        (self.link.as_ref().map_or(0, connection_id), self.request)
    }

    /// Answers with a reply written as JSON, or with why there is none.
    pub(crate) fn settle(self, outcome: Result<&[u8], Fault>) {
        match outcome {
            Ok(data) => self.answer(Status::OKAY, data),
            Err(fault) => self.answer(fault.status(), fault.message().as_bytes()),
        }
    }

    fn answer(mut self, status: Status, text: &[u8]) {
        if let Some(link) = self.link.take() {
            link.reply(self.request, status, text);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.reply(self.request, Status::CALLBACK_ERROR, b"the handler ended without an answer");
        }
    }
}

/// Tells connections apart: no two links live at one place.
pub(crate) fn connection_id(link: &Arc<Link>) -> usize {
    Arc::as_ptr(link).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Outgoing;

    fn answers(act: impl FnOnce(Ticket)) -> Vec<(RequestId, Status)> {
        let link = Arc::new(Link::new("mem://test".into()));
        act(Ticket::new(Arc::clone(&link), 7));
        let mut taken = Outgoing::default();
        link.take(&mut taken);
        taken.replies.iter().map(|reply| (reply.request, reply.status)).collect()
    }

    #[test]
    fn a_ticket_answers_exactly_once() {
        assert_eq!(answers(|ticket| ticket.settle(Ok(b"1"))), [(7, Status::OKAY)]);
        assert_eq!(
            answers(|ticket| ticket.settle(Err(Fault::unknown("x")))),
            [(7, Status::SERVICE_OR_DATA_UNKNOWN)]
        );
    }

    #[test]
    fn a_dropped_ticket_answers_that_the_handler_is_gone() {
        assert_eq!(answers(drop), [(7, Status::CALLBACK_ERROR)]);
    }
}
