//! A finding as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::WallTime;
use crate::monitor::{FindingRecord, Verdict};
use crate::session::TenantId;
use crate::store::monitor::KeptFinding;

/// What was found
#[derive(Serialize, ToSchema)]
pub(super) struct Anomaly {
    /// Its name
    id: String,
    /// When it was found
    #[schema(format = DateTime)]
    found_at: String,
    /// What was found, as `SUSPICIOUS_FAILED_AUTH_ATTEMPTS`; `UNKNOWN` for what another version wrote
    #[serde(rename = "type")]
    found: String,
    /// How bad it is: `low`, `medium` or `high`
    severity: String,
    /// Whether it was only observed: nothing was done about it
    observed: bool,
    /// The tenant of its session
    #[schema(required)]
    tenant: Option<String>,
    /// The user of its session
    #[schema(required)]
    user: Option<String>,
    /// The kind of the user's login (`login.kind`)
    #[schema(required)]
    kind: Option<String>,
    /// Its session; null: it is about a login that made none
    #[schema(required)]
    session_id: Option<String>,
    /// What stands for the account that was tried: an HMAC of its name
    #[schema(required)]
    account: Option<String>,
    /// From where
    #[schema(required)]
    address: Option<String>,
    /// What it rests on
    evidence: serde_json::Value,
    /// What was done, or would have been
    actions: Vec<ActionTaken>,
    /// How often the same was found again within `alerts.repeat`, four hours unless it says otherwise
    repeats: u64,
    /// What was said of it: `expected` or `malicious`
    #[schema(required)]
    verdict: Option<&'static str>,
    /// Who said so
    #[schema(required)]
    verdict_by: Option<String>,
    /// When
    #[schema(required, format = DateTime)]
    verdict_at: Option<String>,
}

/// What was done about a finding
#[derive(Serialize, ToSchema)]
pub(super) struct ActionTaken {
    /// As `lock`
    action: String,
    /// Whether it was carried out
    done: bool,
}

impl From<KeptFinding> for Anomaly {
    fn from(kept: KeptFinding) -> Self {
        let found_at = kept.found().rfc3339();
        let (id, repeats, note) = (kept.id.to_string(), kept.repeats, kept.note);
        let record = kept.record.unwrap_or_else(unknown);
        let tenant = record.tenant.filter(|tenant| *tenant != TenantId::none().shown());
        Self {
            id,
            found_at,
            found: record.kind,
            severity: record.severity,
            observed: record.observed,
            tenant,
            user: record.user,
            kind: record.user_kind,
            session_id: record.session_id,
            account: record.account,
            address: record.address,
            evidence: serde_json::Value::Object(record.evidence.values().clone()),
            actions: record
                .actions
                .into_iter()
                .map(|taken| ActionTaken { action: taken.action, done: taken.done })
                .collect(),
            repeats,
            verdict: note.as_ref().map(|note| Verdict::as_str(note.verdict)),
            verdict_at: note.as_ref().map(|note| WallTime::from_micros(note.at).rfc3339()),
            verdict_by: note.map(|note| note.by),
        }
    }
}

/// Something is there, and no more can be said.
fn unknown() -> FindingRecord {
    FindingRecord {
        kind: String::from("UNKNOWN"),
        severity: String::from("low"),
        observed: false,
        tenant: None,
        user: None,
        user_kind: None,
        session_id: None,
        account: None,
        address: None,
        evidence: crate::monitor::Evidence::default(),
        actions: Vec::new(),
    }
}
