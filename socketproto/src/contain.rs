//! Foreign code, and how far it reaches.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use crate::fault::Fault;

/// Runs foreign code; a panic becomes a fault. The state is borrowed step by step, so it is whole afterwards, if not
/// always as the service's author would wish.
#[inline]
pub(crate) fn contain<R>(code: impl FnOnce() -> R) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(code)).map_err(panicked)
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>) -> Fault {
    tracing::error!("a handler panicked; its caller gets status 2 and the handler lives on");
    // The payload's own destructor may panic as well.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    Fault::callback_error("handler panicked")
}

/// The future of a method; a panic ends it with a fault, also one of its destructor.
pub(crate) struct Contained(Option<LocalBoxFuture<'static, Result<Vec<u8>, Fault>>>);

impl Contained {
    pub(crate) fn new(future: LocalBoxFuture<'static, Result<Vec<u8>, Fault>>) -> Self {
        Self(Some(future))
    }

    /// Drops the future: that is foreign code too.
    fn release(&mut self) {
        let future = self.0.take();
        let _ = contain(|| drop(future));
    }
}

impl Future for Contained {
    type Output = Result<Vec<u8>, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.0 {
            Some(future) => match contain(|| future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(outcome)) => outcome,
                Err(fault) => Err(fault),
            },
            None => Err(Fault::callback_error("")),
        };
        self.release();
        Poll::Ready(outcome)
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.release();
    }
}
