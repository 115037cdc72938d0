//! A look at a cluster, for `check --connect`: what a failover in it would find.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::fault::{Fault, text};
use super::keys::Keys;
use super::lane::Lane;
use super::look::{Survey, look, skew};
use super::masters::{Master, Masters, PROVEN_WITHIN};
use super::slot::SLOTS;

/// Fewer masters than that elect nobody once one is gone.
const FEW: usize = 3;
/// What is asked of a master's settings.
const SETTINGS: [&str; 3] = ["cluster-node-timeout", "cluster-require-full-coverage", "cluster-allow-reads-when-down"];
/// So long before half of its time-out is over a master that is cut off takes the last write, at the least.
const MARGIN: Duration = Duration::from_millis(500);

/// Looks at all nodes. `None` where no layout is known.
pub(super) async fn survey(masters: &Masters, keys: &Keys) -> Option<Survey> {
    let layout = masters.chart().layout()?;
    let open = masters.all();
    let count: usize = layout.shards.values().map(|shard| shard.heirs.len()).sum();
    let mut survey = Survey {
        seen: format!(
            "a cluster of {} masters and {count} replicas, by {} of {} masters; {} of {SLOTS} slots are served",
            layout.shards.len(),
            layout.votes,
            layout.voters,
            usize::from(SLOTS) - masters.uncovered()
        ),
        ..Survey::default()
    };
    if layout.shards.len() < FEW {
        survey.warnings.push(format!("with {} masters nobody follows one that is gone", layout.shards.len()));
    }
    for (node, why) in masters.chart().silent() {
        survey.warnings.push(format!("the node {node} does not answer: {why}"));
    }
    let mut window = Duration::ZERO;
    for shard in layout.shards.values() {
        let Some(master) = open.iter().find(|master| master.node == shard.node) else { continue };
        if shard.heirs.is_empty() {
            survey.warnings.push(format!("{} has no replica: nobody follows it", shard.node));
        } else if !master.fence.has_all().await {
            survey
                .warnings
                .push(format!("not all replicas of {} answer it: what is ended may be lost with it", shard.node));
        }
        match settings(master).await {
            Ok(found) => window = window.max(judge(master, &found, &mut survey)),
            Err(fault) => survey.warnings.push(format!("the settings of {} are unknown: {fault}", shard.node)),
        }
        let others = shard.heirs.values().flatten().map(|node| (node, masters.chart().nodes().server(node)));
        for (node, client) in others {
            match look(client, keys, node, &master.lanes.quick).await {
                Ok(warnings) => survey.warnings.extend(warnings),
                Err(fault) => survey.warnings.push(format!("the replica {node} could not be used: {fault}")),
            }
        }
        survey.warnings.extend(beside(master, open.first()).await);
    }
    if !window.is_zero() {
        survey.seen += &format!(
            ". A master that is cut off takes writes for up to {window:?} after another may have its slots; no gateway \
             believes it for more than {PROVEN_WITHIN:?}"
        );
    }
    Some(survey)
}

/// How its clock stands beside that of the first.
async fn beside(master: &Master, first: Option<&Arc<Master>>) -> Option<String> {
    let first = first?;
    skew(&master.node, &master.lanes.quick, &first.lanes.quick).await.ok().flatten()
}

/// What it is set to; nothing where it may not be asked.
async fn settings(master: &Master) -> Result<BTreeMap<String, String>, Fault> {
    let mut asked = redis::pipe();
    asked.cmd("CONFIG").arg("GET").arg(&SETTINGS);
    let answers = match &master.lanes.bulk {
        Lane::One(line) => line.ask(asked.ignore_errors()).await?,
        Lane::All(_) => Vec::new(),
    };
    let mut found = BTreeMap::new();
    let pairs: Vec<(Value, Value)> = match answers.into_iter().next() {
        Some(Value::Map(pairs)) => pairs,
        Some(Value::ServerError(error)) => return Err(Fault::from(&error)),
        _ => return Err(Fault::garbled("settings are no list")),
    };
    for (name, value) in pairs {
        let word = |value| Ok::<_, Fault>(String::from_utf8_lossy(&text(value)?.unwrap_or_default()).into_owned());
        found.insert(word(name)?, word(value)?);
    }
    Ok(found)
}

/// What is wrong with it; and for how long one that is cut off takes writes after another may have its slots.
fn judge(master: &Master, found: &BTreeMap<String, String>, survey: &mut Survey) -> Duration {
    let [timeout, full, reads] = SETTINGS.map(|name| found.get(name).map(String::as_str).unwrap_or_default());
    if reads == "yes" {
        survey.refused = Some(format!(
            "{} has cluster-allow-reads-when-down yes: it would show what others have ended; set it to no",
            master.node
        ));
    }
    if full == "yes" {
        survey.warnings.push(format!(
            "{} has cluster-require-full-coverage yes: while any slot has no master, nobody is served; set it to no",
            master.node
        ));
    }
    let timeout = timeout.parse().map_or(Duration::ZERO, Duration::from_millis);
    (timeout / 2).saturating_sub(MARGIN)
}
