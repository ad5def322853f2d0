//! TLS: dialogues over it, one port for all, certificates that change while it runs.

mod certificates;
pub(crate) mod made;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Backoff, ClientTls, ConnectionEvent, Error, Limits, ServerBuilder, ServerTls};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{disconnected, limits, within};
use made::{Authority, Folder, Made, localhost, trusting};

/// A server that echoes what it is told to execute, and tells how its connections end.
fn echo(address: &str) -> (ServerBuilder, UnboundedReceiver<String>) {
    let (sender, ends) = unbounded_channel();
    let server = Server::bind(address)
        .register_callback(Some(ServiceId::EXECUTE_REQUEST), None, |message| Ok(message.json().clone()))
        .on_event(move |_, event| {
            if let ConnectionEvent::Disconnected { reason } = event {
                let _ = sender.send(reason.to_string());
            }
        });
    (server, ends)
}

/// The place behind the scheme of an address.
fn place(server: &Server) -> &str {
    server.address().split_once("://").expect("a URL").1
}

/// A TCP line to the place of a server.
async fn dial(server: &Server) -> TcpStream {
    within(TcpStream::connect(place(server))).await.expect("the server listens")
}

/// Calls back with twice the number.
#[derive(Service, Client)]
#[did(1, execute = async fn double(cx, number: u32) -> u32)]
#[did(2, execute = fn length(text: String) -> usize)]
struct Sums;

impl Sums {
    async fn double(cx: Call<Self>, number: u32) -> Result<u32, Fault> {
        let other = OtherClient::new(cx.peer());
        Ok(other.same(number).await? * 2)
    }

    fn length(&self, text: String) -> usize {
        text.len()
    }
}

#[derive(Service, Client)]
#[did(11, execute = fn same(number: u32) -> u32)]
struct Other;

impl Other {
    fn same(&self, number: u32) -> u32 {
        number
    }
}

#[tokio::test]
async fn a_dialogue_in_both_directions_goes_on_after_a_lost_line_and_ends_with_the_server() {
    let (authority, tls) = localhost();
    let secret = || Secret::from_text("correct horse battery staple").expect("a secret");
    let server = Server::bind("tls://127.0.0.1:0").tls(tls).service(Sums).secret(secret());
    let server = within(server.start()).await.expect("a free port");
    assert!(server.address().starts_with("tls://127.0.0.1:"), "{}", server.address());
    let relay = Relay::to(&server).await;
    let client = Client::connect(format!("tls://{}", relay.place))
        .tls(trusting(&authority))
        .secret(secret())
        .service(Other)
        .backoff(Backoff::new(Duration::ZERO, Duration::from_millis(10)));
    let client = within(client).await.expect("the server is there");
    assert!(client.is_trusted() && client.certificate().is_some());
    let sums = SumsClient::new(&client);
    for _ in 0..2 {
        assert_eq!(within(sums.double(21)).await.expect("an answer"), 42);
        assert_eq!(within(sums.length("x".repeat(1 << 20))).await.expect("an answer"), 1 << 20);
        relay.cut();
        disconnected(&client).await;
    }
    assert_eq!(within(sums.double(4)).await.expect("an answer on the next line"), 8);
    within(server.shutdown()).await.expect("nothing is left");
    within(client.close()).await;
    within(TcpStream::connect(place(&server))).await.expect_err("nobody listens any more");
}

/// Passes bytes on to a server until it is cut.
struct Relay {
    place: String,
    cuts: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    accept: tokio::task::AbortHandle,
}

impl Relay {
    async fn to(server: &Server) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let place = listener.local_addr().expect("a bound listener").to_string();
        let (to, cuts) = (self::place(server).to_owned(), Arc::new(Mutex::new(Vec::new())));
        let known = Arc::clone(&cuts);
        let accept = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = TcpStream::connect(&to).await else { return };
                let pass = async move { tokio::io::copy_bidirectional(&mut near, &mut far).await };
                known.lock().expect("nobody panics").push(tokio::spawn(pass).abort_handle());
            }
        });
        Self { place, cuts, accept: accept.abort_handle() }
    }

    fn cut(&self) {
        self.cuts.lock().expect("nobody panics").drain(..).for_each(|line| line.abort());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accept.abort();
        self.cut();
    }
}

