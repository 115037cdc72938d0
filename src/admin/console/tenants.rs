//! `/console/tenants`: the known tenants, one of them, and what is to become of it.

use axum::response::Response;
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::calls::{Refused, encoded, with_query};
use super::finding::Listed;
use super::parts::{field, filter, form, live, maybe, moment, more, outside, reason_field, table};
use super::paths::{ORPHANS, SESSIONS, TENANT, TENANTS};
use super::sessions::Ended;
use super::visit::{Act, Visit};
use super::words::count;
use crate::config::AdminRole;

/// What the API calls the users without a tenant.
const NONE: &str = ",";

/// A tenant, as the API says it.
#[derive(Deserialize)]
struct Tenant {
    tenant: String,
    status: String,
    sessions: u64,
    changed_at: Option<String>,
    reason: Option<String>,
}

/// What can become of a tenant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Suspend,
    Delete,
    Restore,
    EndSessions,
}

impl Change {
    const ALL: [Self; 4] = [Self::Suspend, Self::Delete, Self::Restore, Self::EndSessions];

    /// The word for it in a form.
    const fn word(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Delete => "delete",
            Self::Restore => "restore",
            Self::EndSessions => "end-sessions",
        }
    }

    fn read(word: Option<&str>) -> Result<Self, Refused> {
        Self::ALL
            .into_iter()
            .find(|change| Some(change.word()) == word)
            .ok_or_else(|| crate::admin::problem::Problem::bad_request("change: is none that a tenant can have").into())
    }

    /// The status that the tenant then has; `None`: that which it had.
    const fn status(self) -> Option<&'static str> {
        match self {
            Self::Suspend => Some("suspended"),
            Self::Delete => Some("deleted"),
            Self::Restore => Some("active"),
            Self::EndSessions => None,
        }
    }

    const fn question(self) -> &'static str {
        match self {
            Self::Suspend => "Suspend this tenant?",
            Self::Delete => "Delete this tenant?",
            Self::Restore => "Restore this tenant?",
            Self::EndSessions => "End all sessions of this tenant?",
        }
    }

    const fn button(self) -> &'static str {
        match self {
            Self::Suspend => "Suspend",
            Self::Delete => "Delete",
            Self::Restore => "Restore",
            Self::EndSessions => "End its sessions",
        }
    }

    /// What follows from it, beside the end of its sessions.
    const fn consequence(self) -> &'static str {
        match self {
            Self::Suspend => "Its users cannot log in until it is restored.",
            Self::Delete => "Its users cannot log in any more; should it be a mistake, it can be restored.",
            Self::Restore => "Its users can log in again. No session that has ended comes back.",
            Self::EndSessions => "Its users can log in again.",
        }
    }

    /// Whether it makes sense for a tenant of this status.
    fn fits(self, status: &str) -> bool {
        match self {
            Self::Suspend => status == "active",
            Self::Delete => status != "deleted",
            Self::Restore => status != "active",
            Self::EndSessions => true,
        }
    }
}

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Tenants", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let call = with_query("/v1/tenants", [("cursor", visit.parameter("cursor"))]);
    let list: Listed<Tenant> = visit.client.get(&call).await?;
    let next = list.next_cursor.as_deref().map(|next| with_query(TENANTS, [("cursor", Some(next))]));
    let row = |tenant: &Tenant| {
        vec![
            html! { a href=(page_of(&tenant.tenant)) { (name(&tenant.tenant)) } },
            status(&tenant.status),
            html! { (tenant.sessions) },
            tenant.changed_at.as_deref().map_or_else(|| maybe(None), |at| moment(at, visit.now())),
            maybe(tenant.reason.as_deref()),
        ]
    };
    let columns = ["Tenant", "Status", "Live sessions", "Changed", "Why"];
    let rows: Vec<_> = list.items.iter().map(row).collect();
    Ok(html! {
        (filter(TENANT, &field("Tenant", "id", None)))
        p { a href=(ORPHANS) { "Users who paid and have no tenant" } }
        (live("tenants", "", &html! {
            @if rows.is_empty() { p.empty { "No tenant is known yet." } }
            @else { (table("Tenants with sessions, and those whose status was ever changed", &columns, &rows)) }
        }))
        (more(next.as_deref(), "More tenants"))
    })
}

