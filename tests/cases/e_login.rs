//! E: logins.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use socketproto::{ConnectionEvent, Error, Level, Peer};

use crate::support::{Echo, PATIENCE, Raw, WIRES, Wire, block_on, m, start};
use crate::vault::{LEVELS, OTHER, SECRET, Wiretap, client, key, prove, seed, serves, vault};

const TCP: &str = "tcp://127.0.0.1:0";

/// Counts the lines.
fn lines() -> (Arc<AtomicUsize>, impl Fn(&Peer, &ConnectionEvent) + Send + Sync) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        counted.fetch_add(usize::from(*event == ConnectionEvent::Connected), Ordering::SeqCst);
    };
    (count, follow)
}

// E01

#[track_caller]
fn is_wrong_secret(level: Level, error: &Error) {
    let (kind, sentence) = match level {
        Level::Secure => (matches!(error, Error::WrongSecret { .. }), "does not take this secret"),
        _ => (matches!(error, Error::AuthenticationFailed { .. }), "the secret is wrong"),
    };
    assert!(kind && error.to_string().contains(sentence), "{level}: {error:?}");
}

#[test]
fn e_01_wrong_secret() {
    const TIME: Duration = Duration::from_secs(300);
    for level in LEVELS {
        actix::System::new().block_on(async {
            tokio::time::pause();
            let (attempts, follow) = lines();
            let (server, ran) = vault("mem://", level, SECRET);
            let server = server.on_event(follow).start().await.unwrap();
            let error = client(server.address(), level, OTHER).await.unwrap_err();
            is_wrong_secret(level, &error);
            assert_eq!(attempts.load(Ordering::SeqCst), 1);

            let (reason, told) = mpsc::channel();
            let stubborn = client(server.address(), level, OTHER).lazy().on_event(move |_, event| {
                if let ConnectionEvent::Disconnected { reason: why } = event {
                    let _ = reason.send(why.to_string());
                }
            });
            let stubborn = stubborn.await.unwrap();
            tokio::time::sleep(TIME).await;
            // Network errors begin with 100 ms; here each wait is 30 s.
            let tried = attempts.load(Ordering::SeqCst) - 1;
            assert!((10..=11).contains(&tried), "{tried} attempts in {TIME:?}");
            assert_eq!(told.try_iter().count(), tried, "the server closes each of them");
            serves(server.address(), level, SECRET).await;
            assert_eq!(ran.load(Ordering::SeqCst), 1);

            let address = server.address().to_owned();
            server.shutdown().await.unwrap();
            let _server = vault(&address, level, OTHER).0.start().await.unwrap();
            stubborn.read::<()>(4711).timeout(Duration::from_secs(31)).await.expect("it has become right");
            stubborn.close().await;
        });
    }
}

