//! Group A, bytes that are no frames: damage, noise, what never ends, other protocols.

use crate::support::{Echo, Noise, Raw, WIRES, Wire, m, probe, sealed};

/// What the allocator of the process under test may keep.
const SLACK: usize = 24 << 20;

#[test]
fn a_05_checksum_damaged_by_one_bit() {
    for wire in WIRES {
        let echo = Echo::start();
        let mut peer = echo.connect(wire);
        let text = m(0, 20, 2, "22.5");
        // Where the envelope can still be read the caller hears of it, else nobody does.
        let places =
            [("22.5", true), (":22", false), ("data_id", false), ("service_id", false), ("status", true)];
        let places = places.map(|(mark, heard)| (text.find(mark).unwrap(), heard));
        let checksum = (text.len()..text.len() + 4).map(|at| (at, true));
        for (at, heard) in places.into_iter().chain(checksum) {
            let mut damaged = sealed(&text);
            damaged[at] ^= 1;
            assert_eq!(peer.ask(20, 2, "1"), "21/2: 1");
            peer.send(&wire.wrap(&damaged));
            if heard {
                assert_eq!(peer.answer(), "21/2 status 5: null", "byte {at}");
            }
            assert_eq!(peer.ask(20, 2, "3"), "21/2: 3", "byte {at}");
        }
        let log = echo.end();
        assert_eq!(log.matches("wrong checksum").count(), 1, "{log}");
    }
}

#[test]
fn a_05_no_bit_of_a_frame_can_be_damaged_unnoticed() {
    let echo = Echo::with(&[], "error");
    let frame = sealed(m(0, 20, 2, "22.5"));
    for bit in 0..frame.len() * 8 {
        let wire = WIRES[bit % 2];
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut peer = echo.connect(wire);
        peer.send(&wire.wrap(&damaged));
        peer.send_text(m(0, 10, 4711, "null"));
        let mut answer = peer.answer();
        if answer != "11/4711: null" {
            assert!(answer.ends_with(" status 5: null"), "bit {bit}: {answer}");
            answer = peer.answer();
        }
        assert_eq!(answer, "11/4711: null", "bit {bit}");
    }
    echo.end();
}

#[test]
fn a_06_garbage_before_the_first_frame() {
    // A line that is known to be STP finds its way at once, whatever came before.
    let mut echo = Echo::with(&["--listen", "tcp://127.0.0.1:0?framing=stp"], "error");
    let frame = Wire::Stp.frame(m(0, 10, 1, "null"));
    let mut noise = Noise(6);
    let single = (u8::MIN..=u8::MAX).map(|byte| vec![byte]);
    let random: Vec<_> = (1..=64).map(|count| noise.bytes(count)).collect();
    for garbage in single.chain(random) {
        let mut peer = echo.connect(Wire::Stp);
        peer.send(&[&*garbage, &frame].concat());
        assert_eq!(peer.answer(), "11/1: null", "{}", garbage.escape_ascii());
    }
    echo.connect(Wire::Stp).probe();
    echo.end_unasked();
}

#[test]
fn a_06_garbage_as_the_first_byte_is_no_framing_and_closes() {
    let echo = Echo::with(&[], "error");
    let frame = Wire::Stp.frame(m(0, 10, 1, "null"));
    for byte in u8::MIN..=u8::MAX {
        let mut peer = echo.connect(Wire::Stp);
        peer.send(&[byte]);
        match byte {
            // One `:` too many is noise.
            b':' => {
                peer.send(&frame);
                assert_eq!(peer.answer(), "11/1: null");
            }
            // The first byte of a length: what follows is what it says.
            0x00..=0x0F => {
                peer.finish();
                peer.expect_end();
            }
            _ => peer.expect_end(),
        }
    }
    echo.end();
}

