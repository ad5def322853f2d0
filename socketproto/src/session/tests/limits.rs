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
