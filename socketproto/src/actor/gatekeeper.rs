//! Asks the application whether a request may be run, one after the other, so that their order stays.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use crate::contain::contain;
use crate::fault::Fault;
use crate::link::Link;
use crate::peer::Peer;
use crate::service::{Call, Door, Request, State};
use crate::session::{Incoming, RequestId};

/// The application's judgement of a request.
pub(crate) type Authorize = Arc<dyn Fn(Call<()>) -> LocalBoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// The requests of one connection that wait for the application's word.
pub(super) struct Gatekeeper {
    authorize: Authorize,
    queue: VecDeque<Incoming>,
    /// The judgement of the first in the queue.
    judging: Option<LocalBoxFuture<'static, Result<(), Fault>>>,
}

impl Gatekeeper {
    pub(super) fn new(authorize: Authorize) -> Self {
        Self { authorize, queue: VecDeque::new(), judging: None }
    }

    pub(super) fn push(&mut self, incoming: Incoming) {
        self.queue.push_back(incoming);
    }

    /// The next request that has been judged.
    pub(super) fn poll(
        &mut self,
        link: &Arc<Link>,
        cx: &mut Context<'_>,
    ) -> Poll<(Incoming, Result<(), Fault>)> {
        let Some(first) = self.queue.front() else { return Poll::Pending };
        let outcome = match &mut self.judging {
            Some(judging) => contain(|| judging.as_mut().poll(cx)),
            None => contain(|| {
                let mut judging = (self.authorize)(context(first, link));
                let outcome = judging.as_mut().poll(cx);
                if outcome.is_pending() {
                    self.judging = Some(judging);
                }
                outcome
            }),
        };
        let verdict = match outcome {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(verdict)) => verdict,
            Err(fault) => Err(fault),
        };
        self.forget_judging();
        match self.queue.pop_front() {
            Some(incoming) => Poll::Ready((incoming, verdict)),
            None => Poll::Pending,
        }
    }

    /// A request is over before it has been judged; gives whether it waited here.
    pub(super) fn forget(&mut self, request: RequestId) -> bool {
        let Some(at) = self.queue.iter().position(|incoming| incoming.request == request) else {
            return false;
        };
        if at == 0 {
            self.forget_judging();
        }
        self.queue.remove(at).is_some()
    }

    /// The line is gone: nothing is run any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.forget_judging();
    }

    fn forget_judging(&mut self) {
        let judging = self.judging.take();
        let _ = contain(|| drop(judging));
    }
}

fn context(incoming: &Incoming, link: &Arc<Link>) -> Call<()> {
    let mut request = Request::new(Peer::of_handler(Arc::clone(link)));
    request.set(incoming.header, incoming.data.clone(), incoming.name);
    request.call(&State::new((), Door::new(drop)))
}