fn page_of(tenant: &str) -> String {
    with_query(TENANT, [("id", Some(tenant))])
}

fn name(tenant: &str) -> Markup {
    if tenant == NONE {
        html! { "no tenant" }
    } else {
        outside(tenant)
    }
}

fn status(status: &str) -> Markup {
    let class = if status == "active" { "fine" } else { "bad" };
    html! { span class=(class) { (outside(status)) } }
}

/// The tenant that a page is about.
async fn tenant_of(visit: &Visit) -> Result<Tenant, Refused> {
    visit.client.get(&format!("/v1/tenants/{}", encoded(visit.parameter("id").unwrap_or_default()))).await
}

/// One of them.
pub(super) async fn show(visit: Visit) -> Response {
    let shown = tenant_of(&visit).await.map(|tenant| shown(&visit, &tenant));
    visit.show("A tenant", shown)
}

fn shown(visit: &Visit, tenant: &Tenant) -> Markup {
    let sessions = with_query(SESSIONS, [("tenant", Some(tenant.tenant.as_str()))]);
    let changes = Change::ALL.into_iter().filter(|change| change.fits(&tenant.status));
    html! {
        dl {
            div { dt { "Tenant" } dd { (name(&tenant.tenant)) } }
            div { dt { "Status" } dd { (status(&tenant.status)) } }
            div { dt { "Live sessions" } dd { a href=(sessions) { (tenant.sessions) } } }
            div { dt { "Changed" } dd {
                @match &tenant.changed_at { Some(at) => (moment(at, visit.now())), None => "never" }
            } }
            div { dt { "Why" } dd { (maybe(tenant.reason.as_deref())) } }
        }
        @if visit.may(AdminRole::Operate) {
            h2 { "Change it" }
            ul.buttons {
                @for change in changes {
                    li { a.button href=(ask_page(&tenant.tenant, change)) { (change.button()) "…" } }
                }
            }
        }
    }
}

fn ask_page(tenant: &str, change: Change) -> String {
    with_query(&format!("{TENANT}/change"), [("id", Some(tenant)), ("change", Some(change.word()))])
}

/// Whether it is to be changed.
pub(super) async fn ask(visit: Visit) -> Response {
    let change = match Change::read(visit.parameter("change")) {
        Ok(change) => change,
        Err(refused) => return visit.refused(&refused),
    };
    let asked = tenant_of(&visit).await.map(|tenant| asked(&visit, &tenant, change));
    visit.show(change.question(), asked)
}

fn asked(visit: &Visit, tenant: &Tenant, change: Change) -> Markup {
    let number = count(tenant.sessions, "live session", "live sessions");
    html! {
        p {
            "Tenant " strong { (name(&tenant.tenant)) } " is " (outside(&tenant.status)) ", and has " strong { (number) } ". "
            @if change != Change::Restore { "They end at once. " }
            (change.consequence())
        }
        (form(visit.form_token(), &format!("{TENANT}/change"), "confirm", &html! {
            input type="hidden" name="id" value=(tenant.tenant);
            input type="hidden" name="change" value=(change.word());
            (reason_field())
            button.danger[change != Change::Restore] { (change.button()) }
            a.button href=(page_of(&tenant.tenant)) { "Leave it" }
        }))
    }
}

/// Changes it.
pub(super) async fn change(act: Act) -> Response {
    let change = match Change::read(act.field("change")) {
        Ok(change) => change,
        Err(refused) => return act.visit.refused(&refused),
    };
    let tenant = act.field("id").unwrap_or_default();
    let path = format!("/v1/tenants/{}", encoded(tenant));
    let (method, path, body) = match change.status() {
        Some(status) => (Method::PUT, path, json!({ "status": status, "reason": act.field("reason") })),
        None => (Method::POST, format!("{path}/revoke"), json!({ "reason": act.field("reason") })),
    };
    match act.visit.client.call::<Ended>(method, &path, Some(&body)).await {
        Ok(ended) => {
            let became = change.status().map(|status| format!("The tenant is {status}. ")).unwrap_or_default();
            act.visit.done(format!("{became}{}", ended.said()), &page_of(tenant))
        }
        Err(refused) => act.visit.refused(&refused),
    }
}
