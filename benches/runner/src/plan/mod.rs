//! What is compared with what.

mod end;
mod peers;

use crate::Settings;
use crate::plan::end::{End, Program};
use crate::plan::peers::Peer;
use crate::report::{Group, Placement};

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Case {
    pub peer: String,
    pub server: End,
    pub client: End,
    pub placement: Placement,
    /// It takes part in the first so many rounds.
    pub rounds: usize,
}

/// The yardstick.
pub const B: &str = "B";
/// Connections of the growth tables.
const GROWTH: [usize; 4] = [1, 64, 1_000, 5_000];
/// Ids that a server of ours has.
const IDS: [u32; 3] = [1, 100, 10_000];

/// Memory varies less than time does.
const ROUNDS_OF_IDLE: usize = 2;

/// All groups with their cases, as the settings want them.
pub fn plan(settings: &Settings) -> Vec<(Group, Vec<Case>)> {
    let mut plan = speed();
    plan.extend(halves());
    plan.extend(idle());
    plan.extend(growth());
    if settings.quick {
        plan.retain_mut(|(group, cases)| {
            cases.retain(|case| case.peer == group.base || peers::is_quick(&case.peer));
            is_quick(&group.name) && cases.len() > 1
        });
    }
    plan.retain_mut(|(group, cases)| {
        let is_wanted = |case: &Case| {
            let name = format!("{}/{}", group.name, case.peer).to_lowercase();
            settings.only.is_empty() || settings.only.iter().any(|only| name.contains(&only.to_lowercase()))
        };
        let is_any = cases.iter().any(is_wanted);
        cases.retain(|case| is_wanted(case) || case.peer == group.base);
        is_any
    });
    plan
}

fn is_quick(group: &str) -> bool {
    ["s1-same", "s2-same", "s3", "s4", "s5"].contains(&group) || group.starts_with("half-")
}

fn group(name: &str, title: &str, shape: &str, load: (usize, usize), placement: Placement) -> Group {
    let (connections, outstanding) = load;
    let place = match placement {
        Placement::SameCore => "both on one core",
        Placement::TwoCores => "a core each",
        Placement::Free => "not pinned",
    };
    Group {
        name: name.to_owned(),
        title: format!("{title}; {place}"),
        shape: shape.to_owned(),
        connections,
        outstanding,
        placement,
        base: B.to_owned(),
    }
}

/// Every peer, in every shape that it can do.
fn speed() -> Vec<(Group, Vec<Case>)> {
    use Placement::{SameCore, TwoCores};
    let small = "1 connection, 1 request outstanding";
    let pipelined = "1 connection, 64 requests outstanding";
    let groups = [
        group("s1-same", &format!("S1: {small}"), "s1", (1, 1), SameCore),
        group("s1-two", &format!("S1: {small}"), "s1", (1, 1), TwoCores),
        group("s2-same", &format!("S2: {pipelined}"), "s2", (1, 64), SameCore),
        group("s2-two", &format!("S2: {pipelined}"), "s2", (1, 64), TwoCores),
        group("s3", "S3: 64 connections, 16 requests outstanding on each", "s3", (64, 16), TwoCores),
        group("s4", "S4: texts of 1 MiB echoed, 1 outstanding", "s4", (1, 1), TwoCores),
        group("s4-8", "S4: texts of 1 MiB echoed, 8 outstanding", "s4", (1, 8), TwoCores),
        group("s6", "S6: 64 connections, bursts of 16 requests, pauses of 10 ms", "s6", (64, 16), TwoCores),
    ];
    let peers = peers::all();
    let cases = |group: &Group| peers.iter().filter_map(|peer| peer.case(group)).collect();
    groups.into_iter().map(|group| (group.clone(), cases(&group))).collect()
}