#[tokio::test]
async fn one_port_takes_frames_and_tls() {
    let (authority, tls) = localhost();
    let (server, _ends) = echo("tcp://127.0.0.1:0");
    let server = server.tls(tls).start().await.expect("a free port");
    let address = format!("tls://{}", place(&server));
    let inside = within(Client::connect(address).tls(trusting(&authority))).await.expect("TLS is taken");
    let clear = within(Client::connect(server.address())).await.expect("frames are taken");
    let old = within(Client::connect(server.address()).old_peer()).await.expect("frames are taken");
    for client in [&inside, &clear, &old] {
        assert_eq!(within(client.execute::<_, u32>(1, &7)).await.expect("an echo"), 7);
    }
    assert!(inside.certificate().is_some());
    assert!(clear.certificate().is_none());
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn stp_by_tls_works_where_the_framing_is_fixed_too() {
    let (authority, tls) = localhost();
    for options in ["", "?framing=stp", "?line=on"] {
        let (server, _ends) = echo(&format!("tls://127.0.0.1:0{options}"));
        let server = server.tls(tls.clone()).start().await.expect("a free port");
        let client = Client::connect(server.address()).tls(trusting(&authority)).old_peer();
        let client = within(client).await.expect("TLS is taken");
        assert_eq!(within(client.execute::<_, u32>(1, &7)).await.expect("an echo"), 7, "{options}");
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn where_tls_is_required_a_client_in_clear_is_told_so() {
    let (_authority, tls) = localhost();
    for address in ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"] {
        let (server, _ends) = echo(address);
        let server = server.tls(tls.clone());
        let server = if address.starts_with("tcp") { server.require_tls(true) } else { server };
        let server = server.start().await.expect("a free port");
        let clear = format!("tcp://{}", place(&server));
        let error = within(Client::connect(clear)).await.expect_err("TLS is required");
        assert!(error.to_string().ends_with("the server takes TLS alone: connect with tls://"), "{error}");
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn a_tls_client_of_a_server_in_clear_is_told_so() {
    let (authority, _tls) = localhost();
    let (server, mut ends) = echo("tcp://127.0.0.1:0");
    let server = server.start().await.expect("a free port");
    let address = format!("tls://{}", place(&server));
    let error = within(Client::connect(address).tls(trusting(&authority))).await.expect_err("no TLS there");
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    assert!(error.to_string().contains("where it listens without TLS, connect with tcp://"), "{error}");
    assert_eq!(within(ends.recv()).await.as_deref(), Some("the client speaks TLS, which is not taken here"));
    within(server.shutdown()).await.expect("nothing is left");

    // One that answers in its own words.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("tls://{}", listener.local_addr().expect("a bound listener"));
    let talks = async {
        let (mut line, _) = listener.accept().await.expect("a client");
        tokio::io::AsyncWriteExt::write_all(&mut line, b"220 welcome\r\n").await.expect("a client");
        line
    };
    let (connected, _line) = tokio::join!(within(Client::connect(address).tls(trusting(&authority))), talks);
    let error = connected.expect_err("no TLS there");
    assert!(error.to_string().contains("what the server answers is no TLS"), "{error}");
}

#[tokio::test]
async fn a_silent_handshake_ends_in_time_on_both_sides() {
    let (authority, tls) = localhost();
    let short = || limits(|limits: &mut Limits| limits.first_byte_timeout = Duration::from_millis(20));
    let (server, _ends) = echo("tls://127.0.0.1:0");
    let server = server.tls(tls).limits(short()).start().await.expect("a free port");
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01"] {
        let mut line = dial(&server).await;
        tokio::io::AsyncWriteExt::write_all(&mut line, begun).await.expect("the server is there");
        assert_eq!(wire::rest(&mut line).await, b"", "{begun:?}");
    }
    within(server.shutdown()).await.expect("nothing is left");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("tls://{}", listener.local_addr().expect("a bound listener"));
    let client = Client::connect(address).tls(trusting(&authority)).limits(short());
    let error = within(client).await.expect_err("nobody answers");
    assert!(error.to_string().contains("handshake took longer than first_byte_timeout"), "{error}");
}

#[tokio::test]
async fn a_listener_by_tls_alone_may_be_reached_by_others() {
    let (_authority, tls) = localhost();
    let server = Server::bind("tls://0.0.0.0:0").tls(tls.clone()).start().await.expect("it encrypts");
    within(server.shutdown()).await.expect("nothing is left");
    for builder in [
        Server::bind("tls://0.0.0.0:0").tls(tls.clone()).require_tls(false),
        Server::bind("tcp://0.0.0.0:0").tls(tls),
    ] {
        let error = builder.start().await.expect_err("it takes frames in clear");
        assert!(error.to_string().starts_with("allow_plaintext: "), "{error}");
    }
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_told_at_the_start() {
    let (authority, tls) = localhost();
    let asks = || tls.clone().client_ca_pem(authority.pem()).expect("a certificate");
    let optional = || asks().optional_client_certificate().expect("the same files");
    let (tcp, of_tls) = (|| Server::bind("tcp://127.0.0.1:0"), || Server::bind("tls://127.0.0.1:0"));
    let secret = Secret::from_text("correct horse battery staple").expect("a secret");
    for (server, expected) in [
        (of_tls(), "tls: the server needs a certificate: `.tls(ServerTls::from_files("),
        (tcp().require_tls(true), "tls: the server needs a certificate: `.tls(ServerTls::from_files("),
        (Server::bind("mem://").tls(tls.clone()), "tls: this transport takes no TLS"),
        (
            of_tls().tls(tls.clone()).trust_client_certificates(true),
            "trust_client_certificates: clients are asked",
        ),
        (
            tcp().tls(asks()).trust_client_certificates(true),
            "trust_client_certificates: peers can connect without",
        ),
        (
            of_tls().tls(optional()).trust_client_certificates(true),
            "trust_client_certificates: peers can connect",
        ),
        (
            of_tls().tls(asks()).require_tls(false).trust_client_certificates(true),
            "trust_client_certificates: peers can connect",
        ),
    ] {
        let error = server.start().await.expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    for server in [
        of_tls().tls(asks()).trust_client_certificates(true),
        of_tls().tls(optional()).secret(secret.clone()).trust_client_certificates(true),
        tcp().tls(asks()).secret(secret).trust_client_certificates(true),
    ] {
        within(server.start().await.expect("they go together").shutdown()).await.expect("nothing is left");
    }
    let error =
        within(Client::connect("tcp://127.0.0.1:1").tls(ClientTls::new())).await.expect_err("in clear");
    assert!(
        error.to_string().starts_with("tls: only addresses of tls:// are connected to by TLS"),
        "{error}"
    );
    let error = within(Client::connect("tls://no host:1")).await.expect_err("no name").to_string();
    assert!(error.starts_with("tls: \"no host\" is neither a host name nor an IP address"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_renewed_under_traffic() {
    let authority = Authority::new("authority");
    let made: [Made; 2] = [authority.server(["localhost"]), authority.server(["localhost"])];
    let folder = Folder::new();
    let chain = folder.file("chain.pem", &made[0].chain);
    let key = folder.file("key.pem", &made[0].key);
    let tls = ServerTls::from_files(&chain, &key).expect("both are there");
    let (server, _ends) = echo("tls://127.0.0.1:0");
    let server = server.tls(tls.clone()).start().await.expect("a free port");
    let connect = || async {
        let client = Client::connect(server.address()).tls(trusting(&authority));
        within(client).await.expect("a certificate is in force")
    };
    let before = connect().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let traffic = async {
        let mut calls = 0_u32;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            assert_eq!(within(before.execute::<_, u32>(1, &calls)).await.expect("no call fails"), calls);
            calls += 1;
        }
        assert!(calls > 0);
    };
    let renewal = async {
        // Broken files leave what is there in force.
        folder.file("chain.pem", "");
        let error = tls.reload().expect_err("no certificate").to_string();
        assert!(error.contains("chain.pem holds no certificate"), "{error}");
        folder.file("chain.pem", &made[1].chain);
        let error = tls.reload().expect_err("another key").to_string();
        assert!(error.contains("key.pem is not that of the first certificate in"), "{error}");
        assert_eq!(connect().await.certificate().as_deref(), Some(&*made[0].der));
        folder.file("key.pem", &made[1].key);
        tls.reload().expect("they belong together");
        assert_eq!(connect().await.certificate().as_deref(), Some(&*made[1].der));
        assert_eq!(within(before.execute::<_, u32>(1, &7)).await.expect("the line stays"), 7);
        stop.send(()).expect("traffic goes on");
    };
    tokio::join!(traffic, renewal);
    assert_eq!(before.certificate().as_deref(), Some(&*made[0].der));
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_client_works_again_once_the_server_has_a_right_certificate() {
    let authority = Authority::new("authority");
    let (right, wrong) = (authority.server(["localhost"]), Authority::new("another").server(["localhost"]));
    let folder = Folder::new();
    let chain = folder.file("chain.pem", &wrong.chain);
    let key = folder.file("key.pem", &wrong.key);
    let tls = ServerTls::from_files(&chain, &key).expect("both are there");
    let (server, _ends) = echo("tls://127.0.0.1:0");
    let server = server.tls(tls.clone()).start().await.expect("a free port");
    let client = Client::connect(server.address())
        .tls(trusting(&authority))
        .backoff(Backoff::new(Duration::ZERO, Duration::from_millis(10)))
        .lazy();
    let client = within(client).await.expect("it connects later");
    let call = client.execute::<_, u32>(1, &7).timeout(Duration::from_millis(50));
    within(call).await.expect_err("the server's certificate is another's");
    folder.file("chain.pem", &right.chain);
    folder.file("key.pem", &right.key);
    tls.reload().expect("they belong together");
    assert_eq!(within(client.execute::<_, u32>(1, &7)).await.expect("an echo"), 7);
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn who_speaks_neither_frames_nor_tls_gets_no_answer() {
    let (_authority, tls) = localhost();
    let (server, _ends) = echo("tls://127.0.0.1:0");
    let server = server.tls(tls).start().await.expect("a free port");
    let mut line = dial(&server).await;
    tokio::io::AsyncWriteExt::write_all(&mut line, b"POST / HTTP/1.1\r\n\r\n")
        .await
        .expect("the server is there");
    assert_eq!(wire::rest(&mut line).await, b"");
    within(server.shutdown()).await.expect("nothing is left");
}
