//! What TCP addresses bind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socketproto::prelude::*;
use socketproto::{Error, ServerBuilder};

use crate::support::{has_ipv6, within};

fn server(address: &str) -> ServerBuilder {
    Server::bind(address)
        .register_callback(Some(ServiceId::READ_REQUEST), None, |message| Ok(message.json().clone()))
}

async fn start(address: &str) -> Server {
    server(address).allow_plaintext(true).start().await.unwrap_or_else(|error| panic!("{error}"))
}

/// The port of a server.
fn port(server: &Server) -> &str {
    server.address().rsplit(':').next().expect("a port")
}

/// Connects, asks, and gives what the server calls the peer; none where nobody answers.
async fn reach(server: &Server, host: &str) -> Option<String> {
    let client = within(Client::connect(format!("tcp://{host}:{}", port(server)))).await.ok()?;
    within(client.read::<()>(1)).await.ok()?;
    let shown = server.peers().last()?.address().to_owned();
    client.close().await;
    Some(shown)
}

#[tokio::test]
async fn an_ipv6_address_stands_in_brackets() {
    if !has_ipv6() {
        return;
    }
    // It is loopback, so nobody has to be asked.
    let server = server("tcp://[::1]:0").start().await.expect("a free port");
    assert!(server.address().starts_with("tcp://[::1]:"), "{}", server.address());
    let client = within(Client::connect(server.address())).await.expect("the server listens");
    assert!(server.peers()[0].address().starts_with("tcp://[::1]:"));
    client.close().await;
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn the_address_of_all_of_ipv6_is_that_of_ipv4_as_well() {
    if !has_ipv6() {
        return;
    }
    let server = start("tcp://[::]:0").await;
    assert!(server.address().starts_with("tcp://[::]:"), "{}", server.address());
    let shown = reach(&server, "[::1]").await.expect("IPv6 reaches it");
    assert!(shown.starts_with("tcp://[::1]:"), "{shown}");
    let shown = reach(&server, "127.0.0.1").await.expect("IPv4 reaches it");
    assert!(shown.starts_with("tcp://127.0.0.1:"), "{shown}");
    assert!(reach(&server, "localhost").await.is_some());
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn the_address_of_all_of_ipv4_is_that_of_ipv4_alone() {
    let server = start("tcp://0.0.0.0:0").await;
    assert!(server.address().starts_with("tcp://0.0.0.0:"), "{}", server.address());
    assert!(reach(&server, "127.0.0.1").await.is_some());
    assert!(reach(&server, "localhost").await.is_some(), "all addresses of a name are tried");
    if has_ipv6() {
        assert_eq!(reach(&server, "[::1]").await, None);
    }
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_name_is_its_first_address_and_that_alone() {
    let first = ("localhost", 0).to_socket_addrs().expect("every machine has it").next().expect("an address");
    let server = server("tcp://localhost:0").start().await.expect("a free port");
    let bound: SocketAddr =
        server.address().strip_prefix("tcp://").and_then(|place| place.parse().ok()).expect("an address");
    assert_eq!(bound.ip(), first.ip());
    assert!(reach(&server, "localhost").await.is_some());
    let other = if first.is_ipv4() { "[::1]" } else { "127.0.0.1" };
    assert_eq!(reach(&server, other).await, None);
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn what_others_reach_has_to_be_allowed() {
    for address in ["tcp://0.0.0.0:0", "tcp://[::]:0"] {
        if address.contains('[') && !has_ipv6() {
            continue;
        }
        let error = Server::bind(address).start().await.expect_err("it is exposed");
        assert!(error.to_string().starts_with("allow_plaintext:"), "{error}");
    }
    let all = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let error = Server::from_listener(all).start().await.expect_err("it is exposed");
    assert!(error.to_string().starts_with("allow_plaintext:"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let first = start("tcp://127.0.0.1:0").await;
    let address = first.address().to_owned();
    let error = server(&address).start().await.expect_err("the port is in use");
    assert!(matches!(&error, Error::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse));
    let expected = format!("cannot listen on {address}: port {} of 127.0.0.1 is in use", port(&first));
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(reach(&first, "127.0.0.1").await.is_some(), "the first does not notice");

    // And is free as soon as the server has shut down, whatever connections it had.
    let client = within(Client::connect(&address)).await.expect("the server listens");
    within(first.shutdown()).await.expect("nothing is left");
    let again = start(&address).await;
    client.close().await;
    within(again.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_second_instance_does_not_take_the_other_address_of_a_name() {
    let first = server("tcp://localhost:0").start().await.expect("a free port");
    let error = server(&format!("tcp://localhost:{}", port(&first))).start().await.expect_err("it is in use");
    assert!(error.to_string().contains("is in use"), "{error}");
    within(first.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn an_address_of_another_machine_is_said() {
    // From the block for documentation: no machine has it.
    let error = server("tcp://192.0.2.1:0").start().await.expect_err("it is not ours");
    assert_eq!(
        error.to_string(),
        "cannot listen on tcp://192.0.2.1:0: this machine does not have the address 192.0.2.1"
    );
}

#[tokio::test]
async fn a_listener_of_ones_own_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("tcp://{}", listener.local_addr().expect("it is bound"));
    let server = Server::from_listener(listener).start().await.expect("it listens already");
    assert_eq!(server.address(), address);
    within(Client::connect(&address)).await.expect("the server listens").close().await;
    within(server.shutdown()).await.expect("nothing is left");
    TcpListener::bind(address.strip_prefix("tcp://").expect("TCP")).expect("its port is free again");
}

#[tokio::test]
async fn loopback_written_as_ipv6_is_loopback() {
    if !has_ipv6() {
        return;
    }
    // Nobody has to be asked, for no other machine reaches it.
    let server = server("tcp://[::ffff:127.0.0.1]:0").start().await.expect("a free port");
    assert!(reach(&server, "127.0.0.1").await.is_some());
    assert!(server.address().starts_with("tcp://[::ffff:127.0.0.1]:"), "{}", server.address());
    within(server.shutdown()).await.expect("nothing is left");
    let error = Server::bind("tcp://[::ffff:0.0.0.0]:0").start().await.expect_err("it is exposed");
    assert!(error.to_string().starts_with("allow_plaintext:"), "{error}");
}
