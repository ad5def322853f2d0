//! Who meets whom, and how: every client with every server, over every line, whoever stands between. The table is what ought to
//! be; each line is a rule, and for each case the first that fits counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use socketproto::prelude::*;
use socketproto::{ClientBuilder, ClientTls, Error, Level, Message, ServerTls};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::between::{Deed, FromServer, Hook, Line, Middle, Recording, is_offer, pass, unit};
use crate::desk::{
    DIGITS, DeskClient, Notes, answer, client, framed, json, message, place, secret, show, within,
};
use crate::made::{Authority, Made, trusting};

/// Clients: `secure`; `legacy`; `tester`, a Legacy client that takes the seeds of any server; `bare`, one without a secret.
/// Servers: `secure`; `both`, which accepts Legacy too; `old`, which has a secret for Legacy alone; `none`, without a secret.
/// Lines: `tcp`; `tls`; `cert`, TLS with certificates of clients; `trust`, where these are taken for the secret.
/// Between: `none`; `relay` of bytes; `cut`, which ends every line; `1`, `3`, `4`, `6`, which answer the handshake with this
/// status; `silence`, which swallows it; `sentinel`, which changes the end of a seed; `rogue`, a server that says yes to
/// everything and does not know the secret; `stranger`, the same with the certificate of another authority.
/// Outcomes: `secure`, `legacy`, `open`: the level that both ends see, and the call is answered; `refused`: the call gets
/// status 3; `fooled`: the call goes to the rogue, which is what secure mode is there against; else the error of `connect`,
/// and nothing that the application says has left, in clear or otherwise.
const TABLE: &str = "
    client         server       line        between       outcome

    *              *            *           stranger      Handshake
    *              *            tcp         cut           NotReady
    *              *            *           cut           Handshake

    secure         *            *           rogue         WrongSecret
    legacy|tester  *            *           rogue         fooled
    bare           *            *           rogue         fooled

    secure         *            *           1|3|4|silence PeerTooOld
    secure         *            *           6             WrongSecret
    secure         secure|both  *           *             secure
    secure         old|none     *           *             WrongSecret

    legacy|tester  secure|none  *           *             AuthenticationFailed
    legacy|tester  both|old     *           sentinel      AuthenticationFailed
    legacy         both         *           *             PeerCanDoSecure
    legacy         old          *           *             legacy
    tester         both|old     *           *             legacy

    bare           none         *           *             open
    bare           *            trust       *             open
    bare           *            *           *             refused
";

const CLIENTS: [&str; 4] = ["secure", "legacy", "tester", "bare"];
const SERVERS: [&str; 4] = ["secure", "both", "old", "none"];
const LINES: [&str; 4] = ["tcp", "tls", "cert", "trust"];
const BETWEEN: [&str; 11] =
    ["none", "relay", "cut", "1", "3", "4", "6", "silence", "sentinel", "rogue", "stranger"];

#[derive(Clone, Copy, Debug)]
struct Case {
    client: &'static str,
    server: &'static str,
    line: &'static str,
    between: &'static str,
}

impl Case {
    /// Whether there is such a case: whoever wants to see inside TLS has to be its end, and who shows the certificates of
    /// clients cannot be imitated towards the server.
    fn is_one(&self) -> bool {
        match (self.line, self.between) {
            ("tcp", between) => between != "stranger",
            ("tls", _) => true,
            (_, between) => ["none", "relay", "cut", "rogue", "stranger"].contains(&between),
        }
    }

    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for client in CLIENTS {
            for server in SERVERS {
                for line in LINES {
                    cases.extend(BETWEEN.map(|between| Self { client, server, line, between }));
                }
            }
        }
        cases.retain(Self::is_one);
        cases
    }

    /// The rule for it: its number and its outcome.
    fn rule(&self) -> (usize, &'static str) {
        let words = [self.client, self.server, self.line, self.between];
        let fits = |rule: &[&str]| {
            rule.iter()
                .zip(words)
                .all(|(allowed, word)| *allowed == "*" || allowed.split('|').any(|one| one == word))
        };
        let mut rules = rules().into_iter().enumerate();
        let (number, rule) = rules.find(|(_, rule)| fits(&rule[..4])).expect("a rule");
        (number, rule[4])
    }
}

fn rules() -> Vec<Vec<&'static str>> {
    let lines = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| !words.is_empty()).skip(1).inspect(|words| assert_eq!(words.len(), 5)).collect()
}

