//! E: TLS.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use socketproto::prelude::*;
use socketproto::{Backoff, ClientTls, ConnectionEvent, Error, Level, Peer, ServerTls};
use tokio::net::TcpSocket;

use crate::made::{Authority, Folder, Made, localhost, self_signed, trusting};
use crate::support::{Echo, PATIENCE, block_on, start};
use crate::vault::{LEVELS, SECRET, Wiretap, client, guarded, secret, vault};

const TLS: &str = "tls://127.0.0.1:0";

/// The reasons for which lines end.
fn ends() -> (mpsc::Receiver<String>, impl Fn(&Peer, &ConnectionEvent) + Send + Sync) {
    let (sender, told) = mpsc::channel();
    let follow = move |_: &Peer, event: &ConnectionEvent| {
        if let ConnectionEvent::Disconnected { reason } = event {
            let _ = sender.send(reason.to_string());
        }
    };
    (told, follow)
}

/// The place of an address, with another scheme.
fn at(address: &str, scheme: &str) -> String {
    format!("{scheme}://{}", address.split_once("://").unwrap().1)
}

// E13

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
}

fn of_the_future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2900, 1, 1);
    params.not_after = date_time_ymd(2901, 1, 1);
}

#[test]
fn e_13_expired_not_yet_valid_or_wrong_name_certificate() {
    let authority = Authority::new("authority");
    let by_address = || ClientTls::new().ca_pem(authority.pem()).unwrap();
    let itself = self_signed(["localhost"], |_| {});
    let pinned = ClientTls::new().ca_pem(itself.chain.as_str()).unwrap().server_name("localhost").unwrap();
    let asking = |made: &Made| made.server_tls().client_ca_pem(authority.pem()).unwrap();
    let right = authority.server(["localhost"]);
    let cases: [(ServerTls, ClientTls, &[&str]); 7] = [
        (
            authority.issue(["localhost"], expired).server_tls(),
            trusting(&authority),
            &["expired", "days ago", "renew it"],
        ),
        (
            authority.issue(["localhost"], of_the_future).server_tls(),
            trusting(&authority),
            &["not valid yet, but in"],
        ),
        (
            authority.server(["device.example"]).server_tls(),
            trusting(&authority),
            &["not for localhost", "device.example"],
        ),
        (right.server_tls(), by_address(), &["not for 127.0.0.1", "localhost"]),
        (itself.server_tls(), trusting(&authority), &["issued by nobody this side trusts, or by itself"]),
        (asking(&right), trusting(&authority), &["requires a certificate", "has shown none"]),
        (right.server_tls(), ClientTls::new().server_name("localhost").unwrap(), &["issued by nobody"]),
    ];
    for (server_tls, client_tls, expected) in cases {
        let (server, ran) = vault(TLS, Level::Secure, SECRET);
        let server = start(server.tls(server_tls));
        let client = client(server.address(), Level::Secure, SECRET).tls(client_tls);
        let error = block_on(client.into_future()).unwrap_err();
        // Not the error of a server that cannot be reached.
        assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
        for part in expected {
            assert!(error.to_string().contains(part), "`{part}` is missing in: {error}");
        }
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }
    let (server, _) = vault(TLS, Level::Secure, SECRET);
    let server = start(server.tls(itself.server_tls()));
    let client = client(server.address(), Level::Secure, SECRET).tls(pinned);
    let _ = block_on(client.into_future()).expect("one certificate can be trusted alone");
}

#[test]
fn e_13_it_works_again_once_the_certificate_is_replaced() {
    let authority = Authority::new("authority");
    let (wrong, right) = (authority.issue(["localhost"], expired), authority.server(["localhost"]));
    let folder = Folder::new();
    let (chain, key) = (folder.file("chain.pem", &wrong.chain), folder.file("key.pem", &wrong.key));
    let tls = ServerTls::from_files(&chain, &key).unwrap();
    for level in LEVELS {
        folder.file("chain.pem", &wrong.chain);
        folder.file("key.pem", &wrong.key);
        tls.reload().unwrap();
        let (server, _) = vault(TLS, level, SECRET);
        let server = start(server.tls(tls.clone()));
        block_on(async {
            let quick = Backoff::new(Duration::ZERO, Duration::from_millis(10));
            let client = client(server.address(), level, SECRET).tls(trusting(&authority)).backoff(quick);
            let client = client.lazy().await.unwrap();
            let call = client.read::<()>(1).timeout(Duration::from_millis(100));
            assert!(matches!(call.await, Err(Error::TimedOut { sent: false, .. })));
            folder.file("chain.pem", &right.chain);
            folder.file("key.pem", &right.key);
            tls.reload().unwrap();
            client.read::<()>(1).timeout(PATIENCE).await.expect("the new certificate is right");
            client.close().await;
        });
    }
}

// E14

#[test]
fn e_14_tls_client_on_a_plain_port_and_the_reverse() {
    let (authority, tls) = localhost();
    for level in LEVELS {
        let mut plain = Echo::with(&["--secret", SECRET, "--security", "legacy"], "info");
        let secured = start(vault(TLS, level, SECRET).0.tls(tls.clone()));
        let web = start(vault("ws://127.0.0.1:0", level, SECRET).0);
        for (address, expected) in [
            (at(&plain.address, "tls"), "connect with tcp://"),
            (at(secured.address(), "tcp"), "connect with tls://"),
            (at(&plain.address, "ws"), "where it takes none, connect with tcp://"),
            // What begins no WebSocket gets no answer there.
            (at(web.address(), "tcp"), "ended before it was ready: closed by the peer"),
        ] {
            let mut connecting = client(&address, level, SECRET);
            if address.starts_with("tls") {
                connecting = connecting.tls(trusting(&authority));
            }
            let error = block_on(connecting.into_future()).unwrap_err().to_string();
            assert!(error.contains(expected), "{address}: {error}");
        }
        let log = plain.end_unasked();
        for reason in
            ["the client speaks TLS, which is not taken here", "0x47, starts neither STP nor length"]
        {
            assert_eq!(log.matches(reason).count(), 1, "{log}");
        }
    }
}

