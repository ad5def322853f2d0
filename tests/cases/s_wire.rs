//! S: what a serial line does to bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Message, Peer, ServerBuilder};

use crate::cable::{Cable, Disturb, Tty};
use crate::support::{Noise, PATIENCE, Received, Wire, block_on, m, sealed, start};

/// A peer that speaks raw bytes at the other end of the wires.
pub(crate) struct RawPort<'a> {
    tty: &'a Tty,
    input: Vec<u8>,
    seen: usize,
}

impl<'a> RawPort<'a> {
    pub(crate) fn new(tty: &'a Tty) -> Self {
        Self { tty, input: Vec::new(), seen: 0 }
    }

    pub(crate) fn send_text(&mut self, text: impl AsRef<[u8]>) {
        self.tty.write(&Wire::Stp.frame(text));
    }

    /// A message that has come, if there is one.
    pub(crate) fn poll(&mut self) -> Option<Received> {
        if !self.input.contains(&b'>') {
            self.input.extend(self.tty.read());
        }
        let found = Wire::Stp.unwrap(&mut self.input, &mut self.seen);
        if found.is_none() {
            self.input.extend(self.tty.read());
        }
        found.map(|frame| Received::read(&frame))
    }

    pub(crate) fn receive(&mut self) -> Received {
        let begun = Instant::now();
        loop {
            if let Some(message) = self.poll() {
                return message;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing came within {PATIENCE:?}");
        }
    }

    /// The next message that is not HELLO, which a side says again and again until it is answered.
    pub(crate) fn answer(&mut self) -> String {
        loop {
            let message = self.receive();
            if message.service_id != ServiceId::HELLO_REQUEST.value() {
                return message.show();
            }
        }
    }

    pub(crate) fn probe(&mut self) {
        self.send_text(m(0, 10, 4711, "null"));
        assert_eq!(self.answer(), "11/4711: null");
    }
}

fn echo(message: &Message) -> Result<Json, Fault> {
    Ok(message.json().clone())
}

/// A server that answers with what it was sent.
pub(crate) fn echo_server(url: impl Into<String>) -> ServerBuilder {
    Server::bind(url).register_callback(None, None, echo)
}

// S01

/// Hits one frame in fifty, somewhere: a byte is lost, changed, or gets another before it.
fn hit(seed: u64, hits: Arc<AtomicUsize>) -> Disturb {
    let mut noise = Noise(seed);
    Box::new(move |bytes| {
        let mut out = Vec::with_capacity(bytes.len() + 4);
        for mut piece in bytes.split_inclusive(|byte| *byte == b'>').map(<[u8]>::to_vec) {
            if piece.ends_with(b":>") && noise.below(50) == 0 {
                hits.fetch_add(1, Ordering::Relaxed);
                let at = noise.below(piece.len() as u64);
                match noise.below(3) {
                    0 => drop(piece.remove(at)),
                    1 => piece[at] ^= 1 << noise.below(8),
                    _ => piece.insert(at, noise.bytes(1)[0]),
                }
            }
            out.extend(piece);
        }
        out
    })
}

#[test]
fn s_01_line_noise_around_frames() {
    const FRAMES: usize = 2_000;

    let tty = Tty::new();
    let server = start(echo_server(tty.url()));
    let mut port = RawPort::new(&tty);
    port.probe();
    let hits = Arc::new(AtomicUsize::new(0));
    let mut disturb = hit(1, Arc::clone(&hits));
    let mut answered = vec![false; FRAMES];
    let mut take = |message: Received| match (message.service_id, message.status) {
        (11, 0) => {
            let number: usize = message.data().parse().unwrap();
            assert_eq!(message.data_id as usize, number % 7, "wrong data");
            assert!(!std::mem::replace(&mut answered[number], true), "{number} was answered twice");
        }
        (11, 5) => {}
        _ => assert_eq!(message.service_id, ServiceId::HELLO_REQUEST.value(), "{message:?}"),
    };
    for number in 0..FRAMES {
        let text = m(0, 10, u32::try_from(number % 7).unwrap(), &number.to_string());
        tty.write(&disturb(Wire::Stp.frame(text)));
        if number % 16 == 0
            && let Some(message) = port.poll()
        {
            take(message);
        }
    }
    // Everything before this answer has been answered.
    port.send_text(m(0, 10, 4711, "null"));
    loop {
        let message = port.receive();
        if message.data_id == 4711 {
            break;
        }
        take(message);
    }
    let (hits, lost) = (hits.load(Ordering::Relaxed), answered.iter().filter(|answered| !**answered).count());
    assert!((20..=80).contains(&hits), "{hits} hits");
    assert!(lost <= 2 * hits && lost > 0, "{lost} frames lost by {hits} hits");
    port.probe();
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_01_line_noise_between_two_sides_of_this_library() {
    const CALLS: usize = 2_000;
    const AT_ONCE: usize = 32;

    let (left, right) = (Tty::new(), Tty::new());
    let server = start(echo_server(right.url()));
    let hits = Arc::new(AtomicUsize::new(0));
    let mut seed = 10;
    let cable = Cable::with(&left, &right, false, || {
        seed += 1;
        hit(seed, Arc::clone(&hits))
    });
    block_on(async {
        let client = Client::connect(left.url()).await.unwrap();
        let lost = AtomicUsize::new(0);
        let calls = (0..CALLS).map(|number| {
            let (client, lost) = (&client, &lost);
            async move {
                let data_id = u32::try_from(number % 5).unwrap();
                match client.call::<_, usize>(10, data_id, &number).timeout(Duration::from_secs(1)).await {
                    Ok(answer) => assert_eq!(answer, number, "wrong data"),
                    Err(Error::TimedOut { .. } | Error::Fault { .. }) => {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        stream::iter(calls).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        let (hits, lost) = (hits.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
        assert!((40..=160).contains(&hits), "{hits} hits");
        assert!(lost <= 2 * hits && lost > 0, "{lost} calls lost by {hits} hits");
        client.close().await;
    });
    drop(cable);
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_01_line_noise_between_two_sides_that_share_a_secret() {
    const CALLS: usize = 600;
    const AT_ONCE: usize = 4;

    let secret = || Secret::from_text("0123456789abcdef0123456789abcdef").unwrap();
    let (left, right) = (Tty::new(), Tty::new());
    let server = start(echo_server(right.url()).secret(secret()));
    let hits = Arc::new(AtomicUsize::new(0));
    let mut seed = 30;
    let cable = Cable::with(&left, &right, false, || {
        seed += 1;
        hit(seed, Arc::clone(&hits))
    });
    let events = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&events);
    block_on(async {
        let count = move |_: &Peer, _: &ConnectionEvent| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let client = Client::connect(left.url()).secret(secret()).on_event(count).await.unwrap();
        let calls = (0..CALLS).map(|number| {
            let client = &client;
            async move {
                let data_id = u32::try_from(number % 5).unwrap();
                match client.call::<_, usize>(10, data_id, &number).timeout(Duration::from_secs(3)).await {
                    Ok(answer) => assert_eq!(answer, number, "wrong data"),
                    Err(Error::TimedOut { .. }) => return 0,
                    Err(error) => panic!("{error}"),
                }
                1
            }
        });
        let answered: usize =
            stream::iter(calls).buffer_unordered(AT_ONCE).fold(0, async |sum, one| sum + one).await;
        let hits = hits.load(Ordering::Relaxed);
        // Behind a lost record the calls in flight are lost, and none else: those that follow wait for the next session.
        assert!(hits > 0 && answered + 4 * AT_ONCE * hits >= CALLS, "{answered} answers with {hits} hits");
        // Nothing of it is told: it is the same peer all the time.
        assert_eq!(events.load(Ordering::Relaxed), 2, "connected and ready");
        client.close().await;
    });
    drop(cable);
    block_on(server.shutdown()).unwrap();
}

// S02

#[test]
fn s_02_terminal_processing_of_the_tty() {
    let tty = Tty::cooked();
    let before = format!("{:?}", tty.settings());
    let server = start(echo_server(tty.url()));
    let mut port = RawPort::new(&tty);
    port.probe();
    // Whatever stands between the frames, and in white space.
    tty.write(&(0..=255).filter(|byte| *byte != b':').collect::<Vec<u8>>());
    port.send_text("{\r\n\t\"service_id\":10,\r\"data_id\":5,\n\"data\":\"\u{7f}\u{ff}\u{85}\"}\r\n\r\n");
    assert_eq!(port.answer(), "11/5: \"\u{7f}\u{ff}\u{85}\"");
    // The checksums hold every byte, both ways.
    let mut seen = [[false; 256]; 2];
    for number in 0..1_000 {
        let text = m(0, 10, 5, &number.to_string());
        sealed(&text).iter().for_each(|byte| seen[0][usize::from(*byte)] = true);
        port.send_text(text);
        let answer = format!(r#"{{"data_id":5,"service_id":11,"status":0,"data":{number}}}"#);
        assert_eq!(port.answer(), format!("11/5: {number}"));
        sealed(&answer).iter().for_each(|byte| seen[1][usize::from(*byte)] = true);
    }
    assert!(seen.iter().flatten().all(|seen| *seen), "a byte has not been tried");
    block_on(server.shutdown()).unwrap();
    assert_eq!(format!("{:?}", tty.settings()), before, "the settings are as they were");
}

// S07

/// Bytes a second at 9,600 baud: each has a start and a stop bit.
const BYTES_AT_9600: u32 = 960;

/// So many bytes a second, with pauses of up to 7 ms.
fn slow(seed: u64, bytes_per_second: u32) -> Disturb {
    let mut noise = Noise(seed);
    Box::new(move |bytes| {
        let time = Duration::from_secs(1) / bytes_per_second * u32::try_from(bytes.len()).unwrap();
        thread::sleep(time + Duration::from_micros(noise.next() % 7_000));
        bytes
    })
}

#[test]
fn s_07_slow_line_long_gaps() {
    let (left, right) = (Tty::new(), Tty::new());
    let server = start(echo_server(right.url()));
    let mut seed = 70;
    let cable = Cable::with(&left, &right, false, || {
        seed += 1;
        slow(seed, 20 * BYTES_AT_9600)
    });
    let text = ":<&".repeat(1_365);
    block_on(async {
        let client = Client::connect(left.url()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.call::<_, String>(10, 1, &text).await.unwrap(), text);
        }
        // The time of a call includes that on the line.
        let short = client.call::<_, String>(10, 1, &text).timeout(Duration::from_millis(20)).await;
        assert!(matches!(short, Err(Error::TimedOut { .. })), "{short:?}");
        assert_eq!(client.call::<_, u32>(10, 1, &7).await.unwrap(), 7);
        client.close().await;
    });
    drop(cable);
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_07_at_the_pace_of_9600_baud() {
    let (left, right) = (Tty::new(), Tty::new());
    let secret = || Secret::from_text("0123456789abcdef0123456789abcdef").unwrap();
    let server = start(echo_server(right.url().replace("115200", "9600")).secret(secret()));
    let mut seed = 80;
    let cable = Cable::with(&left, &right, false, || {
        seed += 1;
        slow(seed, BYTES_AT_9600)
    });
    block_on(async {
        // HELLO and the login alone are some 700 bytes each way.
        let client = Client::connect(left.url().replace("115200", "9600")).secret(secret()).await.unwrap();
        assert_eq!(client.call::<_, String>(10, 1, "22.5 °C").await.unwrap(), "22.5 °C");
        client.close().await;
    });
    drop(cable);
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_07_half_a_frame_and_silence_before_a_good_one() {
    let tty = Tty::new();
    let server = start(echo_server(tty.url()));
    let mut port = RawPort::new(&tty);
    port.probe();
    let frame = Wire::Stp.frame(m(0, 10, 5, "1"));
    for cut in [1, 2, frame.len() / 2, frame.len() - 1] {
        tty.write(&frame[..cut]);
        thread::sleep(Duration::from_millis(100));
        port.probe();
    }
    block_on(server.shutdown()).unwrap();
}

// A10 and S01: noise without end

#[test]
fn s_01_a_megabyte_of_noise_before_a_good_frame() {
    let tty = Tty::new();
    let server =
        start(echo_server(tty.url()).secret(Secret::from_text("0123456789abcdef0123456789abcdef").unwrap()));
    let mut port = RawPort::new(&tty);
    let mut noise = Noise(17);
    for _ in 0..256 {
        tty.write(&noise.bytes(4096));
    }
    tty.write(b"::");
    port.send_text(m(0, 10, 5, "1"));
    assert_eq!(port.answer(), "11/5 status 3: null");
    block_on(server.shutdown()).unwrap();
}
