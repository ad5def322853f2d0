//! E09: what is secret is in no log and no debug output, at any level, in any spelling.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use hkdf::Hkdf;
use sha2::{Digest, Sha256, Sha512};
use socketproto::prelude::*;
use socketproto::{Level, Message};
use tracing::level_filters::LevelFilter;

use crate::between::{FromClient, FromServer, Middle, Recording};
use crate::desk::{DIGITS, DeskClient, Notes, client, message, secret, until};
use crate::process;

const WRONG: &str = "00c0ffee00c0ffee00c0ffee00c0ffee";
const WORDS: &str = "S3CR3T-canary-7f";

/// How bytes that nobody may see could be written.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let mut all = vec![
        hex::encode(bytes),
        STANDARD.encode(bytes),
        URL_SAFE.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        format!("{bytes:?}"),
        format!("{bytes:x?}"),
        format!("{bytes:02x?}"),
    ];
    if let Ok(text) = std::str::from_utf8(bytes) {
        all.extend([text.to_owned(), format!("{text:?}").trim_matches('"').to_owned()]);
    }
    // Lists may go on.
    all.iter_mut().for_each(|text| *text = text.trim_matches(['[', ']']).to_lowercase());
    all
}

/// Whatever follows from a secret: its text, its bytes, the key of secure mode, and its answers to these seeds.
fn hidden(secret: &str, seeds: &[String]) -> Vec<Vec<u8>> {
    let mut all = vec![secret.as_bytes().to_vec()];
    if let Ok(bytes) = hex::decode(secret) {
        let mut psk = [0; 32];
        Hkdf::<Sha256>::new(None, &bytes).expand(b"socketproto psk v2", &mut psk).expect("32 bytes");
        all.extend([bytes, psk.to_vec()]);
    }
    all.extend(
        seeds.iter().map(|seed| Sha512::new().chain_update(seed).chain_update(secret).finalize().to_vec()),
    );
    all
}

#[track_caller]
fn assert_hidden(log: &str, seeds: &[String]) {
    let log = log.to_lowercase();
    for secret in [DIGITS, WRONG, WORDS] {
        for bytes in hidden(secret, seeds) {
            for spelling in spellings(&bytes) {
                assert!(!log.contains(&spelling), "{spelling} of {secret} is in the log");
            }
        }
    }
}

/// What a subscriber writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics while logging")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics while logging").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A hundred calls, a panic, another line, and logins that fail.
async fn busy(level: Level, seen: &Recording) -> String {
    let notes = Notes::default();
    let builder = notes.server(Server::bind("tcp://127.0.0.1:0").secret(secret(DIGITS)).accept_legacy(true));
    let builder = builder.further_secret(secret(WORDS).with_kid("words").expect("a short key id"));
    let mut shown = format!("{builder:?}");
    let server = builder.start().await.expect("it listens");
    let recording = seen.clone();
    let middle = Middle::hooked(&server, move || recording.hook()).await;
    let with = |secret: Secret| client(&middle.url).secret(secret).level(level).ignore_sentinel(true);

    shown += &format!("{:?} {:?}", with(secret(DIGITS)), secret(DIGITS));
    let honest = with(secret(DIGITS)).await.expect("it knows the secret");
    let desk = DeskClient::new(&honest);
    for number in 0..100 {
        desk.echo(format!("call {number}")).await.expect("an echo");
    }
    shown += &format!("{:?}", desk.fail().await.expect_err("it panics"));
    honest.protocol().reconnect();
    desk.echo("again".into()).await.expect("an echo");
    assert!(honest.protocol().authenticate(None).await);
    shown += &format!("{honest:?} {server:?} {:?} {:?}", server.peers(), honest.protocol());
    honest.close().await;

    for wrong in [WRONG, WORDS] {
        let error = with(secret(wrong)).allow_weak_secret(true).await.expect_err("another secret");
        shown += &format!("{error:?} {error}");
    }
    if level == Level::Secure {
        let words =
            with(secret(WORDS).with_kid("words").expect("a short key id")).await.expect("it is known");
        words.close().await;
    }
    until("all lines have ended", || notes.ends().len() >= 4).await;
    server.shutdown().await.expect("nothing is left");
    shown
}

#[test]
fn no_log_of_this_process_and_no_debug_output_shows_a_secret() {
    // Whether something is logged is remembered for all threads, and other tests log as well.
    if !process::is_alone("logs::no_log_of_this_process_and_no_debug_output_shows_a_secret") {
        return;
    }
    for level in [Level::Secure, Level::Legacy] {
        let (log, seen) = (Log::default(), Recording::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        // In an actix system all of it runs on this thread.
        let shown = tracing::subscriber::with_default(subscriber, || {
            actix::System::new().block_on(busy(level, &seen))
        });
        let text = log.text();
        let expected: &[&str] = match level {
            Level::Secure => {
                &["TRACE", "secure mode", "secure handshake refused", "handler panicked", "disconnected"]
            }
            _ => &[
                "TRACE",
                "the peer's key is wrong",
                "authentication failed",
                "handler panicked",
                "disconnected",
            ],
        };
        for word in expected {
            assert!(text.contains(word), "{word} is not logged at {level}");
        }
        let seeds = seeds(&seen);
        assert_eq!(seeds.is_empty(), level == Level::Secure);
        if level == Level::Legacy {
            // The keys of these tests are those that were sent.
            let sent = String::from_utf8_lossy(&seen.of(FromClient).concat()).into_owned();
            let key = hidden(DIGITS, &seeds[..1]).pop().expect("an answer");
            assert!(sent.contains(&hex::encode(key)));
        }
        assert_hidden(&text, &seeds);
        assert_hidden(&shown, &seeds);
    }
}

/// The seeds that a server has sent.
fn seeds(seen: &Recording) -> Vec<String> {
    let messages = seen.of(FromServer).into_iter().filter_map(|unit| message(&unit));
    let of_seeds = |message: &Message| {
        message.service_id() == ServiceId::AUTH_RESPONSE && message.data_id().value() == 0
    };
    messages.filter(of_seeds).filter_map(|message| message.data().ok()).collect()
}

/// An example as a command; cargo puts examples beside the folder of this program.
fn example(name: &str, secret: &str) -> Command {
    let own = std::env::current_exe().expect("a program knows where it lies");
    let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "`{name}` has not been built; run `cargo build --workspace --examples`");
    let mut command = Command::new(program);
    command.args(["--secret", secret]).env("RUST_LOG", "trace").stdin(Stdio::null());
    command
}

#[test]
fn no_log_of_an_example_shows_a_secret() {
    for security in ["secure", "legacy"] {
        let mut server = example("thermostat", DIGITS);
        server.args(["--security", security]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = Ended(server.spawn().expect("it runs"));
        let mut line = String::new();
        let stdout = server.0.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let url = line.trim().strip_prefix("listening on ").expect("where it listens");
        let mut log = String::new();
        for secret in [DIGITS, WRONG] {
            let client =
                example("client", secret).arg(url).args(["--security", security]).output().expect("it runs");
            // A Legacy client of this library has no business with a server that knows secure mode.
            assert_eq!(client.status.success(), secret == DIGITS && security == "secure");
            log += &String::from_utf8_lossy(&[client.stdout, client.stderr].concat());
        }
        server.0.kill().expect("it runs");
        let mut stderr = server.0.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut log).expect("its log");
        assert!(log.contains("TRACE") && log.contains("server listens"), "nothing is logged");
        assert_hidden(&log, &[]);
    }
}

/// Ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