#[test]
fn e_01_a_wrong_secret_keeps_out_no_good_client_of_that_address() {
    for level in LEVELS {
        let (server, ran) = vault(TCP, level, SECRET);
        let server = start(server.penalize_loopback(true));
        block_on(async {
            // Two are 10 s of penalty, which are not enforced.
            for _ in 0..2 {
                is_wrong_secret(level, &client(server.address(), level, OTHER).await.unwrap_err());
            }
            serves(server.address(), level, SECRET).await;
        });
        let (server, _) = vault(TCP, level, SECRET);
        let server = start(server);
        block_on(async {
            // Loopback is exempt: it may be a proxy, with everybody behind it.
            for _ in 0..20 {
                is_wrong_secret(level, &client(server.address(), level, OTHER).await.unwrap_err());
            }
            serves(server.address(), level, SECRET).await;
        });
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

// E02

#[test]
fn e_02_requests_before_authentication() {
    for level in LEVELS {
        for wire in WIRES {
            let (server, ran) = vault(TCP, level, SECRET);
            let server = start(server);
            let mut raw = Raw::connect(server.address(), wire);
            for service in [10, 20, 30] {
                let refused = format!("{}/1 status 3: null", service + 1);
                assert_eq!(raw.ask(service, 1, "5"), refused, "{level} {wire:?}");
            }
            // Answers nobody asked for, to a login and to a name too, and a service of one's own: nothing is said.
            for (service, data_id) in [(1, 1), (1, 2), (9, 0), (11, 1), (21, 1), (31, 1), (50, 1), (51, 1)] {
                raw.send_text(m(0, service, data_id, "true"));
            }
            let without_a_seed = if level == Level::Legacy { "1/1: false" } else { "1/1 status 6: null" };
            assert_eq!(prove(&mut raw, &key("", SECRET)), without_a_seed);
            assert_eq!(raw.ask(8, 0, "\"attic\""), "9/0: null", "a name is no trust");
            assert_eq!(raw.ask(10, 1, "null"), "11/1 status 3: null");
            let peers = server.peers();
            assert!(
                peers.len() == 1 && !peers[0].is_trusted(),
                "who tells all peers something can leave it out"
            );
            raw.send_text(m(0, 0, 2, r#"{"suites":["NNpsk0-25519-CCP-SHA256"],"kid":"","m":""}"#));
            assert_eq!(raw.answer(), "1/2 status 6: null");
            if level == Level::Secure {
                raw.expect_end();
            }
            block_on(serves(server.address(), level, SECRET));
            assert_eq!(ran.load(Ordering::SeqCst), 1, "nothing but what the client asked has run");
        }
    }
}

// E04

#[test]
fn e_04_connection_that_never_authenticates() {
    /// Of each kind; there may be 256 strangers at once.
    const EACH: usize = 40;
    const SLACK: usize = 8 * 1024 * 1024;

    let mut echo = Echo::with(&["--secret", SECRET, "--security", "legacy"], "warn");
    block_on(serves(&echo.address, Level::Secure, SECRET));
    let before = echo.usage();
    let half = |wire: Wire| {
        let mut frame = wire.frame(m(0, 10, 1, &format!("\"{}\"", "x".repeat(3000))));
        frame.truncate(1500);
        frame
    };
    let mut strangers = Vec::new();
    for wire in WIRES {
        for begun in [Vec::new(), half(wire)[..1].to_vec(), half(wire)] {
            for _ in 0..EACH {
                let mut stranger = Raw::connect(&echo.address, wire);
                stranger.send(&begun);
                strangers.push(stranger);
            }
        }
    }
    // One that begins a login each way, and asks on.
    let mut undecided = Raw::connect(&echo.address, Wire::Stp);
    seed(&mut undecided);
    assert_eq!(undecided.ask(10, 1, "null"), "11/1 status 3: null");
    // A frame that is too large is not waited for.
    let mut large = Raw::connect(&echo.address, Wire::Length);
    large.send(&4097_u32.to_be_bytes());
    large.expect_end();

    let held = echo.usage().rss.saturating_sub(before.rss);
    assert!(held < SLACK, "{} strangers hold {held} bytes", strangers.len());
    block_on(serves(&echo.address, Level::Secure, SECRET));
    strangers.push(undecided);
    for mut stranger in strangers {
        stranger.expect_end();
    }
    block_on(serves(&echo.address, Level::Secure, SECRET));
    echo.end_unasked();
}

// E05

/// What is answered to the begin of a recording, before the rest of it closes the connection.
fn played_back(address: &str, begin: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut line = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    line.write_all(begin).unwrap();
    let mut answer = vec![0; 1024];
    let count = line.read(&mut answer).unwrap();
    answer.truncate(count);
    let _ = line.write_all(rest);
    if let Err(error) = line.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is not closed");
    }
    answer
}

/// The first frame, with its length.
fn first_frame(bytes: &[u8]) -> &[u8] {
    let length = u32::from_be_bytes(*bytes.first_chunk().unwrap());
    &bytes[..4 + usize::try_from(length).unwrap()]
}

#[test]
fn e_05_replay_of_a_recorded_authentication() {
    let (server, ran) = vault(TCP, Level::Secure, SECRET);
    let server = start(server);
    let tap = Wiretap::before(server.address());
    block_on(serves(&tap.address, Level::Secure, SECRET));
    let [said, answered] = tap.heard();

    let offer = first_frame(&said);

    let restarted = start(vault(TCP, Level::Secure, SECRET).0);
    let mut answers = BTreeSet::new();
    for server in [&server, &restarted] {
        for _ in 0..50 {
            let answer = played_back(server.address(), offer, &said[offer.len()..]);
            answers.insert(first_frame(&answer).to_vec());
        }
        let at_once = played_back(server.address(), &said, &[]);
        assert!(at_once.is_empty(), "who sends on before the answer gets none");
        assert!(!server.peers().iter().any(Peer::is_trusted));
    }
    assert_eq!(answers.len(), 100, "each answer is made anew, also after a restart");
    assert!(
        answers.iter().all(|answer| answer.escape_ascii().to_string().contains("NNpsk0-25519-CCP-SHA256"))
    );
    assert!(!answers.contains(first_frame(&answered)));
    assert_eq!(ran.load(Ordering::SeqCst), 1, "nothing has run again");

    // What the server had said convinces no client.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let actor = thread::spawn(move || {
        let (mut line, _) = listener.accept().unwrap();
        line.read_exact(&mut [0; 4]).unwrap();
        line.write_all(&answered).unwrap();
        let _ = line.read_to_end(&mut Vec::new());
    });
    is_wrong_secret(
        Level::Secure,
        &block_on(client(&address, Level::Secure, SECRET).into_future()).unwrap_err(),
    );
    actor.join().unwrap();
}

#[test]
fn e_05_replay_of_a_login_of_an_old_peer() {
    const SEEDS: usize = 5000;

    let mut seeds = BTreeSet::new();
    let mut said = None;
    for _ in 0..2 {
        let (server, ran) = vault(TCP, Level::Legacy, SECRET);
        let server = start(server);
        let said = said.get_or_insert_with(|| {
            let tap = Wiretap::before(server.address());
            block_on(serves(&tap.address, Level::Legacy, SECRET));
            tap.heard()[0].clone()
        });
        let before = ran.load(Ordering::SeqCst);
        let mut thief = Raw::connect(server.address(), Wire::Length);
        thief.send(said);
        let mut answers = Vec::new();
        while answers.last().is_none_or(|last: &String| !last.starts_with("11/4711")) {
            answers.push(thief.answer());
        }
        assert!(answers.contains(&"1/1: false".to_owned()), "{answers:?}");
        assert_eq!(answers.last().unwrap(), "11/4711 status 3: null");
        assert_eq!(ran.load(Ordering::SeqCst), before, "nothing has run again");

        let mut owner = Raw::connect(server.address(), Wire::Stp);
        let challenge = seed(&mut owner);
        assert_eq!(prove(&mut owner, &key(&challenge, SECRET)), "1/1: true");
        assert_eq!(prove(&mut owner, &key(&challenge, SECRET)), "1/1: false", "a seed serves once");
        owner.probe();
        seeds.extend((0..SEEDS).map(|_| seed(&mut owner)));
    }
    assert_eq!(seeds.len(), 2 * SEEDS, "no challenge comes twice, also after a restart");
}

// E07

#[test]
fn e_07_second_authentication_on_an_open_session() {
    for wire in WIRES {
        let (server, ran) = vault(TCP, Level::Legacy, SECRET);
        let server = start(server);
        let mut raw = Raw::connect(server.address(), wire);
        for _ in 0..2 {
            let challenge = seed(&mut raw);
            assert_eq!(prove(&mut raw, &key(&challenge, SECRET)), "1/1: true");
            raw.probe();
            let challenge = seed(&mut raw);
            raw.probe(); // A seed alone changes nothing.
            assert_eq!(prove(&mut raw, &key(&challenge, OTHER)), "1/1: false");
            assert_eq!(raw.ask(10, 1, "null"), "11/1 status 3: null", "a wrong key ends the trust");
        }
        assert_eq!(ran.load(Ordering::SeqCst), 4);
    }
}

#[test]
fn e_07_second_authentication_on_a_secure_session() {
    let (reason, told) = mpsc::channel();
    let (server, ran) = vault(TCP, Level::Secure, SECRET);
    let server = start(server.on_event(move |_, event| {
        if let ConnectionEvent::Disconnected { reason: why } = event {
            let _ = reason.send(why.to_string());
        }
    }));
    let tap = Wiretap::before(server.address());
    block_on(async {
        let client = client(&tap.address, Level::Secure, SECRET).await.unwrap();
        for _ in 0..3 {
            assert!(
                client.protocol().authenticate(None).await,
                "it is trusted already, which is all it says"
            );
            client.read::<()>(4711).await.unwrap();
        }
        let mut served = 3;
        for attempt in [m(0, 0, 0, "null"), m(0, 0, 2, r#"{"suites":[],"kid":"","m":""}"#)] {
            tap.inject(&Wire::Length.frame(attempt));
            let why = told.recv_timeout(PATIENCE).expect("the connection ends");
            assert!(why.starts_with("a record does not open"), "{why}");
            // The client may not have seen the end yet.
            served += usize::from(client.read::<()>(4711).await.is_ok());
            client.read::<()>(4711).await.expect("the next line is good");
            served += 1;
        }
        client.close().await;
        assert_eq!(ran.load(Ordering::SeqCst), served);
    });
}
