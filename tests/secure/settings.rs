//! Certificates beside a secret, and settings that do not go together.

use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Level};

use crate::desk::{DIGITS, DeskClient, Notes, client, secret, show, until, within};
use crate::made::{localhost, trusting};

/// A certificate makes a client trusted before it has said anything; what the server says then still waits until it is clear
/// whether the client speaks in secure mode.
#[tokio::test]
async fn a_server_that_trusts_a_certificate_waits_for_how_its_client_speaks() {
    let (authority, tls) = localhost();
    let tls = tls.client_ca_pem(authority.pem()).expect("a certificate");
    let notes = Notes::default();
    let told = notes.clone();
    let server = notes.server(Server::bind("tls://127.0.0.1:0").secret(secret(DIGITS)).tls(tls));
    let server = server.trust_client_certificates(true).on_event(move |peer, event| {
        told.event(event);
        if *event == ConnectionEvent::Connected {
            let desk = DeskClient::new(peer);
            // It waits until the connection is ready.
            tokio::spawn(async move { desk.tell("welcome".into()).await });
        }
    });
    let server = within(server.start()).await.expect("it listens");
    for (with, level) in [(true, Some(Level::Secure)), (false, None)] {
        let own = Notes::default();
        let mut builder = own.client(client(server.address()));
        builder = builder.tls(authority.client("client").shown_by(trusting(&authority)));
        if with {
            builder = builder.secret(secret(DIGITS));
        }
        let client = within(builder).await.expect("it is trusted");
        assert_eq!(client.level(), level);
        assert_eq!(within(DeskClient::new(&client).tell("thanks".into())).await.expect("told"), show(level));
        until("the client is welcome", || own.all_heard() == ["welcome"]).await;
        within(client.close()).await;
    }
    // A wrong secret is wrong whatever the certificate.
    let builder = client(server.address()).tls(authority.client("client").shown_by(trusting(&authority)));
    let error = within(builder.secret(secret("another secret than that"))).await.expect_err("a wrong one");
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
}

#[tokio::test]
async fn a_level_that_cannot_be_had_is_an_error_and_no_lower_one() {
    let server = Notes::default().server(Server::bind("tcp://127.0.0.1:0"));
    let server = within(server.start()).await.expect("it listens");
    let cases = [
        (client(server.address()).level(Level::Secure), "level: secure mode needs a secret"),
        (
            client(server.address()).level(Level::Secure).old_peer().secret(secret(DIGITS)),
            "level: an old peer",
        ),
        (client(server.address()).secret(secret("short")), "secret: a passphrase of 5 characters"),
        (
            client(server.address()).level(Level::Legacy).secret(secret("a long passphrase")),
            "secret: a passphrase together",
        ),
        (
            client(server.address()).old_peer().secret(secret("a long passphrase")),
            "secret: a passphrase together",
        ),
    ];
    for (builder, expected) in cases {
        let error = within(builder).await.expect_err("it cannot be had");
        assert!(matches!(error, Error::Config { .. }) && error.to_string().starts_with(expected), "{error}");
    }
    assert!(server.peers().is_empty());
}

/// What a service is told is what it can decide by.
#[tokio::test]
async fn a_service_can_refuse_who_came_in_by_legacy() {
    let notes = Notes::default();
    let server = notes.server(Server::bind("tcp://127.0.0.1:0").secret(secret(DIGITS)).accept_legacy(true));
    let server = server.authorize(async |call| match call.level() {
        Some(Level::Secure) => Ok(()),
        _ => Err(Fault::not_permitted("in secure mode alone")),
    });
    let server = within(server.start()).await.expect("it listens");
    let secure = within(client(server.address()).secret(secret(DIGITS))).await.expect("secure");
    within(DeskClient::new(&secure).tell("allowed".into())).await.expect("told");
    let legacy = client(server.address()).secret(secret(DIGITS)).level(Level::Legacy).ignore_sentinel(true);
    let legacy = within(legacy).await.expect("legacy");
    let error = within(DeskClient::new(&legacy).tell("not allowed".into())).await.expect_err("refused");
    assert_eq!(error.fault().map(Fault::message), Some("in secure mode alone"));
    assert_eq!(notes.all_heard(), ["allowed"]);
}
