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

    fn leave(&mut self, cx: &Context<'_>) -> Result<CallKey, CloseReason> {
        let State::Unsent(new) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(CloseReason::Local);
        };
        let call = self.link.call(cx.waker(), new)?;
        self.state = State::Waiting(call);
        Ok(call)
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
        let call = match self.state {
            State::Waiting(call) => call,
            State::Over => return Poll::Ready(Err(CallFailure::Lost(CloseReason::Local))),
            State::Unsent(_) => match self.leave(cx) {
                Ok(call) => call,
                Err(reason) => return Poll::Ready(Err(CallFailure::Lost(reason))),
            },
        };
        let outcome = std::task::ready!(self.link.poll_call(call, cx));
        self.state = State::Over;
        Poll::Ready(outcome)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Waiting(call) = self.state {
            self.link.cancel(call);
        }
    }
}
