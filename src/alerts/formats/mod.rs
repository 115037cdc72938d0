//! An alert as JSON, in the forms that receivers of webhooks read.
//!
//! What comes from outside stands in JSON as what it is. Where a receiver gives texts a meaning of their own (Slack's mentions
//! and links), it is escaped.

mod ocsf;
mod pagerduty;
mod slack;
mod standard;

use serde_json::{Map, Value};

use super::letter::{Subject, Told};
use super::rules::WebhookFormat;
use crate::session::TenantId;
use crate::store::alerts::AlertId;

/// What is told where.
pub(super) struct Telling<'a> {
    /// What the site is called.
    pub(super) site: &'a str,
    /// The alert.
    pub(super) id: &'a AlertId,
    /// What it tells of.
    pub(super) subject: &'a Subject,
}

/// The body of a webhook. `None`: this form has no words for it.
pub(super) fn body(format: &WebhookFormat, telling: &Telling<'_>) -> Option<Value> {
    Some(match format {
        WebhookFormat::Standard(_) => standard::body(telling),
        WebhookFormat::Slack => slack::body(telling),
        WebhookFormat::PagerDuty(key) => pagerduty::body(telling, key),
        WebhookFormat::Ocsf(_) => match telling.subject {
            Subject::One(told) => ocsf::body(telling, told),
            Subject::Many(..) => return None,
        },
    })
}

/// A finding with all that is known of it.
fn finding(told: &Told) -> Value {
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

#[cfg(test)]
mod tests;
