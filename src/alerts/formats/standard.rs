//! Standard Webhooks: `type`, `timestamp`, `data`.

use serde_json::{Value, json};

use super::telling::{Telling, finding};
use crate::alerts::letter::Subject;

pub(super) fn body(telling: &Telling<'_>) -> Value {
    let Telling { site, id, subject } = telling;
    match subject {
        Subject::One(told) => json!({
            "type": "finding.created",
            "timestamp": told.found_at(),
            "data": { "site": site, "finding": finding(told) },
        }),
        Subject::Many(gathered, told) => json!({
            "type": "findings.gathered",
            "timestamp": id.since().rfc3339(),
            "data": {
                "site": site,
                "count": gathered.count,
                "findings": told.iter().map(finding).collect::<Vec<_>>(),
            },
        }),
    }
}
