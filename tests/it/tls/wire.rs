//! TLS on the wire: cut, split, mixed with what is no TLS, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use socketproto::framing::{Deframer, Framing, MAX_FRAME};
use socketproto::prelude::*;
use socketproto::{Error, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::codec::Decoder;

use super::made::{Authority, Folder, Made, localhost, trusting};
use super::{dial, echo, place};
use crate::support::{encoded, framed, json, limits, sized, within};

/// What a peer of another make trusts.
fn config(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an authority");
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// What a client sends first.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let mut client = ClientConnection::new(config(authority), name()).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector takes everything");
    hello
}

/// What the other side says up to its end, however that comes.
pub(super) async fn rest(line: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = within(line.read_to_end(&mut read)).await;
    read
}

/// A request with length framing.
fn request() -> Bytes {
    framed(&encoded(&Message::new(ServiceId::EXECUTE_REQUEST, 1, json(&1))))
}

/// A TLS server that counts what it executes.
async fn counting() -> (Authority, Server, Arc<AtomicUsize>) {
    let (authority, tls) = localhost();
    let executed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executed);
    let server = Server::bind("tls://127.0.0.1:0").tls(tls).register_callback(None, None, move |message| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(message.json().clone())
    });
    (authority, server.start().await.expect("a free port"), executed)
}

/// It still serves.
async fn serves(server: &Server, authority: &Authority) {
    let client = within(Client::connect(server.address()).tls(trusting(authority))).await.expect("TLS");
    assert_eq!(within(client.execute::<_, u32>(1, &7)).await.expect("an echo"), 7);
}

#[tokio::test]
async fn a_client_hello_is_understood_however_it_is_split() {
    let (authority, server, _executed) = counting().await;
    let hello = client_hello(&authority);
    assert!(hello.len() > 200, "{}", hello.len());
    for at in 1..200 {
        let mut line = dial(&server).await;
        line.set_nodelay(true).expect("a TCP line");
        let (begin, end) = hello.split_at(at);
        line.write_all(begin).await.expect("the server is there");
        tokio::task::yield_now().await;
        line.write_all(end).await.expect("the server is there");
        let mut answer = [0; 6];
        within(line.read_exact(&mut answer)).await.unwrap_or_else(|error| panic!("split at {at}: {error}"));
        assert_eq!((answer[0], answer[5]), (0x16, 2), "a ServerHello is expected, split at {at}");
    }
    let mut line = dial(&server).await;
    for byte in &hello {
        line.write_all(&[*byte]).await.expect("the server is there");
    }
    assert_eq!(within(line.read_u8()).await.expect("an answer"), 0x16);
    serves(&server, &authority).await;
    within(server.shutdown()).await.expect("nothing is left");
}

/// Passes so many bytes on in one direction, and everything in the other; then it closes both.
async fn cut(listener: &TcpListener, server: &str, bytes: u64, from_client: bool) {
    let (mut near, _) = listener.accept().await.expect("a client");
    let mut far = TcpStream::connect(server).await.expect("the server listens");
    let ((near_read, mut near_write), (far_read, mut far_write)) = (near.split(), far.split());
    let all = u64::MAX;
    let (there, back) = if from_client { (bytes, all) } else { (all, bytes) };
    let (mut near_read, mut far_read) = (near_read.take(there), far_read.take(back));
    let there = tokio::io::copy(&mut near_read, &mut far_write);
    let back = tokio::io::copy(&mut far_read, &mut near_write);
    tokio::select! { _ = there => {}, _ = back => {} }
}

#[tokio::test]
async fn a_line_that_ends_anywhere_in_the_handshake_ends_it_on_both_sides() {
    let (authority, server, executed) = counting().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("tls://{}", listener.local_addr().expect("a bound listener"));
    let tls = trusting(&authority);
    for from_client in [true, false] {
        for bytes in 0..450 {
            let client = within(Client::connect(&*address).tls(tls.clone()));
            let (connected, ()) = tokio::join!(client, cut(&listener, place(&server), bytes, from_client));
            let error = connected.expect_err("HELLO is not answered yet");
            let known = matches!(error, Error::Handshake { .. } | Error::NotReady { .. });
            assert!(known, "cut at {bytes}: {error:?}");
        }
    }
    assert_eq!(executed.load(Ordering::SeqCst), 0);
    serves(&server, &authority).await;
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn what_came_in_clear_is_never_served_as_inside_tls() {
    let (authority, server, executed) = counting().await;
    let (hello, request) = (client_hello(&authority), request());
    for mixed in [[&request[..], &hello].concat(), [&hello[..], &request].concat()] {
        let mut line = dial(&server).await;
        line.write_all(&mixed).await.expect("the server is there");
        let answer = rest(&mut line).await;
        // Records of the handshake, and alerts: nothing of the application.
        assert!(matches!(answer.first(), Some(0x15 | 0x16)), "{answer:?}");
    }
    assert_eq!(executed.load(Ordering::SeqCst), 0);

    // A client that does its handshake, and then goes on in clear.
    let stream = dial(&server).await;
    let tls = within(TlsConnector::from(config(&authority)).connect(name(), stream)).await.expect("TLS");
    let (mut stream, _) = tls.into_inner();
    stream.write_all(&request).await.expect("the server is there");
    rest(&mut stream).await;
    assert_eq!(executed.load(Ordering::SeqCst), 0);
    serves(&server, &authority).await;
    within(server.shutdown()).await.expect("nothing is left");
}

/// Numbers without a pattern, the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[3]).collect()
    }
}

