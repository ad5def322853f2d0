//! Who is compared.

use crate::plan::end::{End, Program};
use crate::plan::{B, Case};
use crate::report::{Group, Placement};

/// A server and a client that belong together.
#[derive(Clone, Debug)]
pub struct Peer {
    name: String,
    server: End,
    client: End,
    /// The groups it takes part in
    groups: &'static [&'static str],
    /// It has more threads than could be pinned to a core each
    is_free: bool,
}

const ALL: &[&str] = &["s1-same", "s1-two", "s2-same", "s2-two", "s3", "s4", "s4-8", "s5", "s6"];
/// What others than the raw loops and ours are asked: the rest would cost time, and say little more.
const FOREIGN: &[&str] = &["s1-same", "s1-two", "s2-same", "s3", "s4", "s5", "s6"];
/// Where another way to connect shows what it costs.
const LINES: &[&str] = &["s1-same", "s2-same", "s3", "s4", "s5"];
const RAW_LINES: &[&str] = &["s1-same", "s2-same", "s3", "s4"];
/// More threads show where there is more than one connection.
const THREADS: &[&str] = &["s3"];
const LARGE: &[&str] = &["s4", "s4-8"];
/// A loop without ids would have nothing to weigh that B has not; blocking threads have no memory that compares.
const TIMED: &[&str] = &["s1-same", "s1-two", "s2-same", "s2-two", "s3", "s4", "s6"];
/// All peers, in the order of the tables.
pub fn all() -> Vec<Peer> {
    use Program::{Jsonrpsee, Nats, Ours, Python, Raw, Tarpc, Tonic, Zmq};
    let foreign = |name: &str, program| Peer::new(name, End::new(program, "default")).within(FOREIGN);
    let python = |name: &str, variant| Peer::new(name, End::new(Python, variant)).within(FOREIGN);
    vec![
        Peer::raw("A, frames not looked at", "a").within(TIMED),
        Peer::raw(B, "b"),
        Peer::raw("B', message ids", "b-id").within(TIMED),
        Peer::raw("B, blocking threads", "threads").within(TIMED),
        Peer::raw("B, STP", "b-stp").within(RAW_LINES),
        Peer::raw("B, Unix socket", "b-unix").within(RAW_LINES),
        Peer::raw("B, TLS", "b-tls").within(LINES),
        Peer::ours("socketproto on actix", "length", "actix"),
        Peer::ours("socketproto on tokio", "length", "current"),
        Peer::ours("socketproto on actix, JSON passed", "length-json", "actix").within(LARGE),
        Peer::ours("socketproto on actix, STP", "stp", "actix").within(LINES),
        Peer::ours("socketproto on actix, Unix socket", "unix", "actix").within(LINES),
        Peer::ours("socketproto on actix, TLS", "tls", "actix").within(LINES),
        Peer::ours("socketproto on actix, secure", "secure", "actix").within(LINES),
        foreign("tarpc", Tarpc),
        foreign("jsonrpsee", Jsonrpsee),
        foreign("tonic", Tonic),
        foreign("NATS", Nats),
        foreign("ZeroMQ", Zmq),
        python("Python, streams", "streams"),
        python("Python, protocol", "protocol"),
        python("Python, uvloop", "uvloop"),
        Peer::new("B, 2 threads", End::new(Raw, "b").on("multi")).free(),
        Peer::new("socketproto, client on 2 threads of tokio", End::new(Ours, "length").on("multi")).free(),
        Peer::ours_spread("socketproto, 1 worker", 1),
        Peer::ours_spread("socketproto, 2 workers", 2),
        Peer::new("tarpc, 2 threads", End::new(Tarpc, "default").on("multi")).free(),
        Peer::new("jsonrpsee, 2 threads", End::new(Jsonrpsee, "default").on("multi")).free(),
        Peer::new("tonic, 2 threads", End::new(Tonic, "default").on("multi")).free(),
    ]
}

/// Whether a peer takes part where time is short.
pub fn is_quick(peer: &str) -> bool {
    ["socketproto on actix", "socketproto on tokio", "tarpc"].contains(&peer) || peer.contains("B'")
}

impl Peer {
    fn new(name: &str, end: End) -> Self {
        Self { name: name.to_owned(), server: end.clone(), client: end, groups: ALL, is_free: false }
    }

    pub fn raw(name: &str, variant: &str) -> Self {
        Self::new(name, End::new(Program::Raw, variant))
    }

    pub fn ours(name: &str, variant: &str, runtime: &str) -> Self {
        Self::new(name, End::new(Program::Ours, variant).on(runtime))
    }

    /// Ours with connections on so many threads; the client is that of B', which is no bottleneck.
    fn ours_spread(name: &str, workers: usize) -> Self {
        let server = End::new(Program::Ours, "length").with("--workers", workers);
        let client = End::new(Program::Raw, "b-id");
        Self { server, client, ..Self::new(name, End::new(Program::Ours, "length")) }.free()
    }

    fn within(mut self, groups: &'static [&'static str]) -> Self {
        self.groups = groups;
        self
    }

    fn free(mut self) -> Self {
        self.is_free = true;
        self.groups = THREADS;
        self
    }

    /// Its line in a group, where it has one.
    pub fn case(&self, group: &Group) -> Option<Case> {
        let placement = if self.is_free { Placement::Free } else { group.placement };
        self.groups.contains(&group.name.as_str()).then(|| self.on(placement))
    }

    pub fn on(&self, placement: Placement) -> Case {
        let rounds = usize::MAX;
        let (peer, server, client) = (self.name.clone(), self.server.clone(), self.client.clone());
        Case { peer, server, client, placement, rounds }
    }
}
