//! A look at the servers, for `check --connect`: a master and those that may follow it, or a cluster.

use std::time::Duration;

use super::cluster_survey;
use super::look::{Survey, look};
use super::store::RedisStore;

/// Fewer Sentinels than that elect nobody once one is gone.
const SENTINELS: usize = 3;

impl RedisStore {
    /// Looks at the servers. `None` where there is one alone, or none that serves.
    pub async fn survey(&self) -> Option<Survey> {
        if let Some(masters) = self.link.masters() {
            return cluster_survey::survey(masters, self.keys()).await;
        }
        let (fence, lanes) = (self.link.fence()?, self.link.lanes()?);
        let named = fence.electors.named()?;
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
        for (node, why) in fence.electors.silent() {
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
            let client = fence.electors.sentinels().server(&node);
            match look(client, self.keys(), &node, &lanes.quick).await {
                Ok(warnings) => survey.warnings.extend(warnings),
                Err(fault) => survey.warnings.push(format!("the replica {node} could not be used: {fault}")),
            }
        }
        Some(survey)
    }
}