#[tokio::test]
async fn no_bytes_behind_the_first_of_tls_do_harm() {
    let (authority, server, executed) = counting().await;
    let hello = client_hello(&authority);
    let mut numbers = Numbers(0x5EED_0F71_5000_0001);
    for round in 0..300 {
        let length = usize::try_from(numbers.next() % 400).expect("a small number");
        let mut bytes = match round % 3 {
            0 => [vec![0x16], numbers.bytes(length)].concat(),
            // A record whose header is right.
            1 => {
                let body = u16::try_from(length).expect("a small number").to_be_bytes();
                [vec![0x16, 3, 1], body.to_vec(), numbers.bytes(length)].concat()
            }
            _ => hello.clone(),
        };
        if round % 3 == 2 {
            let at = 1 + length % (bytes.len() - 1);
            bytes[at] ^= numbers.bytes(1)[0] | 1;
        }
        let mut line = dial(&server).await;
        let _ = line.write_all(&bytes).await;
        let _ = line.shutdown().await;
        rest(&mut line).await;
    }
    // Every alert there can be, close_notify among them, instead of the rest of the handshake.
    for alert in 0..=u8::MAX {
        let mut line = dial(&server).await;
        let _ = line.write_all(&[&hello[..], &[0x15, 3, 3, 0, 2, 1 + alert % 2, alert]].concat()).await;
        let _ = line.shutdown().await;
        rest(&mut line).await;
    }
    assert_eq!(executed.load(Ordering::SeqCst), 0);
    serves(&server, &authority).await;
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_server_says_goodbye_and_sees_whether_a_client_does() {
    const LOST: &str = "closed by the client without TLS's close_notify: what it sent last may be missing";
    let (authority, tls) = localhost();
    let (builder, mut ends) = echo("tls://127.0.0.1:0");
    let server = builder.tls(tls).start().await.expect("a free port");
    let connect = || async {
        let stream = dial(&server).await;
        let mut line =
            within(TlsConnector::from(config(&authority)).connect(name(), stream)).await.expect("TLS");
        within(line.write_all(&request())).await.expect("the server is there");
        assert!(within(line.read_u8()).await.is_ok(), "the request is answered");
        line
    };

    let line = connect().await;
    drop(line);
    assert_eq!(within(ends.recv()).await.as_deref(), Some(LOST));

    let mut line = connect().await;
    within(line.shutdown()).await.expect("close_notify is sent");
    let mut answer = Vec::new();
    within(line.read_to_end(&mut answer)).await.expect("the server ends with close_notify too");
    assert_eq!(within(ends.recv()).await.as_deref(), Some("closed by the peer"));

    let mut line = connect().await;
    let (ended, read) = tokio::join!(within(server.shutdown()), within(line.read_to_end(&mut answer)));
    ended.expect("nothing is left");
    read.expect("the server ends with close_notify");
}

/// A TLS server of another make.
fn acceptor(made: &Made) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(made.chain.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("they belong together")))
}

/// Speaks TLS by OpenSSL, as the peers of the Python library would: asks once, and leaves with `close_notify`.
const PYTHON: &str = r#"
import json, socket, ssl, struct, sys, zlib

port, authority = sys.argv[1:]
plain = socket.create_connection(("127.0.0.1", int(port)))
line = ssl.create_default_context(cafile=authority).wrap_socket(plain, server_hostname="localhost")
text = json.dumps({"service_id": 30, "data_id": 1, "status": 0, "data": "ä" * 100000}).encode()
frame = text + struct.pack(">I", zlib.crc32(text))
line.sendall(struct.pack(">I", len(frame)) + frame)
answer = line.makefile("rb")
length, = struct.unpack(">I", answer.read(4))
print(line.version(), len(json.loads(answer.read(length)[:-4])["data"]))
line.unwrap()
"#;

