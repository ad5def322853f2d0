//! Runs everything, round by round.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench_common::Outcome;

use crate::plan::{Case, plan};
use crate::process::{Server, load};
use crate::report::{Group, Placement, Report, Run};
use crate::{Settings, host};

/// Runs everything. Peers of a group run one after the other in each round, so that what changes on the machine
/// meanwhile changes for all of them.
pub fn measure(settings: &Settings) -> Result<Report> {
    host::raise_descriptor_limit();
    if let Some(nice) = settings.nice {
        host::set_priority(nice)?;
    }
    let plan = plan(settings);
    ensure!(!plan.is_empty(), "nothing has such a name; `list` shows what there is");
    let mut report = Report {
        date: host::date(),
        commit: host::commit(),
        machine: host::Machine::this(),
        rounds: settings.rounds(),
        warmup: settings.warmup,
        seconds: settings.seconds(),
        others_allowed: settings.others,
        groups: plan.iter().map(|(group, _)| group.clone()).collect(),
        runs: Vec::new(),
    };
    let begin = Instant::now();
    for round in 1..=settings.rounds() {
        for (group, cases) in &plan {
            eprintln!("{:4} s  round {round}: {}", begin.elapsed().as_secs(), group.title);
            for case in cases.iter().filter(|case| round <= case.rounds) {
                let failed =
                    |run: &Run| run.group == group.name && run.peer == case.peer && run.error.is_some();
                if report.runs.iter().any(failed) {
                    // It is said once, and would only fail again.
                    continue;
                }
                let run = run(settings, group, case, round);
                if let Some(error) = &run.error {
                    eprintln!("        {} is left out: {error}", case.peer);
                }
                report.runs.push(run);
            }
        }
    }
    Ok(report)
}

/// Runs one case; again where others disturb it.
fn run(settings: &Settings, group: &Group, case: &Case, round: usize) -> Run {
    let mut run = Run {
        group: group.name.clone(),
        peer: case.peer.clone(),
        round,
        placement: case.placement,
        server: case.server.describe(),
        client: case.client.describe(),
        tries: 0,
        others: 0.0,
        disturbed: false,
        outcome: None,
        error: None,
    };
    loop {
        run.tries += 1;
        match once(settings, group, case) {
            Ok((outcome, others)) => {
                run.outcome = Some(outcome);
                run.others = others;
                run.disturbed = others > settings.others;
            }
            Err(error) => run.error = Some(format!("{error:#}")),
        }
        if !run.disturbed || run.error.is_some() || run.tries > settings.retries {
            return run;
        }
    }
}

fn once(settings: &Settings, group: &Group, case: &Case) -> Result<(Outcome, f64)> {
    let (server_core, client_core) = match case.placement {
        Placement::SameCore => (Some(0), Some(0)),
        Placement::TwoCores => (Some(0), Some(1)),
        Placement::Free => (None, None),
    };
    let mut server = Server::start(&case.server.serve(), server_core)?;
    let pids: Vec<_> = server.pids.iter().map(ToString::to_string).collect();
    let mut command = case.client.load(&server.address);
    command.extend([
        "--shape".to_owned(),
        group.shape.clone(),
        "--connections".to_owned(),
        group.connections.to_string(),
        "--outstanding".to_owned(),
        group.outstanding.to_string(),
        "--server-pid".to_owned(),
        pids.join(","),
        "--warmup".to_owned(),
        settings.warmup.to_string(),
        "--seconds".to_owned(),
        settings.seconds().to_string(),
    ]);
    // The load counts once it has ended; the server ends after the second look.
    let ours = || {
        Ok::<_, anyhow::Error>(
            pids.iter().map(|pid| host::used(pid)).sum::<Result<f64>>()? + host::used("self")?,
        )
    };
    let (begin, busy, used) = (Instant::now(), host::busy()?, ours()?);
    let window = Duration::from_secs_f64(settings.warmup + settings.seconds());
    let outcome = load(&command, client_core, window, &mut server)?;
    let (busy, used) = (host::busy()? - busy, ours()? - used);
    let others = (busy - used).max(0.0) / begin.elapsed().as_secs_f64();
    server.stop();
    Ok((outcome, others))
}
