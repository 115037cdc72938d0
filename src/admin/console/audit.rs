//! `/console/audit`: what happened, newest first.

use axum::response::Response;
use maud::{Markup, html};

use super::calls::{Refused, with_query};
use super::finding::{Listed, user_link};
use super::parts::{choice, field, filter, live, maybe, moment, more, outside, table, values};
use super::paths::{AUDIT, SESSIONS};
use super::visit::Visit;
use crate::audit::{AuditRecord, AuditType};

/// The filters of the list, as page and call name them.
const FILTERS: [&str; 6] = ["type", "tenant", "user", "kind", "since", "until"];

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Audit log", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let filters = FILTERS.map(|name| (name, visit.parameter(name)));
    let asked = [("order", Some("newest")), ("cursor", visit.parameter("cursor"))];
    let list: Listed<AuditRecord> =
        visit.client.get(&with_query("/v1/audit", filters.into_iter().chain(asked))).await?;
    let newest = list.items.first().map_or(String::new(), |event| format!("{} {}", event.instance, event.seq));
    let next = list.next_cursor.as_deref().map(|next| [("cursor", Some(next))]);
    let older = next.map(|next| with_query(AUDIT, filters.into_iter().chain(next)));
    Ok(html! {
        (filter(AUDIT, &fields(visit)))
        (live("audit", &newest, &events(visit, &list.items)))
        (more(older.as_deref(), "Earlier events"))
    })
}

fn fields(visit: &Visit) -> Markup {
    let kinds = AuditType::ALL.map(|kind| (kind.as_str(), kind.as_str()));
    html! {
        (choice("What", "type", "all", &kinds, visit.parameter("type")))
        (field("Tenant", "tenant", visit.parameter("tenant")))
        (field("User", "user", visit.parameter("user")))
        (field("Kind of login", "kind", visit.parameter("kind")))
        (field("Since, as 2026-11-24T17:00:00Z", "since", visit.parameter("since")))
        (field("Before", "until", visit.parameter("until")))
    }
}

fn events(visit: &Visit, list: &[AuditRecord]) -> Markup {
    if list.is_empty() {
        return html! { p.empty { "Nothing of the kind happened, as far as this page looked." } };
    }
    let row = |event: &AuditRecord| {
        vec![
            moment(&event.time, visit.now()),
            html! { code { (outside(&event.kind)) } " " (outside(&event.outcome)) },
            outside(&event.actor),
            match &event.user {
                Some(user) => user_link(event.tenant.as_deref(), user, None),
                None => {
                    html! { @if let Some(tenant) = &event.tenant { "tenant " (outside(tenant)) } @else { (maybe(None)) } }
                }
            },
            maybe(event.reason.as_deref()),
            html! { (maybe(event.address.as_deref())) @if let Some(agent) = &event.user_agent { " " (outside(agent)) } },
            details(event),
        ]
    };
    let columns = ["When", "What", "Who", "About", "Why", "From", "More"];
    table("What happened, newest first", &columns, &list.iter().map(row).collect::<Vec<_>>())
}

fn details(event: &AuditRecord) -> Markup {
    let named = [("session", &event.session_id), ("request", &event.request_id)];
    html! {
        @if !event.details.is_empty() || named.iter().any(|(_, value)| value.is_some()) {
            details {
                summary { "Details" }
                (values(&event.details))
                @for (name, value) in named {
                    @if let Some(value) = value {
                        p { (name) " "
                            @if name == "session" { a href={ (SESSIONS) "/" (super::calls::encoded(value)) } { code { (outside(value)) } } }
                            @else { code { (outside(value)) } }
                        }
                    }
                }
            }
        }
    }
}