#[test]
fn a_08_empty_frames_and_repeated_delimiters() {
    let echo = Echo::start();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        for short in [&b""[..], b"{", b"{}", b"{}\0", b"{}\0\0", b"\0", b"\0\0\0"] {
            peer.send(&[wire.wrap(short), wire.frame(m(0, 20, 1, "1"))].concat());
            assert_eq!(peer.answer(), "21/1: 1", "{wire:?} {}", short.escape_ascii());
        }
        peer.probe();
    }
    let mut peer = echo.connect(Wire::Stp);
    let frame = Wire::Stp.frame(m(0, 20, 1, r#""a""#));
    peer.send(&[b":<:<", &*frame, b":>:>"].concat());
    assert_eq!(peer.answer(), r#"21/1: "a""#);
    peer.send(&[b":<left", &*frame, b":<over:>", &*frame].concat());
    assert_eq!(peer.answer(), r#"21/1: "a""#);
    assert_eq!(peer.answer(), r#"21/1: "a""#);
    peer.probe();
    echo.end();
}

#[test]
fn a_09_undefined_escape_sequence() {
    let echo = Echo::start();
    let mut peer = echo.connect(Wire::Stp);
    let frame = Wire::Stp.frame(m(0, 20, 5, "1"));
    let escapes: Vec<usize> =
        frame.windows(2).enumerate().filter(|(_, two)| *two == b":=").map(|(at, _)| at).collect();
    assert_eq!(escapes.len(), 4);
    for at in escapes {
        let mut odd = frame.clone();
        odd[at + 1] = 0x41;
        peer.send(&odd);
        assert_eq!(peer.ask(10, 1, "null"), "11/1: null");
    }
    peer.probe();
    echo.end();
}

#[test]
fn a_10_endless_noise() {
    const NOISE: usize = 8 << 20;
    let echo = Echo::start();
    let mut base = echo.base();

    // Noise without a frame's beginning is one protocol error, of whatever length, and nothing of it is kept.
    let mut noise = Noise(10);
    let mut peer = echo.connect(Wire::Stp);
    peer.send(b":");
    for _ in 0..NOISE / (64 << 10) {
        let mut bytes = noise.bytes(64 << 10);
        bytes.iter_mut().filter(|byte| **byte == b':').for_each(|byte| *byte = b';');
        peer.send(&bytes);
    }
    assert_eq!(peer.ask(10, 1, "null"), "11/1: null");
    peer.probe();
    drop(peer);
    assert!(echo.usage().peak < base.usage.peak + SLACK, "{:?}", echo.usage());

    // Noise with beginnings of frames uses up the budget of protocol errors: the connection is closed.
    let mut peer = echo.connect(Wire::Stp);
    peer.send(b":");
    assert!((0..4 * NOISE / (64 << 10)).any(|_| !peer.try_send(&noise.bytes(64 << 10))), "not closed");
    peer.expect_end();
    assert!(echo.usage().peak < base.usage.peak + SLACK, "{:?}", echo.usage());

    // So does noise that was taken for lengths.
    for first in 0x00..=0x0F {
        let mut peer = echo.connect(Wire::Length);
        if peer.try_send(&[first]) && (0..NOISE / (64 << 10)).all(|_| peer.try_send(&noise.bytes(64 << 10))) {
            peer.finish();
        }
        peer.expect_end();
    }
    probe(&echo.address);
    echo.is_back_at(&mut base, SLACK);
    echo.end();
}

#[test]
fn a_11_frame_that_never_ends() {
    const MIB: usize = 1 << 20;
    let echo = Echo::start();
    let mut base = echo.base();
    let piece = vec![b'A'; MIB];

    let mut endless = echo.connect(Wire::Stp);
    endless.send(b":<");
    let sent = (0..300).take_while(|_| endless.try_send(&piece)).count();
    assert!(sent < 64, "closed after {sent} MiB");
    endless.expect_end();
    base.watch.probe();

    for (length, text) in [([0x0F, 0xFF, 0xFF, 0xFF], "length framing"), ([0xFF; 4], "no framing at all")] {
        let mut absurd = echo.connect(Wire::Length);
        absurd.send(&length);
        absurd.expect_end();
        base.watch.probe();
        assert!(echo.usage().peak < base.usage.peak + 16 * MIB + SLACK, "{text}: {:?}", echo.usage());
    }

    // What is announced costs nothing; what has come is held, up to `max_frame` for each connection.
    for wire in WIRES {
        let idle: Vec<_> = (0..32).map(|_| begin_frame(echo.connect(wire), &piece)).collect();
        base.watch.probe();
        assert!(echo.usage().rss < base.usage.rss + 3 * 32 * MIB + SLACK, "{:?}", echo.usage());
        drop(idle);
        echo.is_back_at(&mut base, 2 * SLACK);
    }
    base.watch.probe();
    let log = echo.end();
    assert!(log.contains("exceeds max_frame of 8388608"), "{log}");
}

#[test]
fn a_11_before_trust_a_frame_that_never_ends_is_cut_at_4_kib() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let mut echo = Echo::with(&["--secret", SECRET], "debug");
    let base = echo.usage();
    let piece = vec![b'A'; 1 << 20];
    for wire in WIRES {
        let held: Vec<_> = (0..100).map(|_| begin_frame(echo.connect(wire), &piece)).collect();
        for mut peer in held {
            peer.expect_end();
        }
    }
    assert!(echo.usage().peak < base.peak + SLACK, "{:?}", echo.usage());
    let mut peer = echo.connect(Wire::Length);
    assert_eq!(peer.ask(10, 4711, "null"), "11/4711 status 3: null");
    let log = echo.end_unasked();
    assert!(log.contains("exceeds untrusted_max_frame of 4096") && !log.contains(SECRET));
}

/// Sends the beginning of a frame of 8 MiB as far as the server takes it.
fn begin_frame(mut peer: Raw, piece: &[u8]) -> Raw {
    let beginning: &[u8] = match peer.wire {
        Wire::Length => &[0x00, 0x7F, 0xFF, 0xFF],
        Wire::Stp => b":<",
    };
    let _ = peer.try_send(beginning) && peer.try_send(piece);
    peer
}

#[test]
fn a_18_scanner_bytes_on_the_port() {
    let echo = Echo::start();
    let mut other = echo.connect(Wire::Length);
    other.probe();
    let client_hello =
        [&[0x16, 3, 1, 0, 0x2F, 1, 0, 0, 0x2B, 3, 3][..], &[7; 32], &[0, 0, 4, 0x13, 1, 0, 0xFF, 1, 0]];
    let zeros = vec![0; 1 << 20];
    for junk in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &*client_hello.concat(),
        b"askdjadkj\n",
        &zeros,
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-x\r\n",
        b"\r\n\r\n",
    ] {
        let mut peer = echo.connect(Wire::Length);
        peer.try_send(junk);
        peer.expect_end();
        other.probe();
        probe(&echo.address);
    }
    echo.end();
}
