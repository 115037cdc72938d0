//! What was found is acted on, kept, then told: that once, however often it is found again within a while.

use super::Watch;
use crate::monitor::Finding;
use crate::session::Principal;
use crate::store::monitor::Kept;
use crate::told::{Origin, Told};

/// What findings about a user are known by, whatever session they were found in.
pub(super) fn of_user(principal: &Principal) -> String {
    // No tenant has a comma in its name.
    format!("{},{}", principal.tenant.kept(), principal.user.kept())
}

impl Watch {
    /// Something was found, in a request of this origin. Never waits.
    pub(super) fn found(&self, finding: Finding, origin: Origin) {
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
        let taken = self.act(&finding, origin).await;
        let began = services.clock.monotonic();
        let kept = services.findings.keep(&finding.record(taken.clone()), &finding.dedupe()).await;
        services.metrics.monitor_took(services.clock.monotonic().since(began));
        let id = match kept {
            Ok(Kept::Again(_)) => return,
            Ok(Kept::New(id)) => Some(id.to_string()),
            Err(error) => {
                tracing::debug!(%error, "a finding is told and not kept");
                services.metrics.monitor_dropped();
                None
            }
        };
        services.teller.tell(origin, &Told::Found { finding: Box::new(finding), id, taken });
    }
}
