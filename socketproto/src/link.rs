//! The border between one connection's actor and everybody else.
//!
//! Callers on any thread and handlers put their calls and replies here and wake the connection once; it takes all of
//! them in one go, so that one write carries what gathered. Outcomes of calls come back through slots that keep the
//! caller's waker: no message, no channel and no timer for each call.

mod replies;
mod slots;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::id::{AuthState, Level};
use crate::message::Message;
use crate::routes::Routes;
use crate::session::{
    CallFailure, CallKey, CallKind, CallOutcome, CloseReason, Done, Inbox, NewCall, Received, RequestId,
};

use crate::link::slots::Slots;

pub(crate) use crate::link::replies::Replies;

/// Calls for which room is kept: callers may leave any number at once, and the room is one thread's for all its life.
const RETAINED: usize = 1024;

/// The key of a call whose outcome nobody waits for.
#[cfg(feature = "blocking")]
const NOBODY: CallKey = CallKey::MAX;

/// The border of one connection.
pub(crate) struct Link {
    address: Arc<str>,
    /// What its endpoint serves.
    routes: Arc<Routes>,
    inner: Mutex<Inner>,
    waker: Mutex<Option<Waker>>,
    /// Set by the first who leaves something, cleared by the connection before it looks: one wake for many.
    kicked: AtomicBool,
    /// Bytes unsent: what the connection has to send, and what has been left for it here.
    unsent: AtomicUsize,
    left: AtomicUsize,
    /// While more than this is unsent to the peer none of its requests is run.
    unsent_mark: usize,
    /// A handler has set requests aside until less is unsent.
    aside: AtomicBool,
    closed: Notify,
}

#[derive(Default)]
struct Inner {
    outgoing: Outgoing,
    slots: Slots,
    end: Option<CloseReason>,
    /// What nobody had received when the connection ended.
    unreceived: Option<Box<Inbox>>,
    view: View,
    certificate: Option<Arc<[u8]>>,
}

/// What the connection takes over.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) replies: Replies,
    pub(crate) calls: Vec<NewCall>,
    pub(crate) cancelled: Vec<CallKey>,
    /// Requests that no callback of this endpoint takes any more.
    pub(crate) returned: Vec<(RequestId, Message)>,
    /// Messages whose receivers have gone.
    pub(crate) unreceived: Vec<Received>,
    /// Somebody asked for another line, behind so many of the calls; those after them are for that line.
    pub(crate) reconnect: Option<usize>,
    /// The last handle is gone, or somebody asked for the end.
    pub(crate) close: bool,
    /// The endpoint holds too much memory, and this connection most of it.
    pub(crate) shed: bool,
}

impl Outgoing {
    /// Keeps no room for what may come.
    pub(crate) fn shrink(&mut self) {
        self.replies.shrink();
        self.calls.shrink_to_fit();
        self.cancelled.shrink_to_fit();
        self.returned.shrink_to_fit();
        self.unreceived.shrink_to_fit();
    }

    /// Empties everything and keeps the memory, unless a burst has made it large.
    pub(crate) fn clear(&mut self) {
        self.replies.clear();
        self.calls.clear();
        self.calls.shrink_to(RETAINED);
        self.cancelled.clear();
        self.cancelled.shrink_to(RETAINED);
        self.returned.clear();
        self.unreceived.clear();
        self.reconnect = None;
        self.close = false;
        self.shed = false;
    }
}

/// What handles show of a connection.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) auth_state: AuthState,
    pub(crate) level: Option<Level>,
    pub(crate) channel_name: Option<Arc<str>>,
    pub(crate) connected: bool,
    pub(crate) ready: bool,
    /// Connected, and trusted where a secret is set.
    pub(crate) established: bool,
}

impl Link {
    pub(crate) fn new(address: Arc<str>, routes: Arc<Routes>, unsent_mark: usize) -> Self {
        Self {
            address,
            routes,
            inner: Mutex::default(),
            waker: Mutex::default(),
            kicked: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            unsent_mark,
            aside: AtomicBool::new(false),
            closed: Notify::new(),
        }
    }

    /// The address of the peer, as a URL.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// What its endpoint serves.
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    // Handlers and callers

    /// Leaves the outcomes of requests; `replies` is empty afterwards.
    pub(crate) fn reply(&self, replies: &mut Replies) {
        if replies.is_empty() {
            return;
        }
        let mut inner = self.lock();
        if inner.end.is_none() {
            self.left.fetch_add(replies.size(), Ordering::SeqCst);
            replies.append_to(&mut inner.outgoing.replies);
        }
        drop(inner);
        replies.clear();
        self.kick();
    }

