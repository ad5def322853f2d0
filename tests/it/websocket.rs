//! WebSocket lines: which pages may connect, what settings go together, what is told where no line comes. What goes over
//! the wire is in `cases/w_websocket.rs`, whole dialogues are in `thermostat.rs`.

use socketproto::prelude::*;
use socketproto::{Error, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::within;
use crate::tls::made::{localhost, trusting};

/// The first line of the answer to a page.
async fn answer(server: &Server, headers: &str) -> String {
    let (_, place) = server.address().split_once("://").expect("a URL");
    let mut stream = within(TcpStream::connect(place)).await.expect("the server listens");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    within(stream.write_all(request.as_bytes())).await.expect("the server reads");
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(within(stream.read_u8()).await.expect("an answer"));
    }
    String::from_utf8(line).expect("HTTP").trim_end().to_owned()
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_connect() {
    const TAKEN: &str = "HTTP/1.1 101 Switching Protocols";
    const REFUSED: &str = "HTTP/1.1 403 Forbidden";

    let origins = ["http://127.0.0.1:8000", "https://Rooms.example"];
    let port_of_all = Server::bind("tcp://127.0.0.1:0").websocket(true);
    for builder in [Server::bind("ws://127.0.0.1:0"), port_of_all] {
        let server = builder.allowed_origins(origins).start().await.expect("it listens");
        for (headers, expected) in [
            ("", TAKEN),
            ("Origin: http://127.0.0.1:8000\r\n", TAKEN),
            ("Origin: https://rooms.example\r\n", TAKEN),
            ("Origin: http://127.0.0.1:8001\r\n", REFUSED),
            ("Origin: http://127.0.0.1\r\n", REFUSED),
            ("Origin: https://127.0.0.1:8000\r\n", REFUSED),
            ("Origin: http://127.0.0.1:8000.evil.example\r\n", REFUSED),
            ("Origin: http://127.0.0.1:8000, http://evil.example\r\n", REFUSED),
            ("Origin: http://127.0.0.1:8000\r\nOrigin: http://evil.example\r\n", REFUSED),
            ("Origin: null\r\n", REFUSED),
            ("Origin:\r\n", REFUSED),
            ("Origin: \u{e4}\r\n", REFUSED),
        ] {
            assert_eq!(answer(&server, headers).await, expected, "{headers}");
        }
    }
    let server =
        Server::bind("ws://127.0.0.1:0").allowed_origins(["null"]).start().await.expect("it listens");
    assert_eq!(answer(&server, "Origin: null\r\n").await, TAKEN);
}

#[tokio::test]
async fn settings_that_do_not_go_together_name_the_remedy() {
    async fn mistake(builder: ServerBuilder) -> String {
        builder.start().await.expect_err("they do not go together").to_string()
    }

    let bind = |address: &str| Server::bind(address).websocket(true);
    assert_eq!(
        mistake(bind("mem://")).await,
        "websocket: this transport takes none; listen on tcp://HOST:PORT"
    );
    assert_eq!(
        mistake(bind("tcp://127.0.0.1:0?framing=stp")).await,
        "websocket: framing=stp does not go over a WebSocket, where one message is one frame; use tcp://, or leave it \
         out"
    );
    assert!(mistake(bind("tcp://127.0.0.1:0?line=on")).await.starts_with("websocket: line=on"));
    assert_eq!(
        mistake(Server::bind("tcp://127.0.0.1:0").allowed_origins(["http://a.example"])).await,
        "allowed_origins: no page can connect here; listen on ws://, or add `.websocket(true)`"
    );
    for origin in
        ["", "a.example", "http://a.example/", "http://a.example/page", "http://", "*", "http://*.example"]
    {
        assert_eq!(
            mistake(Server::bind("ws://127.0.0.1:0").allowed_origins([origin])).await,
            format!(
                "allowed_origins: {origin:?} is no origin; write it as browsers do, for example \
                 https://example.com:8443"
            )
        );
    }
    assert!(mistake(Server::bind("ws://0.0.0.0:0")).await.contains("allow_plaintext"));
    assert!(mistake(Server::bind("wss://127.0.0.1:0")).await.contains("needs a certificate"));
    let error = Client::connect("ws://127.0.0.1:1").old_peer().await.expect_err("no such peer");
    assert!(error.to_string().starts_with("address `ws://127.0.0.1:1`: peer=old does not go"), "{error}");
    let server = bind("tcp://127.0.0.1:0?framing=length").start().await;
    drop(server.expect("length framing is what it carries"));
}

#[tokio::test]
async fn where_no_websocket_is_the_client_is_told_why() {
    async fn reason(address: String) -> String {
        let error = within(Client::connect(&address)).await.expect_err("there is none");
        assert!(matches!(error, Error::Handshake { .. }), "{error}");
        error.to_string().replace(&format!("no connection to {address}: "), "")
    }

    let server = Server::bind("ws://127.0.0.1:0/rooms").start().await.expect("it listens");
    let elsewhere = server.address().replace("/rooms", "/elsewhere");
    assert_eq!(
        reason(elsewhere).await,
        "the server gives no WebSocket: HTTP 404 Not Found: the WebSocket is at /rooms"
    );

    let server = Server::bind("tcp://127.0.0.1:0").start().await.expect("it listens");
    assert_eq!(
        reason(server.address().replace("tcp://", "ws://")).await,
        "the server gives no WebSocket: it closed without an answer; where it takes none, connect with tcp://, and where \
         it takes TLS alone, with wss://"
    );

    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n<html>\u{7}\n</html>", "HTTP 200 OK: <html>\u{FFFD}"),
        ("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "it upgrades to something else"),
        (
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "its answer is not one to this request: Sec-WebSocket-Accept is wrong",
        ),
        ("220 mail.example ESMTP\r\n\r\n", "HTTP version must be 1.1 or higher"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("ws://{}", listener.local_addr().expect("bound"));
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("the client connects");
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(answer.as_bytes()).await.expect("the client reads");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let (found, ()) = tokio::join!(reason(address), serve);
        let found = found.replace("the server gives no WebSocket: ", "");
        if !answer.starts_with("HTTP") {
            assert!(found.contains("httparse error"), "{found}");
        } else {
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn a_server_may_speak_first() {
    #[derive(Service, Client)]
    struct Lamp {
        #[did(1, read, write)]
        on: bool,
    }

    let (sender, mut connected) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::bind("ws://127.0.0.1:0")
        .on_event(move |peer, event| {
            if *event == socketproto::ConnectionEvent::Ready {
                let _ = sender.send(peer.clone());
            }
        })
        .start()
        .await
        .expect("it listens");
    let client = within(Client::connect(server.address()).service(Lamp { on: true })).await.expect("a line");
    let peer = within(connected.recv()).await.expect("it is ready");
    assert!(within(LampClient::new(&peer).on()).await.expect("an answer"));
    assert!(client.address().starts_with("ws://127.0.0.1:"));
    assert!(peer.address().starts_with("ws://127.0.0.1:"));
}

#[tokio::test]
async fn the_certificate_of_a_client_is_seen_through_a_websocket() {
    let (authority, tls) = localhost();
    let tls = tls.client_ca_pem(authority.pem()).expect("an authority");
    let server = Server::bind("wss://127.0.0.1:0").tls(tls).start().await.expect("it listens");
    let shown = authority.client("attic");
    let connected = within(Client::connect(server.address()).tls(shown.shown_by(trusting(&authority))))
        .await
        .expect("a line");
    let peer = server.peers().pop().expect("the client is there");
    assert_eq!(peer.certificate().as_deref(), Some(&shown.der[..]));
    drop(connected);
}