#[tokio::test]
async fn a_peer_of_another_make_is_served_and_leaves_in_peace() {
    let (authority, tls) = localhost();
    let (builder, mut ends) = echo("tls://127.0.0.1:0");
    let server = builder.tls(tls).start().await.expect("a free port");
    let folder = Folder::new();
    let mut python = Command::new("python3");
    let port = place(&server).rsplit_once(':').expect("a port").1;
    python.args(["-c", PYTHON, port]).arg(folder.file("authority.pem", authority.pem())).kill_on_drop(true);
    let ended = within(python.output()).await.expect("python3 can be run");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(said, "TLSv1.3 100000\n", "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(within(ends.recv()).await.as_deref(), Some("closed by the peer"));
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn tls_1_2_is_spoken_too() {
    let (authority, tls) = localhost();
    let asks = tls.clone().client_ca_pem(authority.pem()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an authority");
    let old = ClientConfig::builder_with_protocol_versions(&[&TLS12]).with_root_certificates(roots);
    let old = TlsConnector::from(Arc::new(old.with_no_client_auth()));
    for (tls, taken) in [(tls, true), (asks, false)] {
        let (builder, _ends) = echo("tls://127.0.0.1:0");
        let server = builder.tls(tls).start().await.expect("a free port");
        match within(old.connect(name(), dial(&server).await)).await {
            Ok(mut line) => {
                within(line.write_all(&request())).await.expect("the server is there");
                assert!(within(line.read_u8()).await.is_ok(), "the request is answered");
                assert!(taken);
            }
            Err(error) => assert!(!taken, "{error}"),
        }
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn a_client_says_goodbye_and_sees_whether_a_server_does() {
    let authority = Authority::new("authority");
    let acceptor = acceptor(&authority.server(["localhost"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("tls://{}", listener.local_addr().expect("a bound listener"));
    for server_goes in [true, false] {
        let client = Client::connect(&*address).tls(trusting(&authority)).old_peer();
        let (client, line) = tokio::join!(within(client), async {
            let (stream, _) = within(listener.accept()).await.expect("a client");
            within(acceptor.accept(stream)).await.expect("TLS")
        });
        let client = client.expect("a peer of the old kind answers nothing");
        let mut line = line;
        if server_goes {
            let call = client.execute::<_, u32>(1, &7);
            let serve = async {
                // The channel's name, then the request.
                let mut read = [0; 1];
                let mut open = 0;
                while open < 2 {
                    within(line.read_exact(&mut read)).await.expect("frames");
                    open += usize::from(read == *b">");
                }
                drop(line);
            };
            let (called, ()) = tokio::join!(within(call), serve);
            let error = called.expect_err("the line is lost");
            assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
            assert!(error.to_string().ends_with(
                "connection lost, outcome unknown: closed by the server without TLS's close_notify: what it sent last \
                 may be missing"
            ), "{error}");
            within(client.close()).await;
        } else {
            let mut read = Vec::new();
            let ((), read) = tokio::join!(within(client.close()), within(line.read_to_end(&mut read)));
            read.expect("the client ends with close_notify");
        }
    }
}

/// Answers once the gate is open.
#[derive(Service)]
#[did(1, execute = async fn wait(cx, text: String) -> usize)]
#[did(2, execute = fn ping())]
struct Gate {
    opened: Arc<Semaphore>,
}

impl Gate {
    async fn wait(cx: Call<Self>, text: String) -> usize {
        let gate = cx.actor(|this| Arc::clone(&this.opened)).await;
        let _open = gate.acquire().await;
        text.len()
    }

    fn ping(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_faster_than_a_handler_runs_is_left_unread() {
    /// Of 16 KiB each: far more than everything in between can hold.
    const REQUESTS: usize = 2000;
    const FRAME: usize = 16 * 1024;

    let (authority, tls) = localhost();
    let gate = Arc::new(Semaphore::new(0));
    let limits = limits(|limits| (limits.max_in_flight, limits.max_parked) = (1, 64 * 1024));
    let server =
        Server::bind("tls://127.0.0.1:0").tls(tls).limits(limits).service(Gate { opened: Arc::clone(&gate) });
    let server = server.start().await.expect("a free port");
    let line = within(TlsConnector::from(config(&authority)).connect(name(), dial(&server).await));
    let (mut reader, mut writer) = tokio::io::split(line.await.expect("TLS"));
    let request = framed(&encoded(&sized(ServiceId::EXECUTE_REQUEST, 1, FRAME)));
    let mut sender = tokio::spawn(async move {
        for _ in 0..REQUESTS {
            writer.write_all(&request).await.expect("the server is there");
        }
        // What TLS has taken it may still hold.
        writer.flush().await.expect("the server is there");
        writer
    });
    // While another is served, it would long have sent everything, were it read.
    let other = within(Client::connect(server.address()).tls(trusting(&authority))).await.expect("TLS");
    let served = async {
        for _ in 0..3000 {
            within(other.execute::<_, ()>(2, &())).await.expect("an answer");
        }
    };
    tokio::select! {
        _ = &mut sender => panic!("{REQUESTS} requests were read, and one was run"),
        () = served => {}
    }
    gate.add_permits(1);
    let mut answers = Deframer::new(Framing::Length, MAX_FRAME);
    let (mut input, mut answered) = (BytesMut::new(), 0);
    while answered < REQUESTS {
        assert!(within(reader.read_buf(&mut input)).await.expect("answers") > 0, "{answered} answers");
        while answers.decode(&mut input).expect("frames").is_some() {
            answered += 1;
        }
    }
    drop(within(sender).await.expect("everything is sent"));
    within(server.shutdown()).await.expect("nothing is left");
}
