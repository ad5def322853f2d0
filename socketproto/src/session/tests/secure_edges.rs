//! Where secure mode begins and ends: what is not said before it, beside it, and after it (protocol.md sections 4 and 5.2).

use super::secure::{End, Line2, framed};
use super::*;
use crate::id::Level;
use crate::message::Json;

/// A client that has sent its offer, and the offer.
fn offered(now: Instant) -> (End, Vec<u8>) {
    let mut client = End::new(config(Role::Client).secure(), now);
    let offer = client.turn(now);
    (client, offer)
}

#[test]
fn an_answer_before_the_offer_is_none_and_the_handshake_goes_on() {
    let now = Instant::now();
    let mut client = End::new(config(Role::Client).secure(), now);
    client.session.handle_input(&mut BytesMut::from(&framed("1/2 s3")[..]), now);
    assert!(!client.turn(now).is_empty(), "the offer leaves");
    client.session.handle_timeout(now + 5 * SECOND);
    assert!(matches!(client.session.close_reason(), Some(CloseReason::PeerTooOld(_))));
}

#[test]
fn a_client_takes_and_says_nothing_in_clear_beside_the_handshake() {
    for text in [
        format!("hello/0 {HELLO}"),
        format!("hello-answer/0 {HELLO}"),
        "20/2 1".to_owned(),
        "10/9".to_owned(),
        "21/2 1".to_owned(),
        "8/0".to_owned(),
        "9/0 \"name\"".to_owned(),
        "0/2".to_owned(),
        "1/0 \"\"".to_owned(),
        "50/1".to_owned(),
    ] {
        let now = Instant::now();
        let (mut client, _) = offered(now);
        client.input.extend_from_slice(&framed(&text));
        // Another one that is damaged on its way.
        let mut damaged = framed(&text);
        *damaged.last_mut().unwrap() ^= 1;
        client.input.extend_from_slice(&damaged);
        assert_eq!(client.turn(now), b"", "{text}");
        assert_eq!(client.told, [] as [String; 0], "{text}");
        assert_eq!(client.reason(), None, "{text}");
    }
}

#[test]
fn a_server_that_trusts_a_certificate_says_nothing_in_clear_to_who_offers_a_handshake() {
    let mut line = Line2::new(|config| Config { trust_certificates: true, ..config });
    line.server.session.handle_certificate(line.now);
    line.server.call("\"a word of the server\"", line.now);
    let mut seen = Vec::new();
    let now = line.now;
    line.carry(&mut |side, _, bytes| {
        seen.push((side, bytes.clone()));
        bytes
    });
    let clear = seen.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains("word"));
    assert!(!clear);
    assert_eq!(line.client.session.level(), Some(Level::Secure));
    // A server does not wait for HELLO.
    assert_eq!(line.client.told, ["run \"a word of the server\"", "ready"]);

    // Who offers none is trusted for its certificate.
    let mut server = End::new(Config { trust_certificates: true, ..config(Role::Server).secure() }, now);
    server.session.handle_certificate(now);
    server.call("1", now);
    assert_eq!(server.turn(now), b"", "nobody has said how it speaks");
    server.input.extend_from_slice(&framed(&format!("hello/0 {HELLO}")));
    assert!(String::from_utf8_lossy(&server.turn(now)).contains("\"service_id\":20"));
    assert_eq!((server.session.level(), server.told.as_slice()), (None, &["ready".to_owned()][..]));
}

#[test]
fn a_secure_session_knows_no_legacy() {
    let mut line = Line2::new(|config| Config { legacy: true, ..config });
    line.client.session.config.legacy = false;
    line.honest();
    for data_id in [DataId::AUTH_SEED, DataId::AUTH_KEY] {
        let now = line.now;
        line.client.session.ask(ServiceId::AUTH_REQUEST, data_id, &Json::NULL, now);
        line.honest();
        assert_eq!(line.server.session.level(), Some(Level::Secure), "{data_id:?}");
        assert_eq!(line.server.session.auth_state(), AuthState::Trusted, "{data_id:?}");
        assert_eq!(line.server.reason(), None, "{data_id:?}");
    }
}

#[test]
fn a_client_is_ready_after_hello_whatever_its_framing() {
    let mut line = Line2::new(|config| match config.role {
        Role::Client => Config { framing: Some(Framing::Stp), ..config },
        Role::Server => config,
    });
    // The server's answer to HELLO is held back.
    line.carry(&mut |side, number, bytes| if (side, number) == (1, 1) { Vec::new() } else { bytes });
    assert_eq!(line.client.session.level(), Some(Level::Secure));
    assert_eq!(line.client.told, [] as [String; 0]);
    assert!(!line.client.session.is_ready());
}

#[test]
fn who_waits_for_the_login_waits_until_calls_can_be_made() {
    let mut line = Line2::new(|config| config);
    let login = |call| NewCall { call, kind: CallKind::Authenticate, ..new_call(call, "0/0", 10 * SECOND) };
    line.client.session.handle_call(login(1), line.now);
    // The server's answer to HELLO is late.
    let mut late = Vec::new();
    line.carry(&mut |side, number, bytes| {
        if (side, number) == (1, 1) { std::mem::replace(&mut late, bytes) } else { bytes }
    });
    line.client.session.handle_call(login(2), line.now);
    line.honest();
    assert_eq!(line.client.told, [] as [String; 0]);
    line.client.input.extend_from_slice(&late);
    line.honest();
    assert_eq!(line.client.told, ["ready", "call 1: trusted", "call 2: trusted"]);
    line.client.session.handle_call(login(3), line.now);
    line.honest();
    assert_eq!(line.client.told[3..], ["call 3: trusted"]);
}

#[test]
fn a_line_of_whole_messages_takes_every_record_whatever_the_largest_frame_is() {
    let mut line = Line2::new(|mut config| {
        config.limits = Arc::new(Limits { max_frame: 4096, ..Limits::default() });
        config
    });
    let ends = |line: &Line2| [line.client.session.message_limit(), line.server.session.message_limit()];
    assert_eq!(ends(&line), [4096, 4096]);
    line.honest();
    assert_eq!(ends(&line), [crate::secure::MAX_RECORD; 2]);
    let error =
        std::io::Error::other(crate::framing::FramingError::TooLarge { found: 70_000, limit: 65_535 });
    assert!(line.server.session.handle_refused(&error, line.now));
    assert_eq!(line.server.session.close_reason(), Some(&CloseReason::BadRecord));
}

#[test]
fn what_the_peer_says_last_is_one_line() {
    let mut line = Line2::new(|config| config);
    line.honest();
    line.client.session.close(CloseReason::Violation("one\nERROR two\x1b[2J\u{9b}".into()));
    line.honest();
    assert_eq!(line.server.reason().unwrap(), "closed by the peer: one ERROR two [2J ");
}
