//! Limits, on both sides of each (protocol.md section 8).

use super::*;

const TEN: Duration = Duration::from_secs(10);

#[test]
fn a_first_byte_comes_within_10_s() {
    for framing in [None, Some(Framing::Stp), Some(Framing::Length)] {
        let mut config = config(Role::Server);
        config.framing = framing;
        let mut line = Line::new(config.clone());
        line.drive();
        line.tell_bytes(b"", "");
        line.wait(TEN - MILLISECOND, "");
        line.wait(MILLISECOND, "end: no first byte within first_byte_timeout");
        let mut line = Line::new(config).speaks(Framing::Stp);
        line.wait(TEN - MILLISECOND, "");
        line.input.extend_from_slice(if framing == Some(Framing::Length) { b"\0" } else { b":" });
        line.drive();
        line.wait(100 * SECOND, "");
    }
}

#[test]
fn a_peer_that_takes_no_frame_at_all_is_told_apart_from_one_that_does_not_read() {
    let mut line = Line::new(config(Role::Server));
    line.transmit(&message(r#"hello/0 {"session":"bb","max_frame":50,"max_in_flight":1}"#));
    line.drive();
    line.call(70, "10/1", "call 70: not sendable, of 56 bytes exceeds max_frame of 50");
    line.tell("10/7", "end: a frame of 56 bytes exceeds the peer's max_frame of 50");
}

#[test]
fn sending_nothing_is_no_progress() {
    let mut line = Line::server(config(Role::Server));
    line.stalled = true;
    line.call(70, "10/1", "");
    line.wait(9 * SECOND, "");
    line.session.handle_sent(0, line.now);
    line.wait(
        21 * SECOND,
        "call 70: timed out | end: slow reader: no byte could be sent within write_timeout",
    );
}