/// One side of ours with the other side of B', so that it shows which of them costs what.
fn halves() -> Vec<(Group, Vec<Case>)> {
    use Placement::{SameCore, TwoCores};
    let raw = End::new(Program::Raw, "b-id");
    let ours = End::new(Program::Ours, "length").on("actix");
    let own = End::new(Program::Ours, "length");
    let cases = |placement| {
        [
            ("B' with B'", &raw, &raw),
            ("socketproto's server on actix with B'", &ours, &raw),
            ("socketproto's server on its own thread with B'", &own, &raw),
            ("B' with socketproto's client on actix", &raw, &ours),
            ("B' with socketproto's client on tokio", &raw, &own),
        ]
        .map(|(peer, server, client)| Case {
            peer: peer.to_owned(),
            server: server.clone(),
            client: client.clone(),
            placement,
            rounds: usize::MAX,
        })
        .to_vec()
    };
    [
        group("half-s1", "One side at a time, S1", "s1", (1, 1), SameCore),
        group("half-s2", "One side at a time, S2", "s2", (1, 64), SameCore),
        group("half-s3", "One side at a time, S3", "s3", (64, 16), TwoCores),
    ]
    .map(|group| (Group { base: "B' with B'".to_owned(), ..group.clone() }, cases(group.placement)))
    .to_vec()
}

/// What idle connections cost.
fn idle() -> Vec<(Group, Vec<Case>)> {
    let group = group("s5", "S5: 1,000 idle connections", "s5", (1_000, 1), Placement::TwoCores);
    let peers = peers::all();
    let cases = peers.iter().filter_map(|peer| peer.case(&group));
    let cases = cases.map(|case| Case { rounds: ROUNDS_OF_IDLE, ..case }).collect();
    vec![(group, cases)]
}

/// What more connections and more ids change.
fn growth() -> Vec<(Group, Vec<Case>)> {
    let mut plan = Vec::new();
    for connections in GROWTH {
        let title = format!("Growth: connections with 1 request outstanding on each: {connections}");
        let group =
            group(&format!("growth-{connections}"), &title, "s3", (connections, 1), Placement::TwoCores);
        let cases = [Peer::raw(B, "b"), Peer::ours("socketproto on actix", "length", "actix")];
        let cases = cases.iter().map(|peer| peer.on(group.placement)).collect();
        plan.push((group, cases));
    }
    let title = "Growth: ids that socketproto's server has, with the client of B', S2";
    let ids = Group { base: label(IDS[0]), ..group("ids", title, "s2", (1, 64), Placement::SameCore) };
    let cases = IDS.map(|count| Case {
        peer: label(count),
        server: End::new(Program::Ours, "length").on("actix").with("--ids", count),
        client: End::new(Program::Raw, "b-id"),
        placement: ids.placement,
        rounds: usize::MAX,
    });
    plan.push((ids, cases.to_vec()));
    plan
}

fn label(ids: u32) -> String {
    if ids == 1 { "1 id".to_owned() } else { format!("{ids} ids") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Command;

    fn planned(flags: &[&str]) -> Vec<(Group, Vec<Case>)> {
        let Command::List(settings) = Command::parse_from(["runner", "list"].iter().chain(flags)) else {
            panic!("list was said");
        };
        plan(&settings)
    }

    #[test]
    fn each_group_has_its_base_once_and_each_peer_once() {
        for flags in [&[][..], &["--quick"], &["--only", "tarpc"]] {
            for (group, cases) in planned(flags) {
                let count = |peer: &str| cases.iter().filter(|case| case.peer == peer).count();
                assert_eq!(count(&group.base), 1, "{}", group.name);
                assert!(cases.iter().all(|case| count(&case.peer) == 1), "{}", group.name);
            }
        }
    }

    #[test]
    fn only_brings_along_what_it_is_compared_to() {
        let names: Vec<_> =
            planned(&["--only", "s3/tarpc", "--only", "half-s2/socketproto's server on actix"])
                .into_iter()
                .flat_map(|(group, cases)| {
                    cases.into_iter().map(move |case| format!("{}/{}", group.name, case.peer))
                })
                .collect();
        let expected = [
            "s3/B",
            "s3/tarpc",
            "s3/tarpc, 2 threads",
            "half-s2/B' with B'",
            "half-s2/socketproto's server on actix with B'",
        ];
        assert_eq!(names, expected);
        assert!(planned(&["--only", "nothing like it"]).is_empty());
    }
}
