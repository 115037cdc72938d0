//! A finding as pages show it: in a list, and with the buttons that say what is to be thought of it.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::calls::with_query;
use super::parts::{form, maybe, moment, outside, table};
use super::paths::{FINDINGS, SESSIONS};
use super::visit::Visit;
use super::words::{self, action};
use crate::config::AdminRole;

/// One page of a list.
#[derive(Deserialize)]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// What was found, as the API says it.
#[derive(Deserialize)]
pub(super) struct Finding {
    pub(super) id: String,
    pub(super) found_at: String,
    #[serde(rename = "type")]
    pub(super) found: String,
    pub(super) severity: String,
    pub(super) observed: bool,
    pub(super) tenant: Option<String>,
    pub(super) user: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) account: Option<String>,
    pub(super) address: Option<String>,
    pub(super) evidence: Map<String, Value>,
    pub(super) actions: Vec<Taken>,
    pub(super) repeats: u64,
    pub(super) verdict: Option<String>,
    pub(super) verdict_by: Option<String>,
    pub(super) verdict_at: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Taken {
    pub(super) action: String,
    pub(super) done: bool,
}

impl Finding {
    /// Its page.
    pub(super) fn page(&self) -> String {
        format!("{FINDINGS}/{}", super::calls::encoded(&self.id))
    }

    /// Whom it is about.
    pub(super) fn whom(&self) -> Markup {
        match (&self.user, &self.account) {
            (Some(user), _) => user_link(self.tenant.as_deref(), user, self.kind.as_deref()),
            (None, Some(account)) => html! { "account " code { (outside(account)) } },
            (None, None) => maybe(None),
        }
    }

    /// What was done.
    pub(super) fn done(&self) -> Markup {
        html! {
            ul.plain {
                @for taken in &self.actions { li { (outside(&action(&taken.action, taken.done, self.observed))) } }
            }
        }
    }
}

/// How bad it is, in words as well as in colour.
pub(super) fn severity(severity: &str) -> Markup {
    let class = match severity {
        "high" => "badge high",
        "medium" => "badge medium",
        _ => "badge low",
    };
    html! { span class=(class) { (outside(severity)) } }
}

/// A user, by whose live sessions one gets to know more.
pub(super) fn user_link(tenant: Option<&str>, user: &str, kind: Option<&str>) -> Markup {
    let link = with_query(SESSIONS, [("tenant", Some(tenant.unwrap_or(","))), ("user", Some(user)), ("kind", kind)]);
    html! {
        a href=(link) { "user " (outside(user)) }
        @if let Some(kind) = kind { " (" (outside(kind)) ")" }
        @if let Some(tenant) = tenant { " of " (outside(tenant)) } @else { ", who has no tenant" }
    }
}

/// The columns of [`rows`].
const COLUMNS: [&str; 7] = ["Severity", "What", "Whom", "From", "When", "Done", "Verdict"];

/// Findings as a table. `back` is the page that the verdict buttons lead back to.
pub(super) fn findings(visit: &Visit, caption: &str, list: &[Finding], back: &str) -> Markup {
    if list.is_empty() {
        return html! { p.empty { "Nothing was found." } };
    }
    let row = |finding: &Finding| {
        vec![
            html! { (severity(&finding.severity)) @if finding.observed { " " span.badge { "observed" } } },
            html! { a href=(finding.page()) { (words::finding(&finding.found).0) } },
            finding.whom(),
            maybe(finding.address.as_deref()),
            html! {
                (moment(&finding.found_at, visit.now()))
                @if finding.repeats > 0 { " " (words::count(finding.repeats, "repeat", "repeats")) }
            },
            finding.done(),
            verdict(visit, finding, back),
        ]
    };
    table(caption, &COLUMNS, &list.iter().map(row).collect::<Vec<_>>())
}

/// What was said of it, or the buttons to say it.
pub(super) fn verdict(visit: &Visit, finding: &Finding, back: &str) -> Markup {
    match &finding.verdict {
        Some(verdict) => html! {
            strong { (outside(verdict)) } " by " (maybe(finding.verdict_by.as_deref()))
        },
        None if visit.may(AdminRole::Operate) => buttons(visit, finding, back, None),
        None => html! { span.none { "none yet" } },
    }
}

/// The buttons, perhaps with a field for the operator's words.
pub(super) fn buttons(visit: &Visit, finding: &Finding, back: &str, reason: Option<&Markup>) -> Markup {
    let about = format!("{}, {}", words::finding(&finding.found).0, finding.found_at);
    form(
        visit.form_token(),
        &format!("{}/verdict", finding.page()),
        "verdict",
        &html! {
            input type="hidden" name="back" value=(back);
            @if let Some(reason) = reason { (reason) }
            button name="verdict" value="expected" aria-label={ "Expected: " (about) } { "Expected" }
            button name="verdict" value="malicious" aria-label={ "Malicious: " (about) } { "Malicious" }
        },
    )
}
