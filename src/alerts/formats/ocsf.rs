//! A Detection Finding of the Open Cybersecurity Schema Framework (class 2004), created and new.

use serde_json::{Value, json};

use super::telling::{Telling, finding};
use crate::alerts::letter::{Told, sentence, severity_of};
use crate::monitor::Severity;

const VERSION: &str = "1.4.0";
const CATEGORY: u32 = 2;
const CLASS: u32 = 2004;
const CREATE: u32 = 1;
const NEW: u32 = 1;
/// Of observables: an address, a user's id.
const IP_ADDRESS: u32 = 2;
const USER_ID: u32 = 31;

pub(super) fn body(telling: &Telling<'_>, told: &Told) -> Value {
    let record = &told.record;
    let (severity_id, severity) = match severity_of(&record.severity) {
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
    };
    let mut event = json!({
        "activity_id": CREATE,
        "activity_name": "Create",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + CREATE,
        "time": told.id.millis,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": NEW,
        "status": "New",
        "is_alert": true,
        "message": sentence(record),
        "metadata": {
            "version": VERSION,
            "uid": telling.id.as_str(),
            "product": {
                "name": "session-gateway",
                "vendor_name": "session-gateway",
                "version": env!("CARGO_PKG_VERSION"),
            },
        },
        "finding_info": {
            "uid": told.id.to_string(),
            "title": record.kind,
            "desc": sentence(record),
            "types": [record.kind],
            "created_time": told.id.millis,
        },
        "resources": [{ "name": telling.site, "type": "web application" }],
        "unmapped": { "finding": finding(told) },
    });
    let mut evidence = json!({ "data": record.evidence.values() });
    let mut observables = Vec::new();
    if let Some(address) = &record.address {
        evidence["src_endpoint"] = json!({ "ip": address });
        observables.push(json!({ "name": "evidences.src_endpoint.ip", "type_id": IP_ADDRESS, "value": address }));
    }
    if let Some(user) = &record.user {
        let mut actor = json!({ "user": { "uid": user } });
        if let Some(session) = &record.session_id {
            actor["session"] = json!({ "uid": session });
        }
        evidence["actor"] = actor;
        observables.push(json!({ "name": "evidences.actor.user.uid", "type_id": USER_ID, "value": user }));
    }
    event["evidences"] = json!([evidence]);
    if !observables.is_empty() {
        event["observables"] = observables.into();
    }
    event
}
