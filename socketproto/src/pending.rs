//! Something asked of a connection, and the wait for its outcome.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::link::Link;
use crate::session::{CallFailure, CallKey, CallOutcome, CloseReason, NewCall};

/// Left in the link when it is first polled; forgotten when it is dropped before its outcome has come.
///
/// The wait is timed by the connection, so that any executor will do.
pub(crate) struct Pending {
    link: Arc<Link>,
    state: State,
}

enum State {
    Unsent(NewCall),
    Waiting(CallKey),
    Over,
}

impl Pending {
    pub(crate) fn new(link: Arc<Link>, new: NewCall) -> Self {
        Self { link, state: State::Unsent(new) }
    }

    /// Leaves it without waiting for what comes of it.
    #[cfg(feature = "blocking")]
    pub(crate) fn post(mut self) -> Result<(), CloseReason> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Unsent(new) => self.link.post(new),
            State::Waiting(_) | State::Over => Ok(()),
        }
    }
}

impl Future for Pending {
    type Output = CallOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallOutcome> {
        match std::mem::replace(&mut self.state, State::Over) {
            // The link keeps the waker, so there is nothing to look for yet.
            State::Unsent(new) => match self.link.call(cx.waker(), new) {
                Ok(call) => {
                    self.state = State::Waiting(call);
                    Poll::Pending
                }
                Err(outcome) => Poll::Ready(outcome),
            },
            State::Waiting(call) => {
                let outcome = self.link.poll_call(call, cx);
                if outcome.is_pending() {
                    self.state = State::Waiting(call);
                }
                outcome
            }
            State::Over => Poll::Ready(Err(CallFailure::Lost(CloseReason::Local))),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Waiting(call) = self.state {
            self.link.cancel(call);
        }
    }
}

#[cfg(test)]
mod tests {
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
        let link = Arc::new(Link::new("mem://test".into(), Arc::default()));
        let received = || Received { message: Message::new(10, 1, Json::NULL), line: 0 };
        let mut inbox = Inbox::default();
        inbox.put_back(received());
        link.end(&CloseReason::Peer, inbox);
        let poll = || {
            let mut pending = Pending::new(Arc::clone(&link), receive());
            Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()))
        };
        assert_eq!(poll(), Poll::Ready(Ok(Done::Received(Box::new(received())))));
        assert_eq!(poll(), Poll::Ready(Err(CallFailure::Unsent(Some(CloseReason::Peer)))));
    }
}
