//! What was found in the user's own sessions, or for an admin in those of their tenant, and what they say of it.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::body::AnswerBody;
use super::super::exchange::Exchange;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::respond::{json, own};
use super::super::services::Gateway;
use super::asker::Asker;
use super::said::{body, query};

use crate::monitor::{FindingNote, FindingRecord, Taken, Verdict};
use crate::policy::Denial;
use crate::session::{By, Principal, UserId, UserKind};
use crate::store::monitor::{FindingId, FindingsOf, KeptFinding};
use crate::told::Told;

/// The findings of a page.
const PAGE: usize = 50;
/// How often the store is asked for one page, where most of what it has is not as bad as is asked for.
const MOST_STEPS: usize = 10;
/// What the audit log calls an admin's verdict.
const EVENT: &str = "anomalies.feedback";
const SEVERITIES: [&str; 3] = ["low", "medium", "high"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    user_id: Option<String>,
    severity: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Anomalies {
    anomalies: Vec<Anomaly>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Anomaly {
    id: String,
    found_at: String,
    #[serde(rename = "type")]
    kind: String,
    severity: String,
    /// Whether it was only observed.
    observed: bool,
    user_id: Option<String>,
    session_id: Option<String>,
    address: Option<String>,
    evidence: serde_json::Value,
    /// What was done, or would have been.
    actions: Vec<Taken>,
    repeats: u64,
    verdict: Option<&'static str>,
}

impl Anomaly {
    /// `None`: it cannot be read; it may be another version's.
    fn of(kept: KeptFinding) -> Option<Self> {
        let found_at = kept.found().rfc3339();
        let record = kept.record?;
        Some(Self {
            id: kept.id.to_string(),
            found_at,
            kind: record.kind,
            severity: record.severity,
            observed: record.observed,
            user_id: record.user,
            session_id: record.session_id,
            address: record.address,
            evidence: serde_json::Value::Object(record.evidence.values().clone()),
            actions: record.actions,
            repeats: kept.repeats,
            verdict: kept.note.map(|note| note.verdict.as_str()),
        })
    }
}

pub(super) async fn list(
    gateway: &Gateway,
    asker: &Asker<'_>,
    cleared: &Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    let Parameters { user_id, severity, cursor } = query(cleared)?;
    let severity = match severity.map(|word| word.to_ascii_lowercase()) {
        Some(word) if !SEVERITIES.contains(&word.as_str()) => {
            return Err(Failure::Misunderstood("The severity is one of low, medium and high."));
        }
        severity => severity,
    };
    let mut position: Option<FindingId> = match cursor.map(|cursor| cursor.parse()) {
        Some(Err(_)) => return Err(Failure::Misunderstood("The cursor is none of this list.")),
        cursor => cursor.and_then(Result::ok),
    };
    let own = &asker.principal.user;
    let user = match user_id {
        // Users of several kinds may have one name: an admin sees those of the kind that they are of.
        Some(name) => {
            let user = UserId::parse(&name).map_err(|_| Failure::Misunderstood("The user_id cannot be one."))?;
            let kind = own.kind().and_then(|kind| UserKind::parse(kind).ok());
            let user = user.of_kind(kind.as_ref());
            if user != *own && !asker.is_admin {
                return Err(Failure::Denied(Denial::ForbiddenRole));
            }
            Some(user)
        }
        None if asker.is_admin => None,
        None => Some(own.clone()),
    };
    let tenant = if asker.is_admin { &asker.principal.tenant } else { &asker.own().tenant };
    let of = FindingsOf { tenant: tenant.clone(), user };
    let mut anomalies = Vec::new();
    for _ in 0..MOST_STEPS {
        let page = gateway.watch().kept().findings_of(&of, position, PAGE - anomalies.len()).await;
        let page = page.map_err(Failure::Store)?;
        let fits = |found: &Anomaly| severity.as_ref().is_none_or(|wanted| *wanted == found.severity);
        anomalies.extend(page.findings.into_iter().filter_map(Anomaly::of).filter(fits));
        position = page.next;
        if position.is_none() || anomalies.len() >= PAGE {
            break;
        }
    }
    let next_cursor = position.map(|position| position.to_string());
    Ok(json(StatusCode::OK, &Anomalies { anomalies, next_cursor }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    verdict: Verdict,
}

pub(super) async fn feedback(
    gateway: &Gateway,
    exchange: &mut Exchange,
    asker: &Asker<'_>,
    cleared: &mut Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    let Body { verdict } = body(gateway, exchange, cleared).await?;
    let segments: Vec<_> = cleared.target.segments().collect();
    let named = segments.len().checked_sub(2).and_then(|place| segments.get(place));
    let id: FindingId = named.and_then(|name| name.parse().ok()).ok_or(Failure::NotFound)?;
    let found = gateway.watch().kept().finding(id).await.map_err(Failure::Store)?;
    let whose = found.and_then(|found| found.record).as_ref().and_then(FindingRecord::whose);
    let (tenant, user) = whose.ok_or(Failure::NotFound)?;
    let whose = Principal { tenant, user, role: None };
    if !asker.may_see(&whose) {
        return Err(Failure::NotFound);
    }
    let origin = exchange.origin(By::User);
    if whose.user == asker.principal.user {
        // Whoever has the session could say so, its thief too: operators read it, and nothing goes by it.
        gateway.watch().tell(&origin, &Told::FindingReported { id: id.to_string(), verdict });
        return Ok(nothing());
    }
    let origin = exchange.origin(By::Event(EVENT.into()));
    let by = format!("{}/{}", asker.principal.tenant.shown(), asker.principal.user.as_str());
    let note = FindingNote { verdict, by, at: gateway.clock().wall().as_micros() };
    if gateway.watch().note_verdict(&origin, id, &note).await.map_err(Failure::Store)? {
        Ok(nothing())
    } else {
        Err(Failure::NotFound)
    }
}

/// It was noted, and there is nothing to be said of it.
fn nothing() -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::empty()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