#[tokio::test]
async fn everybody_meets_as_the_table_says() {
    let world = World::new().await;
    let cases = Case::all();
    let mut used = HashSet::new();
    for case in &cases {
        used.insert(case.rule().0);
    }
    assert_eq!(used.len(), rules().len(), "each rule is for some case");
    let world = &world;
    let outcomes = stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| async move { (case, within(world.outcome(number, case)).await) })
        .buffer_unordered(48);
    let wrong = outcomes.filter_map(|(case, outcome)| async move {
        let expected = case.rule().1;
        (outcome != expected).then(|| format!("{case:?}: expected {expected}, found {outcome}"))
    });
    let wrong: Vec<String> = wrong.collect().await;
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The servers, and whose certificates are trusted.
struct World {
    authority: Authority,
    stranger: Authority,
    servers: HashMap<(&'static str, &'static str), (Server, Notes)>,
}

impl World {
    async fn new() -> Self {
        let (authority, stranger) = (Authority::new("authority"), Authority::new("another"));
        let mut servers = HashMap::new();
        for kind in SERVERS {
            for line in LINES {
                servers.insert((kind, line), serve(&authority, kind, line).await);
            }
        }
        Self { authority, stranger, servers }
    }

    /// What the client sees, with a call that nobody may read who does not know the secret.
    async fn outcome(&self, number: usize, case: Case) -> String {
        let (server, notes) = &self.servers[&(case.server, case.line)];
        let seen = Recording::default();
        let middle = self.between(case, server, &seen).await;
        let address = middle.as_ref().map_or(server.address(), |middle| &middle.url);
        let canary = format!("canary {number}.");
        match self.client(case, address).await {
            Ok(client) => {
                let told = DeskClient::new(&client).tell(canary.clone()).await;
                match told {
                    Ok(level) if level == "fooled" => level,
                    Ok(level) => {
                        if show(client.level()) != level {
                            return format!("{} at the client, {level} at the server", show(client.level()));
                        }
                        assert!(client.level() != Some(Level::Secure) || !seen.has(&canary), "{case:?}");
                        assert!(notes.all_heard().contains(&canary), "{case:?}");
                        level
                    }
                    Err(Error::Fault { fault, .. }) if fault.status() == Status::AUTHENTICATION_REQUIRED => {
                        assert!(!notes.all_heard().contains(&canary), "{case:?}");
                        "refused".to_owned()
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => {
                let waiting = within(self.client(case, address).lazy()).await.expect("it waits");
                let call = DeskClient::new(&waiting).tell(canary.clone()).timeout(Duration::from_millis(300));
                let error_of_call = call.await.expect_err("it cannot be made");
                assert!(
                    matches!(error_of_call, Error::TimedOut { sent: false, .. }),
                    "{case:?}: {error_of_call}"
                );
                waiting.close().await;
                assert!(!seen.has(&canary) && !notes.all_heard().contains(&canary), "{case:?}");
                name(&error).to_owned()
            }
        }
    }

    fn client(&self, case: Case, address: &str) -> ClientBuilder {
        let mut builder = client(address);
        if case.line != "tcp" {
            builder = builder.tls(self.client_tls(case.line));
        }
        match case.client {
            "secure" => builder.secret(secret(DIGITS)),
            "legacy" => builder.secret(secret(DIGITS)).level(Level::Legacy),
            "tester" => builder.secret(secret(DIGITS)).level(Level::Legacy).ignore_sentinel(true),
            _ => builder,
        }
    }

    fn client_tls(&self, line: &str) -> ClientTls {
        match line {
            "tls" => trusting(&self.authority),
            _ => self.authority.client("client").shown_by(trusting(&self.authority)),
        }
    }

    async fn between(&self, case: Case, server: &Server, seen: &Recording) -> Option<Middle> {
        let scheme = if case.line == "tcp" { "tcp" } else { "tls" };
        match case.between {
            "none" => None,
            "relay" => Some(Middle::relay(server).await),
            "cut" => Some(Middle::new(scheme, async |line| drop(line)).await),
            "rogue" | "stranger" => {
                let authority = if case.between == "rogue" { &self.authority } else { &self.stranger };
                let acceptor = (case.line != "tcp").then(|| acceptor(&authority.server(["localhost"])));
                let seen = seen.clone();
                let rogue = move |near| {
                    let (acceptor, seen) = (acceptor.clone(), seen.clone());
                    async move {
                        if let Some(line) = end_of_tls(near, acceptor).await {
                            rogue(line, &seen).await;
                        }
                    }
                };
                Some(Middle::new(scheme, rogue).await)
            }
            kind => {
                let tls = (case.line != "tcp")
                    .then(|| (acceptor(&self.authority.server(["localhost"])), connector(&self.authority)));
                let (to, seen) = (place(server.address()).to_owned(), seen.clone());
                let strip = move |near| {
                    let (to, tls, hook) = (to.clone(), tls.clone(), strip(kind, seen.clone()));
                    async move {
                        let (acceptor, connector) = tls.unzip();
                        let Some(near) = end_of_tls(near, acceptor).await else { return };
                        let Some(far) = begin_of_tls(&to, connector).await else { return };
                        pass(near, far, hook).await;
                    }
                };
                Some(Middle::new(scheme, strip).await)
            }
        }
    }
}

async fn serve(authority: &Authority, kind: &str, line: &str) -> (Server, Notes) {
    let notes = Notes::default();
    let mut builder =
        notes.server(Server::bind(if line == "tcp" { "tcp://127.0.0.1:0" } else { "tls://127.0.0.1:0" }));
    if line != "tcp" {
        builder = builder.tls(server_tls(authority, line)).trust_client_certificates(line == "trust");
    }
    builder = match kind {
        "secure" => builder.secret(secret(DIGITS)),
        "both" => builder.secret(secret(DIGITS)).accept_legacy(true),
        "old" => builder.legacy_secret(secret(DIGITS)).accept_legacy(true),
        _ => builder,
    };
    (within(builder.start()).await.expect("it listens"), notes)
}

fn server_tls(authority: &Authority, line: &str) -> ServerTls {
    let tls = authority.server(["localhost"]).server_tls();
    match line {
        "tls" => tls,
        _ => tls.client_ca_pem(authority.pem()).expect("a certificate"),
    }
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::WrongSecret { .. } => "WrongSecret",
        Error::PeerTooOld { .. } => "PeerTooOld",
        Error::PeerCanDoSecure { .. } => "PeerCanDoSecure",
        Error::AuthenticationFailed { .. } => "AuthenticationFailed",
        Error::Handshake { .. } => "Handshake",
        Error::NotReady { .. } => "NotReady",
        _ => "another error",
    }
}

// Who stands between

/// Answers the handshake of secure mode itself, or changes seeds.
fn strip(kind: &'static str, seen: Recording) -> Hook {
    Box::new(move |side, _, unit| {
        seen.add(side, &unit);
        let Some(message) = message(&unit).filter(|message| message.service_id().value() < 2) else {
            return Deed::Pass(unit);
        };
        match kind {
            "silence" if is_offer(&message) => Deed::Pass(Vec::new()),
            "sentinel"
                if side == FromServer && message.data_id().value() == 0 && message.status().is_okay() =>
            {
                let seed: String = message.data().expect("a seed");
                let changed = format!("{}{}", &seed[..62], if seed.ends_with("00") { "01" } else { "00" });
                Deed::Pass(framed(&Message::from_parts(*message.header(), json(&changed))))
            }
            "sentinel" | "silence" => Deed::Pass(unit),
            status if is_offer(&message) => {
                let status = status.parse::<u32>().expect("a status");
                let status = Status::new(status).expect("a status");
                Deed::Answer(framed(&answer(&message, status, Json::NULL)))
            }
            _ => Deed::Pass(unit),
        }
    })
}

/// A server that says yes to everything, and does not know the secret.
async fn rogue(mut line: Box<dyn Line>, seen: &Recording) {
    use tokio::io::AsyncWriteExt;
    while let Some(unit) = unit(&mut line, false).await {
        seen.add(crate::between::FromClient, &unit);
        let Some(request) = message(&unit) else { return };
        let data = match (request.service_id().value(), request.data_id().value()) {
            (0, 0) => json(&"ab".repeat(32)),
            (0, 1) => json(&true),
            (0, 2) => json(&serde_json::json!({ "suite": "NNpsk0-25519-CCP-SHA256", "m": "Q".repeat(64) })),
            (8, _) => Json::NULL,
            (30, _) => json(&"fooled"),
            _ => json(&serde_json::json!({
                "session": "00112233445566aa", "features": ["message_id"], "max_frame": 1 << 20, "max_in_flight": 256,
            })),
        };
        if line.write_all(&framed(&answer(&request, Status::OKAY, data))).await.is_err() {
            return;
        }
    }
}

fn acceptor(made: &Made) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(made.chain.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("they belong together")))
}

fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn end_of_tls(line: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<Box<dyn Line>> {
    match acceptor {
        None => Some(Box::new(line)),
        Some(acceptor) => Some(Box::new(acceptor.accept(line).await.ok()?)),
    }
}

async fn begin_of_tls(to: &str, connector: Option<TlsConnector>) -> Option<Box<dyn Line>> {
    let line = TcpStream::connect(to).await.ok()?;
    match connector {
        None => Some(Box::new(line)),
        Some(connector) => {
            let name = ServerName::try_from("localhost").expect("a name");
            Some(Box::new(connector.connect(name, line).await.ok()?))
        }
    }
}
