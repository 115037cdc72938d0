//! What a run came to.

use std::time::Duration;

use crate::calls::Fleet;
use crate::model::{At, Known, Model, Outcome, Served};
use crate::oracle;

/// The last lines of a gateway's log that are shown.
const LINES: usize = 3000;

/// What a gateway may take, after an election, until it serves whose sessions are there. Which took longer is said.
const SOON: Duration = Duration::from_secs(1);

/// Prints it; whether all was as it must be.
pub fn print(model: &Model, fleet: &Fleet, seed: u64) -> bool {
    let known = &mut *model.known();
    // All that is left, too.
    oracle::judge(known, At::MAX);
    let known = &*known;
    for session in &known.suspects {
        println!("\nin the audit logs, of session {session}:");
        let id = &known.sessions[*session].id;
        for (number, gateway) in fleet.gateways.iter().enumerate() {
            let lines = std::fs::read_to_string(gateway.path("audit.jsonl")).unwrap_or_default();
            lines.lines().filter(|line| line.contains(id)).for_each(|line| println!("    gateway {number}: {line}"));
        }
    }
    if !known.suspects.is_empty() || !known.unserved.is_empty() || !served_after(known).2.is_empty() {
        for (number, gateway) in fleet.gateways.iter().enumerate() {
            println!("\nthe log of gateway {number}:");
            let log = gateway.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("request_id")).collect();
            lines[lines.len().saturating_sub(LINES)..].iter().for_each(|line| println!("    {line}"));
        }
    }
    println!("\n| what broke | times |\n|---|---|");
    for (fault, times) in &known.counts.faults {
        println!("| {fault} | {times} |");
    }
    println!("\n| call | answer | times |\n|---|---|---|");
    for ((call, status), times) in &known.counts.calls {
        let answer = if *status == 0 { String::from("none") } else { status.to_string() };
        println!("| {call} | {answer} | {times} |");
    }
    let (mut replicated, mut not, mut unknown) = (0, 0, 0);
    for end in &known.ends {
        match end.outcome {
            Outcome::Done { replicated: true } => replicated += 1,
            Outcome::Done { replicated: false } => not += 1,
            Outcome::Unknown => unknown += 1,
        }
    }
    println!("\nfailovers: {}", known.promotions.len());
    println!(
        "ends: {replicated} that all replicas had, {not} that not all had or that do not say, {unknown} without an answer"
    );
    println!("latest request accepted after an end that all replicas had: {:?}", known.counts.latest_yes);
    println!("accepted after an end that a failover lost, before its gateway was back: {}", known.counts.excused);
    println!("ended, although made since, by an end that a failover had lost: {}", known.counts.ended_again);
    let (first, each, late) = served_after(known);
    print_times("from another master's election to the first answer at any gateway", first);
    print_times("and at each gateway that was there", each);
    late.iter().for_each(|late| println!("    {late}"));
    if known.places.are_several() {
        let (cut_off, lost) = (known.counts.cut_off, known.counts.lost_on_their_way);
        let (unserved, starved) = (known.unserved.len(), known.counts.starved);
        println!(
            "503 to who needed what was away: {cut_off}; to others: {unserved}; while this machine was slow: {starved}"
        );
        known.unserved.iter().for_each(|unserved| println!("    {unserved}"));
        println!("accepted after an end that was lost on its way to a master that failed: {lost}");
    }
    println!("sessions: {} made, {} lost with a master, which no replica had", known.sessions.len(), known.lost.len());
    for lost in &known.lost {
        println!("    {lost}");
    }
    println!("violations: {} (seed {seed})", known.violations.len());
    for violation in &known.violations {
        println!("{violation}");
    }
    known.violations.is_empty() && known.unserved.is_empty()
}

/// After each failover, until the store answered any gateway from there, and each that was there; and which were late.
fn served_after(known: &Known) -> (Vec<Duration>, Vec<Duration>, Vec<String>) {
    let (mut first, mut each, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for promotion in &known.promotions {
        let at = promotion.at;
        let after = |served: &&Served| served.began > at && served.parts.has(promotion.part);
        let soonest = |served: &[Served]| served.iter().filter(after).map(|served| served.answered - at).min();
        let times: Vec<Option<Duration>> = known.served.iter().map(|served| soonest(served)).collect();
        first.extend(times.iter().flatten().min());
        let there = |gateway: &usize| [at, at + SOON].iter().all(|at| !known.is_cut_off(*gateway, *at));
        for (gateway, time) in (0..times.len()).filter(there).filter_map(|gateway| Some((gateway, times[gateway]?))) {
            each.push(time);
            if time > SOON {
                let (at, server) = (at.as_secs_f64(), promotion.server);
                late.push(format!("gateway {gateway} {time:?} after server {server} became the master at {at:.3}"));
            }
        }
    }
    (first, each, late)
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    if let Some(last) = times.last() {
        println!("{what}: median {:?}, latest {last:?}, of {}", times[times.len() / 2], times.len());
    }
}
