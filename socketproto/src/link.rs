//! The border between one connection's actor and everybody else.
//!
//! Callers on any thread and handlers put their calls and replies here and wake the connection once; it takes all of
//! them in one go, so that one write carries what gathered. Outcomes of calls come back through slots that keep the
//! caller's waker: no message, no channel and no timer for each call.

mod replies;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio_util::sync::CancellationToken;

use crate::id::AuthState;
use crate::message::Message;
use crate::routes::Routes;
use crate::session::{
    CallFailure, CallKey, CallKind, CallOutcome, CloseReason, Done, Inbox, NewCall, Received, RequestId,
};

pub(crate) use crate::link::replies::Replies;

/// While more than this is unsent to a peer none of its requests is run (protocol.md 8.1).
const UNSENT_MARK: usize = 1024 * 1024;
/// The key of a call whose outcome nobody waits for.
#[cfg(feature = "blocking")]
const NOBODY: CallKey = CallKey::MAX;

/// The border of one connection.
pub(crate) struct Link {
    address: Arc<str>,
    /// What its endpoint serves.
    routes: Arc<Routes>,
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    /// Set by the first who leaves something, cleared by the connection before it looks: one wake for many.
    kicked: AtomicBool,
    /// Bytes unsent: what the connection has to send, and what has been left for it here.
    unsent: AtomicUsize,
    left: AtomicUsize,
    /// A handler has set requests aside until less is unsent.
    aside: AtomicBool,
    closed: CancellationToken,
}

