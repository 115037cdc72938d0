//! What is done about a finding, each time that it is found: it is told once in a while, but whoever comes again is met again.

use super::Watch;
use crate::alerts::Plan;
use crate::monitor::{Action, Finding, FindingKind, MonitorMode, Taken};
use crate::session::{By, EndReason, Principal, Words};
use crate::sessions::Holding;
use crate::store::StoreResult;
use crate::told::Origin;

impl Watch {
    /// Does what is to be done, or sees what would have been. Answers it, action by action. Operators are told of what is only
    /// observed, too; who is told at all, is planned.
    pub(super) async fn act(&self, finding: &Finding, plan: &Plan, origin: &Origin) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(finding.actions.len());
        for action in finding.actions.iter().copied() {
            let done = match (action, finding.mode) {
                (Action::Alert, _) => plan.operators,
                (Action::Notify, _) => plan.user,
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
            Action::Lock if finding.kind == FindingKind::Passwords => self.lock_user(finding).await,
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

    /// Refuses logins of the user that it is about on devices that their accounts do not know. A user whom nobody saw log in
    /// has no account that is known.
    async fn lock_user(&self, finding: &Finding) -> StoreResult<bool> {
        let lasts = self.0.rules.load().as_ref().and_then(|rules| Some(rules.failed_logins.as_ref()?.lock));
        let (Some((_, principal)), Some(lasts)) = (&finding.session, lasts) else { return Ok(false) };
        let user = self.user_key(principal);
        Ok(self.0.services.guard.lock_user(&user, lasts).await? > 0)
    }

    /// By what the accounts of a user are known.
    pub(super) fn user_key(&self, principal: &Principal) -> String {
        format!("u:{:016x}", self.0.services.keys.user(principal))
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
