//! An event for PagerDuty's Events API v2, that triggers an incident. Sent again it is the same one, by `dedup_key`.

use serde_json::{Value, json};

use super::telling::{Telling, finding};
use crate::alerts::letter::{Subject, whom};
use crate::monitor::Severity;
use crate::secret::Secret;
use crate::session::TenantId;

const LONGEST_SUMMARY: usize = 1024;

pub(super) fn body(telling: &Telling<'_>, routing_key: &Secret) -> Value {
    let Telling { site, id, subject } = telling;
    let severity = match subject.severity() {
        Severity::High => "critical",
        Severity::Medium => "warning",
        Severity::Low => "info",
    };
    let nobody = TenantId::none().shown().to_owned();
    let (summary, class, at, group, details) = match subject {
        Subject::One(told) => {
            let observed = if told.record.observed { " (only observed)" } else { "" };
            let summary = format!("{}{observed}: {}", subject.title(), whom(&told.record));
            let group = told.record.tenant.clone().filter(|tenant| *tenant != nobody);
            (summary, told.record.kind.clone(), told.found_at(), group, finding(told))
        }
        Subject::Many(gathered, _) => {
            let details = json!({ "count": gathered.count, "kinds": gathered.kinds });
            (subject.title(), String::from("findings"), id.since().rfc3339(), None, details)
        }
    };
    let mut event = json!({
        "routing_key": routing_key.expose_secret(),
        "event_action": "trigger",
        "dedup_key": id.as_str(),
        "client": "session-gateway",
        "payload": {
            "summary": summary.chars().take(LONGEST_SUMMARY).collect::<String>(),
            "source": site,
            "severity": severity,
            "timestamp": at,
            "component": "session-gateway",
            "class": class,
            "custom_details": details,
        },
    });
    if let Some(group) = group {
        event["payload"]["group"] = group.into();
    }
    event
}
