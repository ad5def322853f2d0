//! Certificates: which are taken, what is said of those that are not, and whom they make trusted.

use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use socketproto::prelude::*;
use socketproto::{ClientTls, Error, Result, ServerTls};

use super::made::{Authority, Folder, Made, localhost, self_signed, trusting};
use super::{echo, place};
use crate::support::within;

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
}

fn of_the_future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2900, 1, 1);
    params.not_after = date_time_ymd(2901, 1, 1);
}

/// Connects once to a server with these settings, and calls it.
async fn outcome(server: ServerTls, client: ClientTls) -> Result<u32> {
    let (builder, _ends) = echo("tls://127.0.0.1:0");
    let server = builder.tls(server).start().await.expect("a free port");
    let called = async { within(Client::connect(server.address()).tls(client)).await?.execute(1, &7).await };
    let called = within(called).await;
    within(server.shutdown()).await.expect("nothing is left");
    called
}

/// What a client says to a certificate of the server.
async fn refusal(server: &Made, client: ClientTls) -> String {
    let error = outcome(server.server_tls(), client).await.expect_err("the certificate is wrong");
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn each_wrong_certificate_of_a_server_has_its_own_sentence() {
    let authority = Authority::new("authority");
    let another = Authority::new("another");
    let namesake = Authority::new("authority");
    let names = ["localhost"];
    let authority_itself =
        self_signed(names, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let itself = |made: &Made| {
        let tls = ClientTls::new().ca_pem(made.chain.as_str()).expect("a certificate");
        tls.server_name("localhost").expect("a name")
    };
    for (made, client, expected) in [
        (authority.issue(names, expired), trusting(&authority), "the server's certificate expired "),
        (authority.issue(names, expired), trusting(&authority), " days ago: renew it there"),
        (authority.issue(names, of_the_future), trusting(&authority), "is not valid yet, but in "),
        (
            authority.server(["device.example", "10.0.0.1"]),
            trusting(&authority),
            "is not for localhost; the names it has: device.example, 10.0.0.1. Connect to one of them",
        ),
        (another.server(names), trusting(&authority), "was issued by nobody this side trusts, or by itself"),
        (
            namesake.server(names),
            trusting(&authority),
            "was signed with another key than that of the authority this side trusts under the same name: give",
        ),
        (
            self_signed(names, |_| {}),
            trusting(&authority),
            "was issued by nobody this side trusts, or by itself",
        ),
        (
            authority.client("localhost"),
            trusting(&authority),
            "was issued for another purpose than that of a server",
        ),
    ] {
        let error = refusal(&made, client).await;
        assert!(error.starts_with("no connection to tls://127.0.0.1:"), "{error}");
        assert!(error.contains(expected), "expected `{expected}` in: {error}");
    }
    let client = itself(&authority_itself);
    let error = refusal(&authority_itself, client).await;
    assert!(error.contains("is that of an authority, as `openssl req -x509` makes it"), "{error}");
    // The authorities of the web have not issued it.
    let web = ClientTls::new().server_name("localhost").expect("a name");
    let error = refusal(&authority.server(names), web).await;
    assert!(error.contains("give its authority, or itself, with `ClientTls::ca_file(..)`"), "{error}");
}

#[tokio::test]
async fn right_certificates_are_taken() {
    let authority = Authority::new("authority");
    let alone = self_signed(["localhost"], |_| {});
    let pinned = ClientTls::new().ca_pem(alone.chain.as_str()).expect("a certificate");
    let pinned = pinned.server_name("localhost").expect("a name");
    // By the address: a certificate for an IP.
    let by_address = ClientTls::new().ca_pem(authority.pem()).expect("a certificate");
    // One that is asked for names, and shows a chain of four.
    let below = authority.below("2").below("3").below("4");
    for (server, client) in [
        (authority.server(["localhost"]), trusting(&authority)),
        (authority.server(["*.example", "127.0.0.1"]), by_address),
        (below.server(["localhost"]), trusting(&authority)),
        (alone, pinned),
    ] {
        assert_eq!(outcome(server.server_tls(), client).await.expect("it is right"), 7);
    }
}

#[tokio::test]
async fn a_server_whose_flight_is_long_is_understood() {
    let authority = Authority::new("authority");
    let names: Vec<String> = (0..1500).map(|name| format!("a-long-name-{name}.example")).collect();
    let made = authority.below("2").below("3").issue(["localhost"], |params| {
        let names = CertificateParams::new(names).expect("names").subject_alt_names;
        params.subject_alt_names.extend(names);
    });
    assert!(made.der.len() > 32 * 1024 && made.der.len() < 60 * 1024, "{}", made.der.len());
    assert_eq!(outcome(made.server_tls(), trusting(&authority)).await.expect("it is right"), 7);
}

#[tokio::test]
async fn each_wrong_certificate_of_a_client_has_its_own_sentence() {
    let (authority, tls) = localhost();
    let asks = tls.client_ca_pem(authority.pem()).expect("a certificate");
    let trusting = || trusting(&authority);
    let shown = |made: Made| made.shown_by(trusting());
    const REQUIRED: &str = "the server requires a certificate, and this side has shown none: set one with \
                            `ClientTls::identity_files(..)`";
    const REFUSED: &str = "the server does not take this side's certificate: ";
    for (client, expected) in [
        (trusting(), REQUIRED.to_owned()),
        (shown(Authority::new("another").client("x")), format!("{REFUSED}it was issued by nobody")),
        (shown(authority.issue(["x"], expired)), format!("{REFUSED}it has expired or is not valid yet")),
        (
            shown(authority.issue(["x"], of_the_future)),
            format!("{REFUSED}it has expired or is not valid yet"),
        ),
        (shown(authority.server(["x"])), format!("{REFUSED}it was issued for another purpose")),
    ] {
        // Whether the answer comes before what the client says meanwhile is a matter of luck.
        for _ in 0..10 {
            let error = outcome(asks.clone(), client.clone()).await.expect_err("the certificate is wrong");
            assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
            assert!(error.to_string().contains(&expected), "expected `{expected}` in: {error}");
        }
    }
    let right = shown(authority.client("operator"));
    assert_eq!(outcome(asks.clone(), right.clone()).await.expect("it is right"), 7);
    let optional = asks.optional_client_certificate().expect("the same files");
    assert_eq!(outcome(optional.clone(), right).await.expect("it is right"), 7);
    assert_eq!(outcome(optional.clone(), trusting()).await.expect("it may be missing"), 7);
    let wrong = shown(Authority::new("another").client("x"));
    outcome(optional, wrong).await.expect_err("it may be missing, not wrong");
}

#[tokio::test]
async fn a_certificate_shows_who_calls_and_is_trusted_where_that_is_said() {
    let (authority, tls) = localhost();
    let tls = tls.client_ca_pem(authority.pem()).expect("a certificate");
    let tls = tls.optional_client_certificate().expect("the same files");
    let operator = authority.client("operator");
    let secret = || Secret::from_text("correct horse battery staple").expect("a secret");
    for trust in [false, true] {
        let known = operator.der.clone();
        let (builder, _ends) = echo("tls://127.0.0.1:0");
        let server = builder
            .tls(tls.clone())
            .secret(secret())
            .trust_client_certificates(trust)
            .authorize(async move |call| match call.peer().certificate() {
                Some(certificate) if *certificate == *known => Ok(()),
                _ => Err(Fault::not_permitted("for the operator alone")),
            })
            .start()
            .await
            .expect("a free port");
        let connect = |tls: ClientTls| Client::connect(server.address()).tls(tls);

        let with_both = within(connect(operator.shown_by(trusting(&authority))).secret(secret()));
        let with_both = with_both.await.expect("the secret is right");
        assert_eq!(within(with_both.execute::<_, u32>(1, &7)).await.expect("an echo"), 7);

        let certified = within(connect(operator.shown_by(trusting(&authority)))).await.expect("it is right");
        let called = within(certified.execute::<_, u32>(1, &7)).await;
        match (trust, called) {
            (true, Ok(7)) => {}
            (false, Err(error)) => assert!(error.to_string().contains("authentication required"), "{error}"),
            (_, called) => panic!("{trust}: {called:?}"),
        }
        let peers = server.peers();
        assert_eq!(peers.last().map(Peer::is_trusted), Some(trust));
        assert_eq!(peers.last().and_then(Peer::certificate).as_deref(), Some(&*operator.der));

        let unknown = within(connect(trusting(&authority))).await.expect("a certificate may be missing");
        let error = within(unknown.execute::<_, u32>(1, &7)).await.expect_err("nor secret nor certificate");
        assert!(error.to_string().contains("authentication required"), "{error}");
        within(server.shutdown()).await.expect("nothing is left");
    }
}

#[tokio::test]
async fn the_name_is_that_of_the_settings_whatever_the_network_says() {
    let authority = Authority::new("authority");
    let (builder, _ends) = echo("tls://127.0.0.1:0");
    let server = builder.tls(authority.server(["localhost", "127.0.0.1"]).server_tls());
    let server = server.start().await.expect("a free port");
    let tls = ClientTls::new().ca_pem(authority.pem()).expect("a certificate");
    let _ = within(Client::connect(server.address()).tls(tls.clone())).await.expect("it is for the address");
    let port = place(&server).rsplit_once(':').expect("a port").1;
    let _ = within(Client::connect(format!("tls://localhost:{port}")).tls(tls.clone()))
        .await
        .expect("and for the name");
    let other = tls.server_name("device.example").expect("a name");
    let error = within(Client::connect(server.address()).tls(other)).await.expect_err("not for that");
    assert!(error.to_string().contains("is not for device.example"), "{error}");
    within(server.shutdown()).await.expect("nothing is left");
}

#[test]
fn each_mistake_in_a_file_has_its_own_sentence() {
    let authority = Authority::new("authority");
    let (made, other) = (authority.server(["localhost"]), authority.server(["localhost"]));
    let folder = Folder::new();
    let chain = folder.file("chain.pem", &made.chain);
    let key = folder.file("key.pem", &made.key);
    let broken =
        folder.file("broken.pem", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n");
    let no_certificate =
        folder.file("wrong.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = folder.file(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let encrypted_of_old = folder.file(
        "encrypted-of-old.pem",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
         -----END EC PRIVATE KEY-----\n",
    );
    let no_key = folder.file("no-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let of_other = folder.file("other.pem", &other.key);
    let missing = folder.path("missing.pem");
    for (chain, key, expected) in [
        (&missing, &key, "missing.pem cannot be read: "),
        (&chain, &missing, "missing.pem cannot be read: "),
        (
            &key,
            &key,
            "key.pem holds no certificate; what is expected begins with -----BEGIN CERTIFICATE-----",
        ),
        (
            &chain,
            &chain,
            "chain.pem holds no private key; what is expected begins with -----BEGIN PRIVATE KEY-----",
        ),
        (&broken, &key, "broken.pem is no PEM text: "),
        (&no_certificate, &key, "the certificate in the file "),
        (&chain, &encrypted, "encrypted.pem is encrypted; decrypt it with `openssl pkey"),
        (&chain, &encrypted_of_old, "encrypted-of-old.pem is encrypted; decrypt it with `openssl pkey"),
        (&chain, &no_key, "no-key.pem cannot be used: "),
        (&chain, &of_other, "other.pem is not that of the first certificate in the file "),
    ] {
        for error in [
            ServerTls::from_files(chain, key).expect_err(expected),
            ClientTls::new().identity_files(chain, key).expect_err(expected),
        ] {
            let error = error.to_string();
            assert!(
                error.starts_with("tls: ") && error.contains(expected),
                "expected `{expected}` in: {error}"
            );
        }
    }
    let tls = || ServerTls::from_files(&chain, &key).expect("both are right");
    for (path, expected) in
        [(&missing, "cannot be read"), (&key, "holds no certificate"), (&no_certificate, "is none: ")]
    {
        for error in [
            tls().client_ca_file(path).expect_err(expected),
            ClientTls::new().ca_file(path).expect_err(expected),
        ] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
    assert!(!format!("{:?}", made.server_tls()).contains("PRIVATE"), "a key is shown");
}
