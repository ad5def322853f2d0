//! What the cases of logins share: a server with a secret, clients of both levels, a line that is listened to, and the login
//! of an old peer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha512};
use socketproto::prelude::*;
use socketproto::{ClientBuilder, Level, ServerBuilder};

use crate::support::{Raw, m};

pub(crate) const LEVELS: [Level; 2] = [Level::Secure, Level::Legacy];

/// One as `Secret::generate` makes them.
pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff0011223344556677";
pub(crate) const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa9988";

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_text(text).unwrap()
}

/// A server that takes this level, with this secret.
pub(crate) fn guarded(server: ServerBuilder, level: Level, secret: Secret) -> ServerBuilder {
    match level {
        Level::Secure => server.secret(secret),
        _ => server.legacy_secret(secret).accept_legacy(true),
    }
}

/// The same with an echo for those who are trusted; counts what it runs.
pub(crate) fn vault(address: &str, level: Level, text: &str) -> (ServerBuilder, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let server =
        guarded(Server::bind(address), level, secret(text)).register_callback(None, None, move |message| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(message.json().clone())
        });
    (server, ran)
}

pub(crate) fn client(address: &str, level: Level, text: &str) -> ClientBuilder {
    // They stand for old ones too, which look at no sentinel.
    Client::connect(address).secret(secret(text)).level(level).ignore_sentinel(true)
}

/// Somebody who knows the secret is served.
pub(crate) async fn serves(address: &str, level: Level, text: &str) {
    let client = client(address, level, text).await.expect("the secret is right");
    assert_eq!(client.level(), Some(level));
    client.read::<()>(4711).await.expect("an echo");
    client.close().await;
}

/// The key of an old peer: SHA-512 of the seed's characters and the secret's bytes, in hex digits.
pub(crate) fn key(seed: &str, secret: &str) -> String {
    let digest = Sha512::new().chain_update(seed).chain_update(secret).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks for a seed.
pub(crate) fn seed(raw: &mut Raw) -> String {
    raw.send_text(m(0, 0, 0, "null"));
    let answer = raw.receive().expect("the connection lives");
    assert_eq!((answer.status, answer.service_id, answer.data_id), (0, 1, 0));
    serde_json::from_str(answer.data()).expect("a text")
}

/// Sends a key, and gives the verdict.
pub(crate) fn prove(raw: &mut Raw, key: &str) -> String {
    raw.ask(0, 1, &format!("\"{key}\""))
}

/// Passes on what it is given, and keeps all of it.
pub(crate) struct Wiretap {
    pub(crate) address: String,
    /// For each connection what the client said, and what the server said.
    heard: Arc<Mutex<Vec<[Vec<u8>; 2]>>>,
    lines: Arc<Mutex<Vec<[TcpStream; 2]>>>,
}

impl Wiretap {
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = server.split_once("://").unwrap();
        let address = format!("{}://{}", scheme.0, listener.local_addr().unwrap());
        let (heard, lines) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (server, keep, known) = (scheme.1.to_owned(), Arc::clone(&heard), Arc::clone(&lines));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else { return };
                let line = keep.lock().unwrap().len();
                keep.lock().unwrap().push([Vec::new(), Vec::new()]);
                let copy = |stream: &TcpStream| stream.try_clone().unwrap();
                known.lock().unwrap().push([copy(&near), copy(&far)]);
                let keeps = [Arc::clone(&keep), Arc::clone(&keep)];
                let pairs = [(copy(&near), copy(&far)), (far, near)];
                for (side, ((from, to), keep)) in pairs.into_iter().zip(keeps).enumerate() {
                    thread::spawn(move || pass(from, to, &keep, line, side));
                }
            }
        });
        Self { address, heard, lines }
    }

    /// What the client and the server have said on the first connection.
    pub(crate) fn heard(&self) -> [Vec<u8>; 2] {
        self.heard.lock().unwrap().first().cloned().expect("somebody has connected")
    }

    /// The same of all connections.
    pub(crate) fn all(&self) -> Vec<[Vec<u8>; 2]> {
        self.heard.lock().unwrap().clone()
    }

    /// Says something to the server in the client's place, on the last connection.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        let lines = self.lines.lock().unwrap();
        let [_, far] = lines.last().expect("somebody has connected");
        (&mut &*far).write_all(bytes).unwrap();
    }

    /// Ends all connections without a word.
    pub(crate) fn cut(&self) {
        for line in self.lines.lock().unwrap().drain(..) {
            line.iter().for_each(|stream| {
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<[Vec<u8>; 2]>>, line: usize, side: usize) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        heard.lock().unwrap()[line][side].extend_from_slice(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
