//! What is done about a finding, each time that it is found: it is told once in a while, but whoever comes again is met again.

use super::Watch;
use crate::monitor::{Action, Finding, MonitorMode, Taken};
use crate::session::{By, EndReason, Words};
use crate::sessions::Holding;
use crate::store::StoreResult;
use crate::told::Origin;

impl Watch {
    /// Does what is to be done, or sees what would have been. Answers it, action by action. Operators are told of what is only
    /// observed, too, where anybody is (`is_told`).
    pub(super) async fn act(&self, finding: &Finding, is_told: bool, origin: &Origin) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(finding.actions.len());
        for action in finding.actions.iter().copied() {
            let done = match (action, finding.mode) {
                (Action::Alert, _) => is_told,
                (_, MonitorMode::Enforce) => self.carry_out(action, finding, origin).await,
                (_, MonitorMode::Observe) => action == Action::Record,
            };
            if done || finding.mode == MonitorMode::Observe {
                self.0.services.metrics.monitor_action(action.as_str(), finding.mode.as_str());
            }
            taken.push(Taken::of(action, done));
        }
        taken
    }

    /// Answers whether it was done.
    async fn carry_out(&self, action: Action, finding: &Finding, origin: &Origin) -> bool {
        let done = match action {
            Action::Reauth => self.hold(finding, origin).await,
            Action::Terminate => self.terminate(finding, origin).await,
            // Logins are refused where they are counted; what is found is kept, and told, in any case.
            Action::Record | Action::Lock | Action::Alert | Action::Notify | Action::Throttle => Ok(true),
        };
        done.unwrap_or_else(|error| {
            tracing::warn!(%error, action = action.as_str(), finding = finding.kind.as_str(), "nothing could be done about a finding");
            false
        })
    }

    /// Holds the session that it is about. What time or somebody has ended meanwhile need not be; an access token cannot be.
    async fn hold(&self, finding: &Finding, origin: &Origin) -> StoreResult<bool> {
        let Some((id, _)) = &finding.session else { return Ok(false) };
        let why = Words::parse(finding.kind.as_str()).unwrap_or_default();
        let holding = self.0.services.sessions.hold(&origin.but_by(By::Gateway), *id, why).await?;
        Ok(holding != Holding::NoSession)
    }

    /// Ends the session that it is about, or denies the access token.
    async fn terminate(&self, finding: &Finding, origin: &Origin) -> StoreResult<bool> {
        let Some((id, principal)) = &finding.session else { return Ok(false) };
        let (sessions, origin) = (&self.0.services.sessions, origin.but_by(By::Gateway));
        let ending = sessions.end_whatever(&origin, *id, Some(principal), EndReason::SecurityAnomaly).await?;
        Ok(ending.ended)
    }
}
