//! `/console/tenants/orphans`: who paid and has no tenant yet.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::calls::{Refused, with_query};
use super::finding::Listed;
use super::parts::{live, maybe, moment, more, outside, table};
use super::paths::{ORPHANS, TENANTS};
use super::visit::Visit;

/// A user who paid and has no tenant, as the API says it.
#[derive(Deserialize)]
struct Orphan {
    user: String,
    kind: Option<String>,
    since_at: String,
    last_at: String,
    attempts: u64,
    last_error: Option<String>,
}

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Paid, and without a tenant", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let call = with_query("/v1/orphans", [("cursor", visit.parameter("cursor"))]);
    let list: Listed<Orphan> = visit.client.get(&call).await?;
    let next = list.next_cursor.as_deref().map(|next| with_query(ORPHANS, [("cursor", Some(next))]));
    Ok(html! {
        p {
            "The app said that they paid, and has named no tenant for them. Each is asked about again at their next login. "
            a href=(TENANTS) { "All tenants" }
        }
        (live("orphans", "", &orphans(visit, &list.items)))
        (more(next.as_deref(), "More users"))
    })
}

fn orphans(visit: &Visit, list: &[Orphan]) -> Markup {
    if list.is_empty() {
        return html! { p.empty { "Nobody waits for a tenant." } };
    }
    let row = |orphan: &Orphan| {
        vec![
            html! { (outside(&orphan.user)) @if let Some(kind) = &orphan.kind { " (" (outside(kind)) ")" } },
            moment(&orphan.since_at, visit.now()),
            moment(&orphan.last_at, visit.now()),
            html! { (orphan.attempts) },
            maybe(orphan.last_error.as_deref()),
        ]
    };
    let columns = ["User", "Since", "Last asked about", "How often", "What went wrong last"];
    table("Users, who waits longest first", &columns, &list.iter().map(row).collect::<Vec<_>>())
}