#[derive(Default)]
struct Inner {
    outgoing: Outgoing,
    slots: Slab<Slot>,
    serial: u32,
    end: Option<CloseReason>,
    /// What nobody had received when the connection ended.
    unreceived: Inbox,
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
    /// Empties everything and keeps the memory, unless a burst has made it large.
    pub(crate) fn clear(&mut self) {
        self.replies.clear();
        self.calls.clear();
        self.cancelled.clear();
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
    pub(crate) channel_name: Option<Arc<str>>,
    pub(crate) connected: bool,
    pub(crate) ready: bool,
    /// Connected, and trusted where a secret is set.
    pub(crate) established: bool,
}

/// Where the outcome of one call arrives.
struct Slot {
    /// Tells this call from an earlier one in the same place.
    serial: u32,
    state: SlotState,
}

enum SlotState {
    Waiting(Option<Waker>),
    Done(CallOutcome),
}

impl Link {
    pub(crate) fn new(address: Arc<str>, routes: Arc<Routes>) -> Self {
        Self {
            address,
            routes,
            inner: Mutex::default(),
            waker: AtomicWaker::new(),
            kicked: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            aside: AtomicBool::new(false),
            closed: CancellationToken::new(),
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

    /// Leaves a call. Gives the key under which the outcome will be found.
    pub(crate) fn call(&self, waker: &Waker, mut new: NewCall) -> Result<CallKey, CloseReason> {
        let mut inner = self.lock();
        let state = match &inner.end {
            None => SlotState::Waiting(Some(waker.clone())),
            Some(reason) => {
                let reason = reason.clone();
                SlotState::Done(Ok(inner.receive_after_the_end(&new).ok_or(reason)?))
            }
        };
        inner.serial = inner.serial.wrapping_add(1);
        let serial = inner.serial;
        let key = key(inner.slots.insert(Slot { serial, state }), serial);
        if inner.end.is_none() {
            new.call = key;
            inner.outgoing.calls.push(new);
            drop(inner);
            self.kick();
        } else {
            // Its outcome is there already, and nobody else will tell.
            waker.wake_by_ref();
        }
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
    pub(crate) fn poll_call(&self, call: CallKey, cx: &Context<'_>) -> Poll<CallOutcome> {
        let mut inner = self.lock();
        let Some(slot) = inner.slot(call) else {
            return Poll::Ready(Err(CallFailure::Lost(CloseReason::Local)));
        };
        match &mut slot.state {
            SlotState::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            SlotState::Done(_) => match inner.slots.remove(index(call)).state {
                SlotState::Done(outcome) => Poll::Ready(outcome),
                SlotState::Waiting(_) => Poll::Pending,
            },
        }
    }

    /// The caller has gone before it took the outcome.
    pub(crate) fn cancel(&self, call: CallKey) {
        let mut inner = self.lock();
        if inner.slot(call).is_none() {
            return;
        }
        let slot = inner.slots.remove(index(call));
        if let SlotState::Done(outcome) = slot.state {
            inner.take_back(outcome);
        } else if inner.end.is_none() {
            inner.outgoing.cancelled.push(call);
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
        self.closed.cancelled().await;
    }

    /// Whether so much is unsent that no further request may be run, `more` bytes included that are about to be left.
    pub(crate) fn is_congested(&self, more: usize) -> bool {
        self.unsent.load(Ordering::SeqCst) + self.left.load(Ordering::SeqCst) + more > UNSENT_MARK
    }

    /// A handler sets requests aside. It has to look again afterwards: what was unsent may just have left.
    pub(crate) fn set_aside(&self) {
        self.aside.store(true, Ordering::SeqCst);
    }

    // The connection

    /// Shows what is unsent; true where handlers that have set requests aside can go on.
    pub(crate) fn set_unsent(&self, bytes: usize) -> bool {
        self.unsent.store(bytes, Ordering::SeqCst);
        self.aside.load(Ordering::SeqCst) && !self.is_congested(0) && self.aside.swap(false, Ordering::SeqCst)
    }

    /// Makes sure that the connection's task runs when something is left from now on.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Swaps what has been left against an empty one.
    pub(crate) fn take(&self, empty: &mut Outgoing) {
        if self.kicked.swap(false, Ordering::AcqRel) {
            let mut inner = self.lock();
            std::mem::swap(&mut inner.outgoing, empty);
            self.left.store(0, Ordering::SeqCst);
        }
    }

    /// Hands out outcomes and wakes the callers.
    pub(crate) fn complete(&self, outcomes: &mut Vec<(CallKey, CallOutcome)>) {
        let mut wakers = Vec::with_capacity(outcomes.len());
        #[cfg(feature = "blocking")]
        for (_, failed) in outcomes.iter().filter(|(call, outcome)| *call == NOBODY && outcome.is_err()) {
            tracing::warn!(outcome = ?failed, "message not sent");
        }
        let mut inner = self.lock();
        for (call, outcome) in outcomes.drain(..) {
            let Some(slot) = inner.slot(call) else {
                inner.take_back(outcome);
                continue;
            };
            if let SlotState::Waiting(waker) = std::mem::replace(&mut slot.state, SlotState::Done(outcome)) {
                wakers.extend(waker);
            }
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
            inner.unreceived = unreceived;
        }
        let outgoing = std::mem::take(&mut inner.outgoing);
        for received in outgoing.unreceived {
            inner.unreceived.put_back(received);
        }
        let mut wakers = Vec::new();
        // Those who asked in the last moment come before the end.
        for new in outgoing.calls {
            let Some(done) = inner.receive_after_the_end(&new) else { continue };
            match inner.slot(new.call) {
                Some(slot) => {
                    if let SlotState::Waiting(waker) =
                        std::mem::replace(&mut slot.state, SlotState::Done(Ok(done)))
                    {
                        wakers.extend(waker);
                    }
                }
                None => inner.take_back(Ok(done)),
            }
        }
        inner.view = View { channel_name: inner.view.channel_name.take(), ..View::default() };
        for (_, slot) in &mut inner.slots {
            if let SlotState::Waiting(waker) = &mut slot.state {
                wakers.extend(waker.take());
                slot.state = SlotState::Done(Err(CallFailure::Lost(reason.clone())));
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        self.closed.cancel();
    }

    fn kick(&self) {
        if !self.kicked.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Nothing under the lock runs foreign code, so a poisoned lock holds sound data.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A message that came before the end.
    fn receive_after_the_end(&mut self, new: &NewCall) -> Option<Done> {
        let wanted = new.kind == CallKind::Receive;
        let message = wanted.then(|| self.unreceived.take(new.service_id, new.data_id)).flatten()?;
        Some(Done::Received(Box::new(Received { message, line: self.unreceived.line() })))
    }

    /// A message whose receiver has gone waits for the next one.
    fn take_back(&mut self, outcome: CallOutcome) {
        let Ok(Done::Received(received)) = outcome else { return };
        if self.end.is_some() {
            // Nobody waits behind the end, so it is kept.
            self.unreceived.put_back(*received);
        } else {
            self.outgoing.unreceived.push(*received);
        }
    }

    fn slot(&mut self, call: CallKey) -> Option<&mut Slot> {
        self.slots.get_mut(index(call)).filter(|slot| u64::from(slot.serial) == call >> 32)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A key is the place of the slot and, above it, the serial that tells its users apart.
fn key(index: usize, serial: u32) -> CallKey {
    u64::from(serial) << 32 | (index as u64 & u64::from(u32::MAX))
}

fn index(call: CallKey) -> usize {
    (call & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::id::Status;
    use crate::message::Json;
    use bytes::Bytes;
    use std::time::Duration;

    fn new_call(kind: CallKind) -> NewCall {
        NewCall {
            call: 0,
            kind,
            service_id: 10.into(),
            data_id: 1.into(),
            data: Bytes::from_static(b"null"),
            timeout: Duration::from_secs(10),
            nested: false,
            response: None,
        }
    }

    fn link() -> Link {
        Link::new("mem://test".into(), Arc::default())
    }

    fn answered() -> Done {
        Done::Answered(Status::OKAY, Json::NULL)
    }

    fn received() -> Done {
        Done::Received(Box::new(Received { message: Message::new(10, 1, Json::NULL), line: 0 }))
    }

    fn poll(link: &Link, call: CallKey) -> Poll<CallOutcome> {
        link.poll_call(call, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_outcome_is_found_once_under_its_key() {
        let link = link();
        let call = link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
        assert!(poll(&link, call).is_pending());
        link.complete(&mut vec![(call, Ok(answered()))]);
        assert_eq!(poll(&link, call), Poll::Ready(Ok(answered())));
        assert!(matches!(poll(&link, call), Poll::Ready(Err(_))));
    }

    #[test]
    fn an_outcome_never_reaches_the_next_user_of_a_slot() {
        let link = link();
        let first = link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
        link.cancel(first);
        let second = link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
        assert_eq!(index(first), index(second));
        link.complete(&mut vec![(first, Ok(answered()))]);
        assert!(poll(&link, second).is_pending());
    }

    #[test]
    fn a_message_whose_receiver_has_gone_is_given_back() {
        let link = link();
        let receive = || link.call(Waker::noop(), new_call(CallKind::Receive)).unwrap();
        let unreceived = || {
            let mut taken = Outgoing::default();
            link.take(&mut taken);
            taken.unreceived.len()
        };
        let gone = receive();
        link.cancel(gone);
        link.complete(&mut vec![(gone, Ok(received()))]);
        assert_eq!(unreceived(), 1, "it went before the message came");
        let late = receive();
        link.complete(&mut vec![(late, Ok(received()))]);
        link.cancel(late);
        assert_eq!(unreceived(), 1, "it went before it took the message");
        let last = receive();
        link.complete(&mut vec![(last, Ok(received()))]);
        link.cancel(last);
        link.end(&CloseReason::Peer, Inbox::default());
        let after = link.call(Waker::noop(), new_call(CallKind::Receive)).unwrap();
        assert_eq!(poll(&link, after), Poll::Ready(Ok(received())), "it can be received behind the end");
        assert_eq!(link.call(Waker::noop(), new_call(CallKind::Receive)), Err(CloseReason::Peer));
    }

    #[test]
    fn who_asks_in_the_last_moment_receives_what_came_before_the_end() {
        let link = link();
        let (asks, gone) = (new_call(CallKind::Receive), new_call(CallKind::Receive));
        let (asks, gone) = (link.call(Waker::noop(), asks).unwrap(), link.call(Waker::noop(), gone).unwrap());
        link.lock().slots.remove(index(gone));
        let mut inbox = Inbox::default();
        inbox.put_back(Received { message: Message::new(10, 1, Json::NULL), line: 0 });
        inbox.put_back(Received { message: Message::new(10, 1, Json::NULL), line: 0 });
        link.end(&CloseReason::Peer, inbox);
        assert_eq!(poll(&link, asks), Poll::Ready(Ok(received())));
        let after = link.call(Waker::noop(), new_call(CallKind::Receive)).unwrap();
        assert_eq!(poll(&link, after), Poll::Ready(Ok(received())));
        assert!(link.call(Waker::noop(), new_call(CallKind::Receive)).is_err());
    }

    #[test]
    fn who_receives_behind_the_end_is_woken_at_once() {
        struct Woken(AtomicBool);

        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }

        let link = link();
        let mut inbox = Inbox::default();
        inbox.put_back(Received { message: Message::new(10, 1, Json::NULL), line: 0 });
        link.end(&CloseReason::Peer, inbox);
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let after = link.call(&Arc::clone(&woken).into(), new_call(CallKind::Receive)).unwrap();
        assert!(woken.0.load(Ordering::SeqCst), "it would wait for ever");
        assert_eq!(poll(&link, after), Poll::Ready(Ok(received())));
    }

    #[test]
    fn calls_behind_the_wish_for_another_line_are_told_apart() {
        let link = link();
        for _ in 0..2 {
            link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
            link.request_reconnect();
        }
        let mut taken = Outgoing::default();
        link.take(&mut taken);
        assert_eq!((taken.calls.len(), taken.reconnect), (2, Some(1)));
    }

    #[test]
    fn the_end_fails_every_call_before_and_after() {
        let link = link();
        let call = link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
        link.end(&CloseReason::Peer, Inbox::default());
        assert_eq!(poll(&link, call), Poll::Ready(Err(CallFailure::Lost(CloseReason::Peer))));
        assert_eq!(link.call(Waker::noop(), new_call(CallKind::Request)), Err(CloseReason::Peer));
        assert!(link.closed.is_cancelled());
    }

    #[test]
    fn what_is_unsent_is_what_the_connection_has_and_what_was_left_for_it() {
        let link = link();
        let mut replies = Replies::default();
        replies.add(7, |text| {
            text.resize(UNSENT_MARK, b' ');
            Ok(())
        });
        link.reply(&mut replies);
        assert!(!link.is_congested(0) && link.is_congested(1));
        link.set_aside();
        assert!(!link.set_unsent(1), "the mark is exceeded by one byte");
        taken(&link);
        assert!(!link.is_congested(0));
        assert!(link.set_unsent(UNSENT_MARK));
        assert!(!link.set_unsent(0), "nobody waits any more");
    }

    fn taken(link: &Link) -> Vec<(RequestId, Status, String)> {
        let mut taken = Outgoing::default();
        link.take(&mut taken);
        taken.replies.iter().map(|(request, status, text)| (request, status, text.to_owned())).collect()
    }

    #[test]
    fn replies_are_taken_once_and_in_order() {
        let link = link();
        let mut replies = Replies::default();
        replies.add(7, |text| {
            text.push(b'1');
            Ok(())
        });
        link.reply(&mut replies);
        replies.add(8, |text| {
            text.extend_from_slice(b"half a re");
            Err(Fault::not_permitted("no"))
        });
        link.reply(&mut replies);
        let expected =
            [(7, Status::OKAY, "1".to_owned()), (8, Status::OPERATION_NOT_PERMITTED, "no".to_owned())];
        assert_eq!(taken(&link), expected);
        assert_eq!(taken(&link), []);
    }
}
