//! A look at a master and at those that may follow it, for `check --connect`: what a failover would find.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Value};
use tokio::time::timeout;

use super::answers::{exactly, time};
use super::connection::Link;
use super::fault::Fault;
use super::fence::Fence;
use super::fitness::{self, Missing};
use super::lane::{Lane, Lanes};
use super::store::RedisStore;
use crate::session::StoreTime;
use crate::store::address::Node;

/// For a replica to be reached, and for each answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Further apart two servers' clocks should not be.
const SKEW: Duration = Duration::from_millis(50);
/// Fewer Sentinels than that elect nobody once one is gone.
const SENTINELS: usize = 3;

/// What was seen.
#[derive(Debug, Default)]
pub struct Survey {
    /// What there is.
    pub seen: String,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl RedisStore {
    /// Looks at the servers. `None` where there is one alone, or none that serves.
    pub async fn survey(&self) -> Option<Survey> {
        let (fence, lanes) = (self.link.fence()?, self.link.lanes()?);
        let named = fence.discovery.named()?;
        let mut survey = Survey::default();
        let replicas = fence.heirs();
        let count =
            if replicas.len() == 1 { String::from("1 replica") } else { format!("{} replicas", replicas.len()) };
        let noticed = Duration::from_millis(named.down_after);
        survey.seen = format!(
            "the master is {} by {} of {} Sentinels; {count} may follow it, once it has been silent for {noticed:?}",
            named.master, named.votes, named.voters
        );
        if named.voters < SENTINELS {
            let few = format!("there are {} Sentinels: with fewer than three none may fail", named.voters);
            survey.warnings.push(few);
        }
        for (node, why) in fence.discovery.silent() {
            survey.warnings.push(format!("the Sentinel {node} does not answer: {why}"));
        }
        if replicas.is_empty() {
            survey.warnings.push(String::from("no replica is known: there is nothing to fail over to"));
        } else if !fence.has_all().await {
            survey.warnings.push(format!(
                "not all of {count} answer the master: each request asks it then, and what is ended may be lost with it"
            ));
        }
        for node in replicas {
            match look(&self.link, fence, &node, &lanes).await {
                Ok(warnings) => survey.warnings.extend(warnings),
                Err(fault) => survey.warnings.push(format!("the replica {node} could not be used: {fault}")),
            }
        }
        Some(survey)
    }
}

/// What would be wrong with a replica as the master.
async fn look(link: &Link, fence: &Fence, node: &Node, master: &Lanes) -> Result<Vec<String>, Fault> {
    let client = fence.discovery.sentinels().server(node).map_err(|error| Fault::Unfit(error.to_string()))?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let connection = timeout(PATIENCE * 2, connecting).await.map_err(|_| Fault::Timeout)?;
    let lane = Lane::over(connection.map_err(|error| Fault::while_connecting(&error))?);
    let mut warnings: Vec<String> =
        fitness::examine(&lane).await?.warnings.into_iter().map(|warning| format!("{node}: {warning}")).collect();
    let mut missing = fitness::missing_rights(&lane, link.keys().probe()).await?.for_sessions;
    let mut asked = redis::pipe();
    asked.cmd("ROLE").cmd("WAIT").arg(0).arg(1);
    for (answer, right) in lane.ask_each(&mut asked).await?.into_iter().zip(["role", "wait"]) {
        // A replica refuses to wait, but not for want of the right.
        if matches!(&answer, Value::ServerError(error) if error.code() == "NOPERM") {
            missing.push(right.to_owned());
        }
    }
    if !missing.is_empty() {
        warnings.push(format!("on {node} {}", Missing::text(&missing, link.keys())));
    }
    // The master is asked before and after it: its clock has moved on no further than from one to the other.
    let (before, there, after) = (clock(&master.quick).await?, clock(&lane).await?, clock(&master.quick).await?);
    let skew = before.since(there).max(there.since(after));
    if skew > SKEW {
        let side = if there < before { "behind" } else { "before" };
        warnings.push(format!(
            "the clock of {node} is {skew:?} {side} the master's: time-outs would be as much off after a failover; \
             synchronise both"
        ));
    }
    Ok(warnings)
}

async fn clock(lane: &Lane) -> Result<StoreTime, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    let [now] = exactly(lane.ask(&pipeline).await?)?;
    time(now)
}
