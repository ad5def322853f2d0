//! What the session says, done: requests go to handlers, outcomes to callers, questions to the authenticator.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use actix::Addr;

use crate::actor::authenticator::Ask;
use crate::actor::connection::Connection;
use crate::actor::handler::{Batch, HandlerMessage};
use crate::actor::ticket::connection_id;
use crate::mailbox::Mailbox;
use crate::session::{Event, Incoming, RequestId};

impl Connection {
    /// Does what the session says.
    pub(super) fn hand_out(&mut self, addr: impl Fn() -> Addr<Self>, cx: &mut TaskContext<'_>, now: Instant) {
        self.hand_out_events(addr, now);
        self.tell_breaches(now);
        self.poll_gatekeeper(cx, now);
        for (handler, jobs) in self.handlers.iter().zip(&mut self.jobs) {
            if !jobs.is_empty() {
                let batch = Batch::new(Arc::clone(&self.link), std::mem::take(jobs));
                handler.tell(HandlerMessage::Run(batch));
            }
        }
        if !self.outcomes.is_empty() {
            self.link.complete(&mut self.outcomes);
        }
    }

    fn hand_out_events(&mut self, addr: impl Fn() -> Addr<Self>, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Dispatch(incoming) => match &mut self.gatekeeper {
                    Some(gatekeeper) => gatekeeper.push(incoming),
                    None => self.run(incoming),
                },
                Event::Completed { call, outcome } => self.outcomes.push((call, outcome)),
                Event::Expired { request, handler } | Event::Cancelled { request, handler } => {
                    self.give_up(handler, request, now);
                }
                Event::Ask(question) => {
                    if let Some(authenticator) = &self.endpoint.authenticator {
                        authenticator.tell(Ask { question, answer_to: addr().recipient() });
                    }
                }
                Event::WrongKey => self.penalize(now),
                Event::Ready => self.be_ready(now),
            }
        }
    }

    /// Counts and logs the limits that were exceeded.
    pub(super) fn tell_breaches(&mut self, now: Instant) {
        if self.session.has_breaches() {
            for breach in self.session.take_breaches() {
                self.endpoint.tally.note(&breach, self.link.address(), now);
            }
        }
    }

    /// The peer has sent a wrong key.
    fn penalize(&self, now: Instant) {
        if let Some(network) = self.admitted.network {
            self.endpoint.penalties.add(network, now);
        }
    }

    /// Outcomes alone: the line has just failed, and the next turn does the rest. A wrong key is never forgotten.
    pub(super) fn hand_out_outcomes(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Completed { call, outcome } => self.outcomes.push((call, outcome)),
                Event::WrongKey => self.penalize(now),
                _ => {}
            }
        }
        self.link.complete(&mut self.outcomes);
    }

    /// Takes the application's judgements.
    fn poll_gatekeeper(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        // What the session has ended is not run any more.
        if self.session.close_reason().is_some() {
            return;
        }
        while let Some(Poll::Ready((incoming, verdict))) =
            self.gatekeeper.as_mut().map(|gatekeeper| gatekeeper.poll(&self.link, cx))
        {
            match verdict {
                // One that took too long to judge has been answered.
                Ok(()) if !self.session.is_running(incoming.request) => {}
                Ok(()) => self.run(incoming),
                Err(fault) => {
                    self.session.handle_reply(incoming.request, fault.status(), fault.message(), now);
                }
            }
        }
    }

    fn run(&mut self, incoming: Incoming) {
        // A route always names a handler of its endpoint.
        if let Some(jobs) = self.jobs.get_mut(incoming.handler) {
            jobs.push(incoming);
        }
    }

    /// A request is over before its handler is: where it is on its way there, it does not arrive.
    fn give_up(&mut self, handler: usize, request: RequestId, now: Instant) {
        if self.gatekeeper.as_mut().is_some_and(|gatekeeper| gatekeeper.forget(request)) {
            return self.session.handle_gone(request, now);
        }
        let jobs = self.jobs.get_mut(handler);
        match jobs.and_then(|jobs| Some((jobs.iter().position(|job| job.request == request)?, jobs))) {
            Some((at, jobs)) => {
                jobs.remove(at);
                self.session.handle_gone(request, now);
            }
            None => self.cancel(handler, Some(request)),
        }
    }

    pub(super) fn cancel(&self, handler: usize, request: Option<u64>) {
        if let Some(handler) = self.handlers.get(handler) {
            handler.tell(HandlerMessage::Cancel { connection: connection_id(&self.link), request });
        }
    }
}
