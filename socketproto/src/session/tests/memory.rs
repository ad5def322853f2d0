//! What a session holds when it has nothing to do.

use super::*;
use crate::session::memory::RETAINED;

/// Whether no more room is kept for what is to be sent than may be, be it in front of what is there.
fn keeps_little(line: &mut Line) -> bool {
    !line.session.out.try_reclaim(RETAINED + 1)
}

#[test]
fn what_a_large_answer_took_is_given_back_once_it_is_sent() {
    for framing in [Framing::Stp, Framing::Length] {
        let mut line = Line::new(config(Role::Server)).speaks(framing);
        line.tell("10/1", "run 1: 10/1 | ready");
        line.stalled = true;
        line.reply(1, &format!("\"{}\"", "x".repeat(1 << 20)), "");
        assert!(line.session.held() > 1 << 20);
        while !line.session.poll_transmit().is_empty() {
            line.session.handle_sent(50_000, line.now);
        }
        assert!(keeps_little(&mut line), "{framing}");
        assert_eq!(line.session.held(), 0);
    }
}

#[test]
fn a_session_that_shrinks_keeps_nothing_but_what_goes_on() {
    for framing in [Framing::Stp, Framing::Length] {
        let mut line = Line::new(config(Role::Server)).speaks(framing);
        line.tell("10/1", "run 1: 10/1 | ready");
        line.reply(1, "5", "11/1 5");
        line.tell("30/3 #7", "run 2: 30/3 #7");
        line.call(70, "10/1", "10/1");
        line.input.extend_from_slice(if framing == Framing::Stp { b":<part" } else { b"\0\0" });
        line.check("");
        line.session.shrink();
        assert_eq!((line.session.out.capacity(), line.session.events.capacity()), (0, 0));
        assert_eq!(line.session.poll_timeout(), Some(line.now + 10 * SECOND), "of the call");
        line.reply(2, "6", "31/3 #7 6");
        // What had come of a frame is there still.
        let rest: &[u8] = if framing == Framing::Stp { b":>" } else { b"\0\x01x" };
        line.tell_bytes(rest, "");
        assert_eq!(line.session.counters.malformed, 1);
        line.tell("11/1 8", "call 70: 8");
        line.session.shrink();
        assert_eq!(line.session.poll_timeout(), None);
    }
}
