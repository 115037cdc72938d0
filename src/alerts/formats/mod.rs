//! An alert as JSON, in the forms that receivers of webhooks read.
//!
//! What comes from outside stands in JSON as what it is. Where a receiver gives texts a meaning of their own (Slack's mentions
//! and links), it is escaped.

mod ocsf;
mod pagerduty;
mod slack;
mod standard;
mod telling;

use serde_json::Value;

pub(super) use telling::Telling;

use super::letter::Subject;
use super::rules::WebhookFormat;

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

#[cfg(test)]
mod tests;
