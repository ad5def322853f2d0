//! One call of a handle: from the moment it is asked for to its outcome.

use std::task::{Context, Poll};

use crate::link::Link;
use crate::session::{CallFailure, CallKey, CallOutcome, CloseReason, NewCall};

/// The wait for the outcome of something asked of a connection. Whoever holds it holds the link too, and forgets it when
/// it is dropped.
#[derive(Default)]
pub(crate) struct Pending(Option<CallKey>);

impl Pending {
    /// Asks. The link keeps the waker, so that there is nothing to look for yet, unless the connection has ended.
    #[inline]
    pub(crate) fn ask(&mut self, link: &Link, new: NewCall, cx: &Context<'_>) -> Poll<CallOutcome> {
        match link.call(cx.waker(), new) {
            Ok(call) => {
                self.0 = Some(call);
                Poll::Pending
            }
            Err(outcome) => Poll::Ready(outcome),
        }
    }

    /// Whether nothing is waited for, be it that the outcome was taken or that nothing was asked.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// The outcome, once.
    #[inline]
    pub(crate) fn poll(&mut self, link: &Link, cx: &Context<'_>) -> Poll<CallOutcome> {
        let Some(call) = self.0 else { return Poll::Ready(Err(CallFailure::Lost(CloseReason::Local))) };
        let outcome = link.poll_call(call, cx);
        if outcome.is_ready() {
            self.0 = None;
        }
        outcome
    }

    /// Nobody waits for it any more.
    #[inline]
    pub(crate) fn forget(&self, link: &Link) {
        if let Some(call) = self.0 {
            link.cancel(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::message::{Json, Message};
    use crate::session::{CallKind, Done, Inbox, Received};

    fn receive() -> NewCall {
        NewCall {
            call: 0,
            kind: CallKind::Receive,
            service_id: 10.into(),
            data_id: 1.into(),
            data: Vec::new(),
            timeout: Duration::from_secs(10),
            nested: false,
            response: None,
        }
    }

    #[test]
    fn what_is_asked_behind_the_end_has_its_outcome_at_once() {
        let link = Link::new("mem://test".into(), Arc::default(), 1024 * 1024);
        let received = || Received { message: Message::new(10, 1, Json::NULL), line: 0 };
        let mut inbox = Inbox::default();
        inbox.put_back(received());
        link.end(&CloseReason::Peer, inbox);
        let poll = || Pending::default().ask(&link, receive(), &Context::from_waker(Waker::noop()));
        assert_eq!(poll(), Poll::Ready(Ok(Done::Received(Box::new(received())))));
        assert_eq!(poll(), Poll::Ready(Err(CallFailure::Unsent(Some(CloseReason::Peer)))));
    }
}
