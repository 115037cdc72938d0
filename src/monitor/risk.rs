//! What a backend is told of a session while something that was found in it is open: how bad that is.

use std::collections::HashMap;
use std::time::Duration;

use super::{Finding, FindingKind, MonitorMode, Severity};
use crate::session::SessionId;

/// For how long a finding is open that nobody judges.
pub const OPEN_FOR: Duration = Duration::from_secs(86_400);

/// Something that was found in a session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Risk {
    /// The first session of its line: what goes on under a new token is no safer.
    pub session: SessionId,
    /// How bad it is.
    pub severity: Severity,
}

/// The sessions in which something is open, and how bad it is at worst.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risks(HashMap<SessionId, Severity>);

impl Risks {
    /// How bad it is at worst what is open in sessions of this line.
    #[must_use]
    pub fn of(&self, line: SessionId) -> Option<Severity> {
        self.0.get(&line).copied()
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Risk> for Risks {
    fn from_iter<T: IntoIterator<Item = Risk>>(risks: T) -> Self {
        let mut all: HashMap<SessionId, Severity> = HashMap::new();
        for Risk { session, severity } in risks {
            let worst = all.entry(session).or_insert(severity);
            *worst = severity.max(*worst);
        }
        Self(all)
    }
}

impl Finding {
    /// The session of which a backend is told while this is open: of nothing that is only observed, only to be known, or about
    /// a session that is over.
    #[must_use]
    pub fn endangers(&self) -> Option<SessionId> {
        let tells = self.mode == MonitorMode::Enforce
            && self.severity >= Severity::Medium
            && self.kind != FindingKind::RevokedUse;
        self.session.as_ref().filter(|_| tells).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::monitor::Evidence;
    use crate::session::{Principal, SessionToken, TenantId, UserId};

    fn id() -> SessionId {
        SessionToken::generate(&SystemEntropy).expect("entropy").id()
    }

    #[test]
    fn the_worst_that_is_open_counts() {
        let (one, other) = (id(), id());
        let (medium, high) = (Severity::Medium, Severity::High);
        let risk = |session, severity| Risk { session, severity };
        let risks: Risks =
            [risk(one, medium), risk(one, high), risk(one, medium), risk(other, medium)].into_iter().collect();
        assert_eq!((risks.of(one), risks.of(other), risks.of(id())), (Some(high), Some(medium), None));
    }

    #[test]
    fn backends_are_told_of_what_was_found_in_a_session_that_lives_and_is_more_than_to_be_known() {
        let session = id();
        let user = UserId::parse("7").expect("a user");
        let principal = Arc::new(Principal { tenant: TenantId::none(), user, role: None });
        let found = |kind, severity, mode, in_session: bool| Finding {
            kind,
            severity,
            mode,
            actions: Vec::new(),
            subject: String::new(),
            session: in_session.then(|| (session, principal.clone())),
            account: None,
            address: None,
            evidence: Evidence::default(),
        };
        use FindingKind::{Exports, FailedLogins, RevokedUse};
        use MonitorMode::{Enforce, Observe};
        for (kind, severity, mode, in_session, tells) in [
            (Exports, Severity::Medium, Enforce, true, true),
            (Exports, Severity::High, Enforce, true, true),
            (Exports, Severity::Low, Enforce, true, false),
            (Exports, Severity::High, Observe, true, false),
            (FailedLogins, Severity::High, Enforce, false, false),
            (RevokedUse, Severity::Medium, Enforce, true, false),
        ] {
            let expected = tells.then_some(session);
            assert_eq!(found(kind, severity, mode, in_session).endangers(), expected, "{kind:?} {severity:?} {mode:?}");
        }
    }
}
