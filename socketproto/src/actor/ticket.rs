//! The duty to answer one request.

use std::sync::Arc;

use crate::actor::overrun::Overrun;
use crate::fault::Fault;
use crate::link::{Link, Replies};
use crate::message::Header;
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

    /// Says what the method of this request, to which the header belongs, has done.
    pub(super) fn tell(&self, overrun: Overrun, header: &Header) {
        if let Some(link) = &self.link {
            overrun.tell(link, header);
        }
    }

    /// Answers with a reply written as JSON, or with why there is none.
    pub(crate) fn settle(mut self, outcome: Result<Vec<u8>, Fault>) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Result<Vec<u8>, Fault>) {
        if let Some(link) = self.link.take() {
            let mut replies = Replies::default();
            replies.add(self.request, |text| {
                *text = outcome?;
                Ok(())
            });
            link.reply(&mut replies);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answer(Err(unanswered()));
    }
}

/// The answer to a request whose handler has gone.
pub(crate) fn unanswered() -> Fault {
    Fault::callback_error("the handler ended without an answer")
}

/// Tells connections apart: no two links live at one place.
pub(crate) fn connection_id(link: &Arc<Link>) -> usize {
    Arc::as_ptr(link).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Status;
    use crate::link::Outgoing;

    fn answers(act: impl FnOnce(Ticket)) -> Vec<(RequestId, Status)> {
        let link = Arc::new(Link::new("mem://test".into(), Arc::default(), 1024 * 1024));
        act(Ticket::new(Arc::clone(&link), 7));
        let mut taken = Outgoing::default();
        link.take(&mut taken);
        taken.replies.iter().map(|(request, status, _)| (request, status)).collect()
    }

    #[test]
    fn a_ticket_answers_exactly_once() {
        assert_eq!(answers(|ticket| ticket.settle(Ok(vec![b'1']))), [(7, Status::OKAY)]);
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
