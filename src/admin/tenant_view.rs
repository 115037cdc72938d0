//! A tenant as operators see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::session::TenantStatus;
use crate::store::TenantView;

/// Whether a tenant may be used
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// In use
    Active,
    /// Shut out until it is made active again
    Suspended,
    /// Gone
    Deleted,
}

impl From<TenantStatus> for Status {
    fn from(status: TenantStatus) -> Self {
        match status {
            TenantStatus::Active => Self::Active,
            TenantStatus::Suspended => Self::Suspended,
            TenantStatus::Deleted => Self::Deleted,
        }
    }
}

impl From<Status> for TenantStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
            Status::Deleted => Self::Deleted,
        }
    }
}

/// A tenant
#[derive(Serialize, ToSchema)]
pub(super) struct Tenant {
    /// Its id; `,` stands for that of the users who have none
    tenant: String,
    status: Status,
    /// Its live sessions
    sessions: u64,
    /// When its status was last changed; null: never
    #[schema(required, format = DateTime)]
    changed_at: Option<String>,
    /// Why it was, in the operator's words or else in the gateway's
    #[schema(required)]
    reason: Option<String>,
}

impl From<TenantView> for Tenant {
    fn from(view: TenantView) -> Self {
        let reason = view.changed.as_ref().and_then(|note| match (note.words.as_str(), view.status) {
            // Why its sessions had ended says nothing of a tenant that is back.
            ("", TenantStatus::Active) => None,
            ("", _) => Some(note.reason.as_str().to_owned()),
            (words, _) => Some(words.to_owned()),
        });
        Self {
            tenant: view.tenant.shown().to_owned(),
            status: view.status.into(),
            sessions: view.sessions,
            changed_at: view.changed.map(|note| note.since.rfc3339()),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{EndReason, StoreTime, TenantId, TenantNote, Words};

    #[test]
    fn a_tenants_reason_is_the_operators_words_or_else_why_its_sessions_ended() {
        for (status, words, expected) in [
            (TenantStatus::Suspended, "unpaid", Some("unpaid")),
            (TenantStatus::Deleted, "", Some("org_deleted")),
            (TenantStatus::Active, "", None),
            (TenantStatus::Active, "paid", Some("paid")),
        ] {
            let words = Words::parse(words).expect("one line");
            let note = TenantNote { since: StoreTime::from_micros(0), reason: EndReason::OrgDeleted, words };
            let tenant = TenantId::parse("acme").expect("visible ASCII");
            let view = TenantView { tenant, status, changed: Some(note), sessions: 0 };
            let shown = Tenant::from(view);
            assert_eq!(shown.reason.as_deref(), expected);
            assert_eq!(shown.changed_at.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        }
    }
}