    /// Leaves a call. Gives the key under which the outcome will be found; behind the end it has its outcome at once.
    #[inline]
    pub(crate) fn call(&self, waker: &Waker, mut new: NewCall) -> Result<CallKey, CallOutcome> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.end {
            let unsent = CallFailure::Unsent(Some(reason.clone()));
            return Err(inner.receive_after_the_end(&new).ok_or(unsent));
        }
        let key = inner.slots.insert(waker);
        new.call = key;
        inner.outgoing.calls.push(new);
        drop(inner);
        self.kick();
        Ok(key)
    }

    /// Leaves a call whose outcome nobody waits for.
    #[cfg(feature = "blocking")]
    pub(crate) fn post(&self, mut new: NewCall) -> Result<(), CloseReason> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.end {
            return Err(reason.clone());
        }
        new.call = NOBODY;
        inner.outgoing.calls.push(new);
        drop(inner);
        self.kick();
        Ok(())
    }

    /// Gives a request back that nobody takes any more.
    pub(crate) fn give_back(&self, request: RequestId, message: Message) {
        self.lock().outgoing.returned.push((request, message));
        self.kick();
    }

    /// The outcome of a call, once.
    #[inline]
    pub(crate) fn poll_call(&self, call: CallKey, cx: &Context<'_>) -> Poll<CallOutcome> {
        self.lock().slots.poll(call, cx)
    }

    /// The caller has gone before it took the outcome.
    pub(crate) fn cancel(&self, call: CallKey) {
        let mut inner = self.lock();
        match inner.slots.remove(call) {
            Some(Some(outcome)) => inner.take_back(outcome),
            Some(None) if inner.end.is_none() => inner.outgoing.cancelled.push(call),
            Some(None) => {}
            None => return,
        }
        drop(inner);
        self.kick();
    }

    /// Asks for another line; where there is none to be had, for the end.
    pub(crate) fn request_reconnect(&self) {
        {
            let outgoing = &mut self.lock().outgoing;
            outgoing.reconnect.get_or_insert(outgoing.calls.len());
        }
        self.kick();
    }

    /// Asks for the end of the connection.
    pub(crate) fn request_close(&self) {
        self.lock().outgoing.close = true;
        self.kick();
    }

    /// Asks for the end of a line that holds too much memory.
    pub(crate) fn shed(&self) {
        self.lock().outgoing.shed = true;
        self.kick();
    }

    pub(crate) fn view(&self) -> View {
        self.lock().view.clone()
    }

    /// The certificate of the peer, as DER.
    pub(crate) fn certificate(&self) -> Option<Arc<[u8]>> {
        self.lock().certificate.clone()
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&self) {
        let mut closed = pin!(self.closed.notified());
        // Before the look, so that it is not missed.
        closed.as_mut().enable();
        if self.lock().end.is_none() {
            closed.await;
        }
    }

    /// Whether so much is unsent that no further request may be run, `more` bytes included that are about to be left.
    #[inline]
    pub(crate) fn is_congested(&self, more: usize) -> bool {
        self.unsent.load(Ordering::SeqCst) + self.left.load(Ordering::SeqCst) + more > self.unsent_mark
    }

    /// A handler sets requests aside. It has to look again afterwards: what was unsent may just have left.
    pub(crate) fn set_aside(&self) {
        self.aside.store(true, Ordering::SeqCst);
    }

    // The connection

    /// Shows what is unsent; true where handlers that have set requests aside can go on.
    pub(crate) fn set_unsent(&self, bytes: usize) -> bool {
        if self.unsent.load(Ordering::SeqCst) != bytes {
            self.unsent.store(bytes, Ordering::SeqCst);
        }
        self.aside.load(Ordering::SeqCst) && !self.is_congested(0) && self.aside.swap(false, Ordering::SeqCst)
    }

    /// Makes sure that this task of the connection runs when something is left from now on.
    pub(crate) fn register(&self, waker: Waker) {
        *self.waker() = Some(waker);
    }

    /// Swaps what has been left against an empty one.
    pub(crate) fn take(&self, empty: &mut Outgoing) {
        if self.kicked.load(Ordering::Acquire) && self.kicked.swap(false, Ordering::AcqRel) {
            let mut inner = self.lock();
            std::mem::swap(&mut inner.outgoing, empty);
            if self.left.load(Ordering::SeqCst) != 0 {
                self.left.store(0, Ordering::SeqCst);
            }
        }
    }

    /// Keeps no room for what may be left.
    pub(crate) fn shrink(&self) {
        let mut inner = self.lock();
        inner.outgoing.shrink();
        inner.slots.shrink();
    }

    /// Hands out outcomes and wakes the callers.
    #[inline]
    pub(crate) fn complete(&self, outcomes: &mut Vec<(CallKey, CallOutcome)>) {
        let mut wakers = Vec::with_capacity(outcomes.len());
        #[cfg(feature = "blocking")]
        for (_, outcome) in outcomes.iter().filter(|(call, _)| *call == NOBODY) {
            outcome.as_ref().err().into_iter().for_each(tell_unsent);
        }
        let mut inner = self.lock();
        for (call, outcome) in outcomes.drain(..) {
            wakers.extend(inner.complete(call, outcome));
        }
        let returned = !inner.outgoing.unreceived.is_empty();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        if returned {
            self.kick();
        }
    }

    pub(crate) fn show(&self, view: View) {
        self.lock().view = view;
    }

    /// Shows whose line this is.
    pub(crate) fn show_certificate(&self, certificate: Option<Arc<[u8]>>) {
        self.lock().certificate = certificate;
    }

    /// The connection is over: calls that were left but not taken fail, and so do all from now on.
    /// Messages that nobody has received can still be.
    pub(crate) fn end(&self, reason: &CloseReason, unreceived: Inbox) {
        let mut inner = self.lock();
        if inner.end.is_none() {
            inner.end = Some(reason.clone());
            inner.unreceived = Some(Box::new(unreceived));
        }
        let outgoing = std::mem::take(&mut inner.outgoing);
        for received in outgoing.unreceived {
            inner.keep(received);
        }
        let mut wakers = Vec::new();
        // Those who asked in the last moment come before the end.
        for new in outgoing.calls {
            #[cfg(feature = "blocking")]
            if new.call == NOBODY {
                tell_unsent(&CallFailure::Lost(reason.clone()));
                continue;
            }
            if let Some(done) = inner.receive_after_the_end(&new) {
                wakers.extend(inner.complete(new.call, Ok(done)));
            }
        }
        inner.view = View { channel_name: inner.view.channel_name.take(), ..View::default() };
        wakers.extend(inner.slots.fail(&CallFailure::Lost(reason.clone())));
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        *self.waker() = None;
        self.closed.notify_waiters();
    }

    /// What was left is there: whoever takes it clears the mark first, and then looks under the lock.
    #[inline]
    fn kick(&self) {
        // A look costs less than a change, and all but the first of a turn find the mark set.
        if !self.kicked.load(Ordering::Acquire) && !self.kicked.swap(true, Ordering::AcqRel) {
            // It stays: a connection is one task for all its life.
            self.waker().iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Nothing under the lock runs foreign code, so a poisoned lock holds sound data.
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A message that came before the end.
    fn receive_after_the_end(&mut self, new: &NewCall) -> Option<Done> {
        let unreceived = self.unreceived.as_mut().filter(|_| new.kind == CallKind::Receive)?;
        let message = unreceived.take(new.service_id, new.data_id)?;
        Some(Done::Received(Box::new(Received { message, line: unreceived.line() })))
    }

    /// A message whose receiver has gone waits for the next one.
    fn take_back(&mut self, outcome: CallOutcome) {
        let Ok(Done::Received(received)) = outcome else { return };
        if self.end.is_some() {
            self.keep(*received);
        } else {
            self.outgoing.unreceived.push(*received);
        }
    }

    /// Nobody waits behind the end, so a message is kept.
    fn keep(&mut self, received: Received) {
        if let Some(unreceived) = &mut self.unreceived {
            unreceived.put_back(received);
        }
    }

    /// Hands an outcome over; gives whom to wake.
    #[inline]
    fn complete(&mut self, call: CallKey, outcome: CallOutcome) -> Option<Waker> {
        self.slots.complete(call, outcome).unwrap_or_else(|outcome| {
            self.take_back(outcome);
            None
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where nobody waits for the outcome the log has it.
#[cfg(feature = "blocking")]
fn tell_unsent(failure: &CallFailure) {
    tracing::warn!(?failure, "message not sent");
}
