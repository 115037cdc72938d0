//! Who paid and has no tenant: no attack, and yet what somebody should see to now. No rule of the configuration decides about
//! it, for it is asked about where `[tenants]` says so.

use super::Watch;
use crate::monitor::{Action, Evidence, Finding, FindingKind, MonitorMode, Severity};
use crate::session::UserId;
use crate::told::Origin;

impl Watch {
    /// A user who paid came in by a login of this origin and has no tenant, for the first time.
    pub fn orphaned(&self, user: &UserId, origin: Origin) {
        let evidence = Evidence::default().with("user", user.as_str());
        let finding = Finding {
            kind: FindingKind::Orphan,
            severity: Severity::High,
            mode: MonitorMode::Enforce,
            actions: vec![Action::Alert],
            subject: user.kept().to_owned(),
            session: None,
            account: None,
            address: origin.address,
            evidence: match user.kind() {
                Some(kind) => evidence.with("kind", kind),
                None => evidence,
            },
        };
        self.found(finding, origin);
    }
}
