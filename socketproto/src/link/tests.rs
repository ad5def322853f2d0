//! Tests of the border between a connection and its handles.

use super::*;
use crate::fault::Fault;
use crate::id::Status;
use crate::message::Json;
use std::time::Duration;

fn new_call(kind: CallKind) -> NewCall {
    NewCall {
        call: 0,
        kind,
        service_id: 10.into(),
        data_id: 1.into(),
        data: b"null".to_vec(),
        timeout: Duration::from_secs(10),
        nested: false,
        response: None,
    }
}

const MARK: usize = 1000;

fn link() -> Link {
    Link::new("mem://test".into(), Arc::default(), MARK)
}

fn answered() -> Done {
    Done::Answered(Status::OKAY, Json::NULL)
}

fn lost() -> CallOutcome {
    Err(CallFailure::Lost(CloseReason::Peer))
}

/// What is asked behind the end.
fn unsent() -> CallOutcome {
    Err(CallFailure::Unsent(Some(CloseReason::Peer)))
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
    let behind = || link.call(Waker::noop(), new_call(CallKind::Receive));
    assert_eq!(behind(), Err(Ok(received())), "it can be received behind the end");
    assert_eq!(behind(), Err(unsent()));
}

#[test]
fn who_asks_in_the_last_moment_receives_what_came_before_the_end() {
    let link = link();
    let (asks, gone) = (new_call(CallKind::Receive), new_call(CallKind::Receive));
    let (asks, gone) = (link.call(Waker::noop(), asks).unwrap(), link.call(Waker::noop(), gone).unwrap());
    link.lock().slots.remove(gone);
    let mut inbox = Inbox::default();
    inbox.put_back(Received { message: Message::new(10, 1, Json::NULL), line: 0 });
    inbox.put_back(Received { message: Message::new(10, 1, Json::NULL), line: 0 });
    link.end(&CloseReason::Peer, inbox);
    assert_eq!(poll(&link, asks), Poll::Ready(Ok(received())));
    let behind = || link.call(Waker::noop(), new_call(CallKind::Receive));
    assert_eq!([behind(), behind()], [Err(Ok(received())), Err(unsent())]);
}

#[test]
fn a_burst_of_calls_leaves_little_room() {
    let link = link();
    for _ in 0..10 * RETAINED {
        let call = link.call(Waker::noop(), new_call(CallKind::Request)).unwrap();
        link.cancel(call);
    }
    let mut taken = Outgoing::default();
    link.take(&mut taken);
    assert_eq!((taken.calls.len(), taken.cancelled.len()), (10 * RETAINED, 10 * RETAINED));
    taken.clear();
    assert!(taken.calls.capacity() <= RETAINED && taken.cancelled.capacity() <= RETAINED);
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
    let mut closed = pin!(link.closed());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(closed.as_mut().poll(cx).is_pending());
    link.end(&CloseReason::Peer, Inbox::default());
    assert_eq!(poll(&link, call), Poll::Ready(lost()));
    assert_eq!(link.call(Waker::noop(), new_call(CallKind::Request)), Err(unsent()));
    assert!(closed.poll(cx).is_ready() && pin!(link.closed()).poll(cx).is_ready());
}

#[test]
fn what_is_unsent_is_what_the_connection_has_and_what_was_left_for_it() {
    let link = link();
    let mut replies = Replies::default();
    replies.add(7, |text| {
        text.resize(MARK, b' ');
        Ok(())
    });
    link.reply(&mut replies);
    assert!(!link.is_congested(0) && link.is_congested(1));
    link.set_aside();
    assert!(!link.set_unsent(1), "the mark is exceeded by one byte");
    taken(&link);
    assert!(!link.is_congested(0));
    assert!(link.set_unsent(MARK));
    assert!(!link.set_unsent(0), "nobody waits any more");
}

fn taken(link: &Link) -> Vec<(RequestId, Status, Vec<u8>)> {
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
    let expected = [(7, Status::OKAY, b"1".to_vec()), (8, Status::OPERATION_NOT_PERMITTED, b"no".to_vec())];
    assert_eq!(taken(&link), expected);
    assert_eq!(taken(&link), []);
}
