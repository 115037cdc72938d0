//! What was found is acted on, kept, then told: that once, however often it is found again within a while.

use std::time::Duration;

use super::Watch;
use crate::alerts::Plan;
use crate::monitor::{Finding, FindingRecord, Risk};
use crate::session::Principal;
use crate::store::monitor::{Kept, ToKeep};
use crate::told::{Origin, Told};

/// Between attempts to keep a finding that somebody is to be told of: what the store does not have, nobody is.
const KEPT_AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// What findings about a user are known by, whatever session they were found in.
pub(super) fn of_user(principal: &Principal) -> String {
    // No tenant has a comma in its name.
    format!("{},{}", principal.tenant.kept(), principal.user.kept())
}

impl Watch {
    /// Something was found, in a request of this origin: it is kept, audited, counted, and told whom its actions say. Never
    /// waits.
    pub fn found(&self, finding: Finding, origin: Origin) {
        let services = &self.0.services;
        let Ok(place) = self.0.under_way.clone().try_acquire_owned() else {
            services.metrics.monitor_dropped();
            return;
        };
        let watch = self.clone();
        services.tasks.spawn(async move {
            let _place = place;
            watch.keep_and_tell(finding, &origin).await;
        });
    }

    pub(super) async fn keep_and_tell(&self, finding: Finding, origin: &Origin) {
        let services = &self.0.services;
        let plan = services.alerts.plan(&finding).await;
        let taken = self.act(&finding, &plan, origin).await;
        let record = finding.record(taken.clone());
        let risk = self.risk_by(&finding).await;
        let kept = self.keep(&record, &finding.dedupe(), risk, &plan).await;
        if risk.is_some() {
            self.risks_changed();
        }
        let Some(id) = kept else { return };
        services.teller.tell(origin, &Told::Found { finding: Box::new(finding), id, taken });
    }

    /// Keeps it. `None`: the same was kept before. A finding without a name is told and not kept.
    async fn keep(
        &self,
        record: &FindingRecord,
        dedupe: &str,
        risk: Option<Risk>,
        plan: &Plan,
    ) -> Option<Option<String>> {
        let services = &self.0.services;
        let (repeat, postings) = (services.alerts.repeat(), &plan.postings[..]);
        let mut pauses = KEPT_AGAIN.into_iter().filter(|_| !postings.is_empty());
        let mut has_failed = false;
        loop {
            let began = services.clock.monotonic();
            let kept = services.findings.keep(ToKeep { record, dedupe, repeat, risk, postings, has_failed }).await;
            services.metrics.monitor_took(services.clock.monotonic().since(began));
            match kept {
                Ok(Kept::New { id, fates }) => {
                    services.alerts.kept(postings, &fates);
                    return Some(Some(id.to_string()));
                }
                // What failed may have been done.
                Ok(Kept::Again(id)) => return has_failed.then(|| Some(id.to_string())),
                Err(error) => {
                    has_failed = true;
                    let Some(pause) = pauses.next() else {
                        tracing::debug!(%error, "a finding is told and not kept");
                        services.metrics.monitor_dropped();
                        return Some(None);
                    };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}
