//! The one way into the mailboxes of actors.
//!
//! actix bounds a mailbox for `send` and `try_send` alone, and does not keep the order of `send`; `do_send` keeps it, and
//! puts in as many as it is told. So the bound is what makes senders send: each type of message says it beside its
//! [`Bounded`], and no other type gets into a mailbox.

#![expect(clippy::disallowed_methods, reason = "the others come here, with what bounds their messages")]

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};

/// A message of which only so many can be on their way at once; the comment of each implementation says what sees to that.
pub(crate) trait Bounded: Message<Result = ()> + Send + 'static {}

/// Where messages are sent to. One to an actor that has ended is dropped.
pub(crate) trait Mailbox<M: Bounded> {
    /// Leaves a message, in order and without waiting.
    fn tell(&self, message: M);
}

impl<A, M> Mailbox<M> for Addr<A>
where
    A: Actor<Context: ToEnvelope<A, M>> + Handler<M>,
    M: Bounded,
{
    fn tell(&self, message: M) {
        self.do_send(message);
    }
}

impl<M: Bounded> Mailbox<M> for Recipient<M> {
    fn tell(&self, message: M) {
        self.do_send(message);
    }
}