// E15

/// A peer of OpenSSL that asks once, and then ends as it is told.
const PYTHON: &str = r#"
import json, socket, ssl, struct, sys, zlib

port, authority, end = sys.argv[1:]
plain = socket.create_connection(("127.0.0.1", int(port)))
context = ssl.create_default_context(cafile=authority)
line = context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
text = json.dumps({"service_id": 10, "data_id": 1, "status": 0, "data": 7}).encode()
frame = text + struct.pack(">I", zlib.crc32(text))
line.sendall(struct.pack(">I", len(frame)) + frame)
length, = struct.unpack(">I", line.recv(4))
print(json.loads(line.recv(length)[:-4])["data"], flush=True)
if end == "drops":
    line.detach()
    plain.close()
    import os; os._exit(0)
if end == "unwraps":
    line.unwrap()
if end == "waits":
    assert line.recv(1) == b"", "a close_notify has come"
"#;

#[test]
fn e_15_missing_close_notify() {
    let (authority, tls) = localhost();
    let folder = Folder::new();
    let pem = folder.file("authority.pem", authority.pem());
    for (end, expected) in [
        ("drops", "closed by the client without TLS's close_notify: what it sent last may be missing"),
        ("unwraps", "closed by the peer"),
        ("waits", "closed by this side"),
    ] {
        let (told, follow) = ends();
        let server = Server::bind(TLS).tls(tls.clone()).on_event(follow);
        let server = start(server.register_callback(None, None, |message| Ok(message.json().clone())));
        let port = server.address().rsplit_once(':').unwrap().1;
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON, port]).arg(&pem).arg(end).stdout(std::process::Stdio::piped());
        let mut child = python.spawn().expect("python3 can be run");
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line, "7\n");
        if end == "waits" {
            block_on(server.shutdown()).unwrap();
        } else {
            assert_eq!(told.recv_timeout(PATIENCE).as_deref(), Ok(expected), "{end}");
        }
        assert!(child.wait().unwrap().success(), "{end}");
    }
}

#[test]
fn e_15_a_line_that_is_cut_is_told_from_one_that_is_closed() {
    const CUT: &str = "the line ended without a word of the peer";
    const WITHOUT: &str = "closed by the client without TLS's close_notify";

    let (authority, tls) = localhost();
    for (scheme, level, cut) in [
        ("tls", Level::Secure, CUT),
        ("tls", Level::Legacy, WITHOUT),
        ("tcp", Level::Secure, CUT),
        ("tcp", Level::Legacy, "closed by the peer"),
    ] {
        let (told, follow) = ends();
        let (server, _) = vault(&at(TLS, scheme), level, SECRET);
        let server = server.on_event(follow);
        let server = start(if scheme == "tls" { server.tls(tls.clone()) } else { server });
        let tap = Wiretap::before(server.address());
        block_on(async {
            let connect = || {
                let client = client(&tap.address, level, SECRET);
                if scheme == "tls" { client.tls(trusting(&authority)) } else { client }
            };
            let client = connect().await.unwrap();
            client.read::<()>(1).await.unwrap();
            client.close().await;
            client.close().await;
            assert_eq!(told.recv_timeout(PATIENCE).as_deref(), Ok("closed by the peer"), "{scheme} {level}");
            let client = connect().lazy().await.unwrap();
            client.read::<()>(1).await.unwrap();
            tap.cut();
            let why = told.recv_timeout(PATIENCE).unwrap();
            assert!(why.starts_with(cut), "{scheme} {level}: {why}");
            client.close().await;
        });
    }
}

// E16

#[test]
fn e_16_long_certificate_chain_small_send_buffer() {
    let authority = Authority::new("authority");
    // Four certificates of RSA with 4,096 bits have some 6 KiB; it is the size that counts.
    let long = |params: &mut CertificateParams| {
        let names = (0..400).map(|name| format!("a-long-name-{name}.example")).collect::<Vec<_>>();
        params.subject_alt_names.extend(CertificateParams::new(names).unwrap().subject_alt_names);
    };
    let made = authority.below("2").below("3").below("4").issue(["localhost"], long);
    assert!(made.chain.matches("BEGIN CERTIFICATE").count() == 4 && made.der.len() > 8 * 1024);
    for level in LEVELS {
        block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            // A connection takes it over from its listener.
            socket.set_send_buffer_size(2048).unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            let listener = socket.listen(16).unwrap().into_std().unwrap();
            let address = format!("tls://{}", listener.local_addr().unwrap());
            let server = guarded(Server::from_listener(listener), level, secret(SECRET))
                .tls(made.server_tls())
                .register_callback(None, None, |message| Ok(message.json().clone()))
                .start()
                .await
                .unwrap();
            let client =
                client(&address, level, SECRET).tls(trusting(&authority)).await.expect("a long handshake");
            client.read::<()>(1).await.unwrap();
            client.close().await;
            server.shutdown().await.unwrap();
        });
    }
}
