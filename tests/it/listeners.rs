//! Every listener of byte streams takes TLS and WebSocket, those that others made too; whatever cannot says so.

use std::net::TcpListener;

use socketproto::prelude::*;
use socketproto::{ClientTls, ServerBuilder};

use crate::support::within;
use crate::tls::made::{localhost, trusting};

fn echo(builder: ServerBuilder) -> ServerBuilder {
    builder.register_callback(Some(ServiceId::READ_REQUEST), None, |message| Ok(message.json().clone()))
}

fn handed_over() -> ServerBuilder {
    echo(Server::from_listener(TcpListener::bind("127.0.0.1:0").expect("a free port")))
}

/// Asks over a scheme; the error is why there is no line.
async fn ask(scheme: &str, place: &str, tls: &ClientTls) -> Result<(), String> {
    let client = Client::connect(format!("{scheme}://{place}"));
    let client = if matches!(scheme, "tls" | "wss") { client.tls(tls.clone()) } else { client };
    let client = within(client).await.map_err(|error| error.to_string())?;
    within(client.read::<()>(1)).await.expect("an echo");
    client.close().await;
    Ok(())
}

fn place(server: &Server) -> &str {
    server.address().strip_prefix("tcp://").expect("TCP")
}

#[tokio::test]
async fn a_listener_that_was_handed_over_takes_what_one_of_its_own_takes() {
    let (authority, tls) = localhost();
    let trusting = trusting(&authority);
    let server = handed_over().tls(tls).websocket(true).start().await.expect("it listens already");
    for scheme in ["tcp", "tls", "ws", "wss"] {
        assert_eq!(ask(scheme, place(&server), &trusting).await, Ok(()), "{scheme}");
    }
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn where_tls_is_required_a_listener_that_was_handed_over_takes_nothing_in_clear() {
    let (authority, tls) = localhost();
    let trusting = trusting(&authority);
    let server = handed_over().tls(tls.clone()).websocket(true).require_tls(true).start().await;
    let server = server.expect("it listens already");
    for scheme in ["tls", "wss"] {
        assert_eq!(ask(scheme, place(&server), &trusting).await, Ok(()), "{scheme}");
    }
    let error = ask("tcp", place(&server), &trusting).await.expect_err("it is in clear");
    assert!(error.ends_with("the server takes TLS alone: connect with tls://"), "{error}");
    let error = ask("ws", place(&server), &trusting).await.expect_err("it is in clear");
    assert!(
        error.ends_with("it closed without an answer; where it takes none, connect with tcp://, and where it takes TLS alone, with wss://"),
        "{error}"
    );
    within(server.shutdown()).await.expect("nothing is left");

    // Others may reach it, then and only then.
    let exposed = || Server::from_listener(TcpListener::bind("0.0.0.0:0").expect("a free port"));
    let server = exposed().tls(tls.clone()).require_tls(true).start().await.expect("nothing is in clear");
    within(server.shutdown()).await.expect("nothing is left");
    let error = exposed().tls(tls).start().await.expect_err("it takes frames in clear");
    assert!(error.to_string().starts_with("allow_plaintext: "), "{error}");
    let error = handed_over().require_tls(true).start().await.expect_err("there is no certificate");
    assert!(error.to_string().starts_with("tls: the server needs a certificate"), "{error}");
}

/// As behind a web server, or a TLS proxy that passes on what it cannot read.
#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_takes_tls_and_websockets_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (bound, passed) = (directory.path().join("bound.sock"), directory.path().join("passed.sock"));
    let listener = std::os::unix::net::UnixListener::bind(&passed).expect("the path is free");
    let (authority, tls) = localhost();
    let trusting = trusting(&authority);
    for (builder, path) in [
        (Server::bind(format!("unix://{}", bound.display())), bound),
        (Server::from_listener(listener), passed),
    ] {
        let server = echo(builder).tls(tls.clone()).websocket(true).start().await.expect("the path is free");
        let bridge = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let place = bridge.local_addr().expect("it is bound").to_string();
        for scheme in ["tcp", "tls", "ws", "wss"] {
            let pass = async {
                let (mut near, _) = bridge.accept().await.expect("a client");
                let mut far = tokio::net::UnixStream::connect(&path).await.expect("the server listens");
                // Either side may close first, and how is all the same.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            };
            let (asked, ()) = tokio::join!(ask(scheme, &place, &trusting), within(pass));
            assert_eq!(asked, Ok(()), "{scheme} to {}", path.display());
        }
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn a_setting_that_can_do_nothing_is_an_error() {
    let (_authority, tls) = localhost();
    let serial = || Server::bind("serial:///dev/none");
    for (builder, expected) in [
        (serial().websocket(true), "websocket: this transport takes none; listen on tcp://HOST:PORT"),
        (serial().tls(tls), "tls: this transport takes no TLS; leave `.tls(..)` out, or listen on tls://"),
        (serial().require_tls(true), "tls: the server needs a certificate"),
        (handed_over().allowed_origins(["http://a.example"]), "allowed_origins: no page can connect here"),
        (
            Server::bind("tcp://127.0.0.1:0?framing=length&peer=old"),
            "address `tcp://127.0.0.1:0?framing=length",
        ),
    ] {
        let error = within(builder.start()).await.expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error =
        within(Client::connect("mem://nobody?framing=length").old_peer()).await.expect_err("STP alone");
    assert!(error.to_string().starts_with("address `mem://nobody`: a peer of the Python library"), "{error}");
    let error = within(Client::connect("unix:///run/x.sock?mode=0660")).await.expect_err("no listener");
    assert_eq!(
        error.to_string(),
        "address `unix:///run/x.sock`: the option `mode` is for the listener, which makes the socket; leave it out here"
    );
}

#[tokio::test]
async fn a_client_speaks_the_framing_that_its_address_says() {
    for (options, takes_it) in [("framing=stp", true), ("framing=length", false)] {
        let server = echo(Server::bind("mem://?framing=stp")).start().await.expect("a free name");
        let client = within(Client::connect(format!("{}?{options}", server.address()))).await;
        assert_eq!(client.is_ok(), takes_it, "{options}: {client:?}");
        if let Ok(client) = client {
            within(client.read::<()>(1)).await.expect("an echo");
            client.close().await;
        }
        within(server.shutdown()).await.expect("nothing is left");
    }
}
