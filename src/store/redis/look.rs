//! A look at one server, for `check --connect`: could it be the master?

use std::time::Duration;

use redis::{AsyncConnectionConfig, Value};
use tokio::time::timeout;

use super::answers::{exactly, time};
use super::fault::Fault;
use super::fitness::{self, Missing};
use super::keys::Keys;
use super::lane::Lane;
use crate::session::StoreTime;
use crate::store::AddressError;
use crate::store::address::Node;

/// For a replica to be reached, and for each answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Further apart two servers' clocks should not be.
const SKEW: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Debug, Default)]
pub struct Survey {
    /// What there is.
    pub seen: String,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Why it must not be used so.
    pub refused: Option<String>,
}

/// What would be wrong with a replica as the master.
pub(super) async fn look(
    client: Result<redis::Client, AddressError>,
    keys: &Keys,
    node: &Node,
    master: &Lane,
) -> Result<Vec<String>, Fault> {
    let client = client.map_err(|error| Fault::Unfit(error.to_string()))?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let connection = timeout(PATIENCE * 2, connecting).await.map_err(|_| Fault::Timeout)?;
    let lane = Lane::over(connection.map_err(|error| Fault::while_connecting(&error))?);
    let mut warnings: Vec<String> =
        fitness::examine(&lane).await?.warnings.into_iter().map(|warning| format!("{node}: {warning}")).collect();
    let mut missing = fitness::missing_rights(&lane, keys.probe()).await?.for_sessions;
    let mut asked = redis::pipe();
    asked.cmd("ROLE").cmd("WAIT").arg(0).arg(1);
    for (answer, right) in lane.ask_each(&mut asked).await?.into_iter().zip(["role", "wait"]) {
        // A replica refuses to wait, but not for want of the right.
        if matches!(&answer, Value::ServerError(error) if error.code() == "NOPERM") {
            missing.push(right.to_owned());
        }
    }
    if !missing.is_empty() {
        warnings.push(format!("on {node} {}", Missing::text(&missing, keys)));
    }
    warnings.extend(skew(node, &lane, master).await?);
    Ok(warnings)
}

/// By how much the clock of one differs from another's, where that is too much.
pub(super) async fn skew(node: &Node, lane: &Lane, master: &Lane) -> Result<Option<String>, Fault> {
    // The master is asked before and after it: its clock has moved on no further than from one to the other.
    let (before, there, after) = (clock(master).await?, clock(lane).await?, clock(master).await?);
    let skew = before.since(there).max(there.since(after));
    if skew <= SKEW {
        return Ok(None);
    }
    let side = if there < before { "behind" } else { "before" };
    Ok(Some(format!(
        "the clock of {node} is {skew:?} {side} the master's: time-outs would be as much off after a failover; \
         synchronise both"
    )))
}

async fn clock(lane: &Lane) -> Result<StoreTime, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    let [now] = exactly(lane.ask(&pipeline).await?)?;
    time(now)
}
