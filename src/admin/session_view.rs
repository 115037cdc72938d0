//! A session as operators see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::session::{Role, StoreTime};
use crate::store::SessionView;

/// A session that is not over
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// Its id: not the secret of its cookie
    #[schema(pattern = "^[A-Za-z0-9_-]{22}$")]
    id: String,
    /// Null: the user has none
    #[schema(required)]
    tenant: Option<String>,
    /// All of its tenants, `tenant` first: those that its client may choose from
    tenants: Vec<String>,
    user: String,
    /// The kind of the user's login (`login.kind`); null where it has none
    #[schema(required)]
    kind: Option<String>,
    #[schema(required)]
    role: Option<String>,
    /// Whether its login asked to be remembered
    remembered: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// The recorded use, up to a minute before the last; null where none is recorded, as the idle time-out is off
    #[schema(required, format = DateTime)]
    last_seen_at: Option<String>,
    /// The absolute deadline
    #[schema(format = DateTime)]
    expires_at: String,
    /// When it times out if it is not used
    #[schema(required, format = DateTime)]
    idle_expires_at: Option<String>,
    /// Where the login came from
    #[schema(required)]
    address: Option<String>,
    /// A few words about the program that logged in
    #[schema(required)]
    user_agent: Option<String>,
    /// Whether it is held: nobody may use it before its user logs in again, or an operator releases it
    held: bool,
    /// Since when
    #[schema(required, format = DateTime)]
    held_at: Option<String>,
    /// Why: the type of a finding, or an operator's words
    #[schema(required)]
    held_for: Option<String>,
}

impl From<SessionView> for Session {
    fn from(view: SessionView) -> Self {
        let SessionView { id, record, last_seen, idle_expiry, hold, now: _ } = view;
        let agent = record.user_agent.summary.as_str();
        Self {
            id: id.to_string(),
            tenant: record.principal.tenant.name().map(str::to_owned),
            tenants: record.tenants().filter_map(|(tenant, _)| tenant.name().map(str::to_owned)).collect(),
            user: record.principal.user.as_str().to_owned(),
            kind: record.principal.user.kind().map(str::to_owned),
            role: record.principal.role.as_ref().map(Role::to_string),
            remembered: record.remembered,
            created_at: record.created.rfc3339(),
            last_seen_at: last_seen.map(StoreTime::rfc3339),
            expires_at: record.deadline.rfc3339(),
            idle_expires_at: idle_expiry.map(StoreTime::rfc3339),
            address: record.address.map(|address| address.to_string()),
            user_agent: (!agent.is_empty()).then(|| agent.to_owned()),
            held: hold.is_some(),
            held_at: hold.as_ref().map(|hold| hold.since.rfc3339()),
            held_for: hold.map(|hold| hold.why.as_str().to_owned()),
        }
    }
}
