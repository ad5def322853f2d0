//! The time of one frame, from its first byte to its last (protocol.md section 8).

use super::*;

const TEN: Duration = Duration::from_secs(10);

/// The end of a peer whose frame came too slowly.
fn too_slow(found: usize) -> String {
    format!(
        "end: a frame of which {found} bytes have come takes longer than frame_timeout of 10s and min_frame_rate of \
         1024 allow"
    )
}

/// A request 10/1 as it goes over the line, with so many bytes of text.
fn framed(framing: Framing, text: usize) -> Vec<u8> {
    let mut frame = BytesMut::new();
    let message = message(&format!("10/1 \"{}\"", "x".repeat(text)));
    frame::encode(Format::Json, message.header(), message.json().as_str(), &mut frame).unwrap();
    let mut out = BytesMut::new();
    Framer::new(framing).frame(&mut out, put(&frame)).unwrap();
    out.to_vec()
}

/// A server whose peer speaks this framing and is ready.
fn server(framing: Framing) -> Line {
    let mut line = Line::new(config(Role::Server)).speaks(framing);
    line.tell("10/1", "run 1: 10/1 | ready");
    line.reply(1, "1", "11/1 1");
    line
}

#[test]
fn a_frame_has_10_s_and_one_more_for_each_kib_that_has_come() {
    for framing in [Framing::Length, Framing::Stp] {
        // The bytes that count are those of a frame, with length framing its length as well.
        let before = if framing == Framing::Stp { 2 } else { 0 };
        let all = framed(framing, 5000);
        for (bytes, seconds) in [(1024, 11), (3072, 13)] {
            // Of the envelope's colons the halves are stuffing.
            let stuffing = if framing == Framing::Stp { 4 } else { 0 };
            let (part, rest) = all.split_at(before + stuffing + bytes);
            let begun = || {
                let mut line = server(framing);
                line.tell_bytes(part, "");
                line.wait(seconds * SECOND - MILLISECOND, "");
                line
            };
            begun().wait(MILLISECOND, &too_slow(bytes));
            let mut line = begun();
            line.input.extend_from_slice(rest);
            assert!(line.drive()[0].starts_with("run 2"), "just in time");
            line.wait(100 * SECOND, "expired 2 | 11/1 s2 {\"error\":\"handler timed out\"}");
        }
    }
}

#[test]
fn a_byte_now_and_then_does_not_begin_the_time_anew() {
    for framing in [Framing::Length, Framing::Stp] {
        let mut line = server(framing);
        let all = framed(framing, 5000);
        for byte in &all[..15] {
            if line.session.close_reason().is_some() {
                break;
            }
            line.input.extend_from_slice(&[*byte]);
            line.drive();
            let end = line.now + SECOND;
            while let Some(due) = line.session.poll_timeout().filter(|due| *due <= end) {
                line.now = due;
                line.session.handle_timeout(due);
            }
            line.now = end;
        }
        let reason = line.session.close_reason().expect("closed after 10 s and a little").to_string();
        assert!(reason.contains("frame_timeout"), "{framing}: {reason}");
    }
}

#[test]
fn what_was_only_declared_gives_no_time() {
    let mut line = server(Framing::Length);
    line.tell_bytes(&8_000_000_u32.to_be_bytes(), "");
    line.wait(TEN, "");
    line.wait(4 * MILLISECOND, &too_slow(4));
}

#[test]
fn each_frame_has_a_time_of_its_own() {
    for framing in [Framing::Length, Framing::Stp] {
        let mut line = server(framing);
        let all = framed(framing, 10);
        let (first, second) = all.split_at(all.len() / 2);
        line.tell_bytes(first, "");
        for request in 2..6 {
            line.wait(9 * SECOND, "");
            let run = format!("run {request}: 10/1 \"xxxxxxxxxx\"");
            line.tell_bytes(&[second, first].concat(), &run);
            line.reply(request, "1", "11/1 1");
        }
        line.wait(9 * SECOND, "");
        line.tell_bytes(second, "run 6: 10/1 \"xxxxxxxxxx\"");
        line.reply(6, "1", "11/1 1");
        line.wait(100 * SECOND, "");
    }
}

#[test]
fn a_server_has_to_send_its_frames_in_time_too() {
    let mut line = Line::client(config(Role::Client));
    line.tell_bytes(b"\0\0\0\x64half", "");
    line.wait(TEN, "");
    line.wait(8 * MILLISECOND, &too_slow(8));
}

#[test]
fn on_a_line_that_loses_bytes_the_frame_is_dropped_and_the_next_one_found() {
    // 960 bytes a second are 9,600 baud: 96 bytes take 0.1 s, and may take 0.2 s.
    for (line_rate, allowed) in [(Some(960), 10_199), (None, 10_093)] {
        let lossy = Config { lossy: true, line_rate, ..config(Role::Server).framing(Framing::Stp) };
        let part = format!(":<{}", "x".repeat(96));
        let mut line = Line::new(lossy);
        line.drive();
        line.tell_bytes(part.as_bytes(), "");
        line.wait(Duration::from_millis(allowed), "");
        assert_eq!(line.session.held(), 96);
        line.wait(MILLISECOND, "");
        assert_eq!(line.session.held(), 0, "dropped");
        let noted = line.session.take_breaches();
        assert_eq!(noted.iter().map(|breach| breach.limit.name()).collect::<Vec<_>>(), ["frame_timeout"]);
        line.tell_bytes(b"what is left of it:>", "");
        line.tell("10/1", "run 1: 10/1");
    }
}

#[test]
fn while_this_side_does_not_read_the_time_stands_still() {
    for framing in [Framing::Length, Framing::Stp] {
        let mut line = server(framing);
        let all = framed(framing, 10);
        let (first, second) = all.split_at(all.len() / 2);
        line.tell_bytes(first, "");
        line.wait(9 * SECOND, "");
        line.session.pause(true, line.now);
        line.session.watch_pace(line.now);
        line.wait(100 * SECOND, "");
        line.session.pause(false, line.now);
        line.session.watch_pace(line.now);
        line.wait(TEN, "");
        line.tell_bytes(second, "run 2: 10/1 \"xxxxxxxxxx\"");
    }
}

#[test]
fn a_line_that_puts_frames_together_says_what_it_holds() {
    let mut line = Line::new(config(Role::Server));
    line.session.expect_datagrams(line.now);
    line.drive();
    line.session.handle_partial(1024, line.now);
    line.wait(9 * SECOND, "");
    line.session.handle_partial(2048, line.now);
    line.wait(3 * SECOND - MILLISECOND, "");
    let mut other = line;
    other.session.handle_partial(0, other.now);
    other.wait(100 * SECOND, "");
    other.session.handle_partial(1024, other.now);
    other.wait(11 * SECOND - MILLISECOND, "");
    other.wait(MILLISECOND, &too_slow(1024));
}

#[test]
fn a_rate_of_0_gives_frames_any_time() {
    let mut line = Line::server(config(Role::Server).limit(|limits| limits.min_frame_rate = 0));
    line.tell_bytes(b"\0\0\0\x64half", "");
    line.wait(1000 * SECOND, "");
}
