//! What is told, and a finding whole: what all forms begin with.

use serde_json::{Map, Value};

use crate::alerts::letter::{Subject, Told};
use crate::session::TenantId;
use crate::store::alerts::AlertId;

/// What is told where.
pub(in crate::alerts) struct Telling<'a> {
    /// What the site is called.
    pub(in crate::alerts) site: &'a str,
    /// The alert.
    pub(in crate::alerts) id: &'a AlertId,
    /// What it tells of.
    pub(in crate::alerts) subject: &'a Subject,
}

/// A finding with all that is known of it.
pub(super) fn finding(told: &Told) -> Value {
    let record = &told.record;
    let nobody = TenantId::none().shown().to_owned();
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("id", told.id.to_string().into());
    add("found_at", told.found_at().into());
    add("type", record.kind.clone().into());
    add("severity", record.severity.clone().into());
    add("observed", record.observed.into());
    add("tenant", record.tenant.clone().filter(|tenant| *tenant != nobody).into());
    add("user", record.user.clone().into());
    add("kind", record.user_kind.clone().into());
    add("session_id", record.session_id.clone().into());
    add("account", record.account.clone().into());
    add("address", record.address.clone().into());
    add("evidence", Value::Object(record.evidence.values().clone()));
    add("actions", serde_json::to_value(&record.actions).unwrap_or_default());
    Value::Object(members)
}
