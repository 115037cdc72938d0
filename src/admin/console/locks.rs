//! `/console/locks`: logins that are refused unasked, and the end of that.

use axum::extract::RawPathParams;
use axum::response::Response;
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::calls::{Refused, encoded, with_query};
use super::finding::Listed;
use super::parts::{field, filter, form, live, maybe, moment, more, outside, table};
use super::paths::{LOCKS, back};
use super::visit::{Act, Visit};
use crate::config::AdminRole;

/// A lock, as the API says it.
#[derive(Deserialize)]
struct Lock {
    id: String,
    by: String,
    account: Option<String>,
    network: Option<String>,
    observed: bool,
    since_at: String,
    until_at: String,
}

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Locks on logins", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let filters = [("account", visit.parameter("account")), ("kind", visit.parameter("kind"))];
    let cursor = [("cursor", visit.parameter("cursor"))];
    let list: Listed<Lock> = visit.client.get(&with_query("/v1/locks", filters.into_iter().chain(cursor))).await?;
    let here = with_query(LOCKS, filters.into_iter().chain(cursor));
    let next = list.next_cursor.as_deref().map(|next| [("cursor", Some(next))]);
    let next = next.map(|next| with_query(LOCKS, filters.into_iter().chain(next)));
    let newest = list.items.last().map_or("", |lock| &lock.id);
    Ok(html! {
        (filter(LOCKS, &html! {
            (field("Account, as somebody types it to log in", "account", visit.parameter("account")))
            (field("Kind of login", "kind", visit.parameter("kind")))
        }))
        (live("locks", newest, &locks(visit, &list.items, &here)))
        (more(next.as_deref(), "More locks"))
    })
}

fn locks(visit: &Visit, list: &[Lock], back: &str) -> Markup {
    if list.is_empty() {
        return html! { p.empty { "Nobody is locked out." } };
    }
    let row = |lock: &Lock| {
        vec![
            html! { (outside(&of_what(&lock.by))) @if lock.observed { " " span.badge { "observed: nobody is refused" } } },
            lock.account.as_deref().map_or_else(|| maybe(None), |account| html! { code { (outside(account)) } }),
            maybe(lock.network.as_deref()),
            moment(&lock.since_at, visit.now()),
            moment(&lock.until_at, visit.now()),
            unlock_button(visit, lock, back),
        ]
    };
    let columns = ["Locked", "Account", "Network", "Since", "Until", "Unlock"];
    table(
        "Locks in force, the one that ends first before the others",
        &columns,
        &list.iter().map(row).collect::<Vec<_>>(),
    )
}

fn of_what(by: &str) -> String {
    match by {
        "account" => "the account, from anywhere",
        "account+network" => "the account, from this network",
        "account+device" => "the account, on a device that it knows",
        "network" => "the network, for every account",
        other => other,
    }
    .to_owned()
}

fn unlock_button(visit: &Visit, lock: &Lock, back: &str) -> Markup {
    if !visit.may(AdminRole::Operate) {
        return maybe(None);
    }
    form(
        visit.form_token(),
        &format!("{LOCKS}/{}/unlock", encoded(&lock.id)),
        "",
        &html! {
            input type="hidden" name="back" value=(back);
            button aria-label={ "Unlock " (lock.id) } { "Unlock" }
        },
    )
}

/// Ends one.
pub(super) async fn unlock(path: RawPathParams, act: Act) -> Response {
    let id = path.iter().find_map(|(name, value)| (name == "id").then_some(value)).unwrap_or_default();
    let call = with_query(&format!("/v1/locks/{}", encoded(id)), [("reason", act.field("reason"))]);
    match act.visit.client.call::<Value>(Method::DELETE, &call, None).await {
        Ok(_) => {
            act.visit.done(String::from("Unlocked. What led to it counts no more."), &back(act.field("back"), LOCKS))
        }
        Err(refused) => act.visit.refused(&refused),
    }
}
