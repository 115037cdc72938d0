//! `/console/findings`: what was found, one of it, and what operators think of it.

use axum::extract::RawPathParams;
use axum::response::Response;
use http::Method;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::calls::{Refused, encoded, with_query};
use super::finding::{Finding, Listed, buttons, findings, severity, verdict};
use super::parts::{choice, field, filter, live, maybe, moment, more, outside, reason_field, values};
use super::paths::{FINDINGS, SESSIONS, back};
use super::visit::{Act, Visit};
use super::words;
use crate::config::AdminRole;
use crate::monitor::{FindingKind, Severity, Verdict};

/// The filters of the list, as page and call name them.
const FILTERS: [&str; 6] = ["severity", "type", "verdict", "observed", "tenant", "user"];

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Findings", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let filters = FILTERS.map(|name| (name, visit.parameter(name)));
    let cursor = [("cursor", visit.parameter("cursor"))];
    let list: Listed<Finding> =
        visit.client.get(&with_query("/v1/anomalies", filters.into_iter().chain(cursor))).await?;
    let here = with_query(FINDINGS, filters.into_iter().chain(cursor));
    let next = list.next_cursor.as_deref().map(|next| [("cursor", Some(next))]);
    let older = next.map(|next| with_query(FINDINGS, filters.into_iter().chain(next)));
    let newest = list.items.first().map_or("", |finding| &finding.id);
    Ok(html! {
        (filter(FINDINGS, &fields(visit)))
        (live("findings", newest, &findings(visit, "What was found, newest first", &list.items, &here)))
        (more(older.as_deref(), "Older findings"))
    })
}

fn fields(visit: &Visit) -> Markup {
    let severities = Severity::ALL.map(|severity| (severity.as_str(), severity.as_str()));
    let kinds = FindingKind::ALL.map(|kind| (kind.as_str(), words::finding(kind.as_str()).0));
    let [expected, malicious] = Verdict::ALL.map(|verdict| (verdict.as_str(), verdict.as_str()));
    let modes = [("false", "acted on"), ("true", "only observed")];
    html! {
        (choice("Severity", "severity", "all", &severities, visit.parameter("severity")))
        (choice("What", "type", "all", &kinds, visit.parameter("type")))
        (choice("Verdict", "verdict", "all", &[("none", "none yet"), expected, malicious], visit.parameter("verdict")))
        (choice("Mode", "observed", "both", &modes, visit.parameter("observed")))
        (field("Tenant", "tenant", visit.parameter("tenant")))
        (field("User", "user", visit.parameter("user")))
    }
}

/// One of them.
pub(super) async fn show(visit: Visit, path: RawPathParams) -> Response {
    match visit.client.get::<Finding>(&call_of(&path)).await {
        Ok(finding) => visit.page(words::finding(&finding.found).0, &shown(&visit, &finding)),
        Err(refused) => visit.refused(&refused),
    }
}

fn shown(visit: &Visit, finding: &Finding) -> Markup {
    html! {
        p { (words::finding(&finding.found).1) }
        dl {
            div { dt { "Severity" } dd { (severity(&finding.severity)) } }
            div { dt { "Type" } dd { code { (outside(&finding.found)) } } }
            div { dt { "Found" } dd { (moment(&finding.found_at, visit.now())) } }
            div { dt { "Repeats within four hours" } dd { (finding.repeats) } }
            div { dt { "Whom" } dd { (finding.whom()) } }
            div { dt { "Session" } dd {
                @match &finding.session_id {
                    Some(id) => a href={ (SESSIONS) "/" (encoded(id)) } { code { (outside(id)) } },
                    None => (maybe(None)),
                }
            } }
            div { dt { "From" } dd { (maybe(finding.address.as_deref())) } }
            div { dt { "Done" } dd { (finding.done()) } }
            div { dt { "Verdict" } dd {
                @if finding.verdict.is_some() { (verdict(visit, finding, &finding.page())) } @else { "none yet" }
                @if let Some(at) = &finding.verdict_at { ", " (moment(at, visit.now())) }
            } }
        }
        h2 { "Evidence" }
        (values(&finding.evidence))
        @if visit.may(AdminRole::Operate) {
            h2 { "What do you think of it?" }
            p { "The last word counts. It is in the audit log under your name, and feeds the rate of false alarms." }
            (buttons(visit, finding, &finding.page(), Some(&reason_field())))
        }
    }
}

/// What an operator thinks of one.
pub(super) async fn judge(path: RawPathParams, act: Act) -> Response {
    let said = json!({ "verdict": act.field("verdict"), "reason": act.field("reason") });
    let call = format!("{}/verdict", call_of(&path));
    match act.visit.client.call::<Value>(Method::POST, &call, Some(&said)).await {
        Ok(judged) => {
            let verdict = judged["verdict"].as_str().unwrap_or_default();
            act.visit.done(format!("Noted: {verdict}."), &back(act.field("back"), FINDINGS))
        }
        Err(refused) => act.visit.refused(&refused),
    }
}

/// The call that is about the finding of a page.
fn call_of(path: &RawPathParams) -> String {
    let id = path.iter().find_map(|(name, value)| (name == "id").then_some(value)).unwrap_or_default();
    format!("/v1/anomalies/{}", encoded(id))
}
