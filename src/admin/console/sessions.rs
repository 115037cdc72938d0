//! `/console/sessions`: live sessions, one of them, their holds and their end.

use axum::extract::RawPathParams;
use axum::response::Response;
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::calls::{Refused, encoded, with_query};
use super::finding::{Listed, user_link};
use super::parts::{field, filter, form, live, maybe, moment, more, outside, reason_field, table};
use super::paths::{SESSIONS, back};
use super::visit::{Act, Visit};
use super::words::count;
use crate::config::AdminRole;

/// A live session, as the API says it.
#[derive(Deserialize)]
struct Session {
    id: String,
    tenant: Option<String>,
    tenants: Vec<String>,
    user: String,
    kind: Option<String>,
    role: Option<String>,
    remembered: bool,
    created_at: String,
    last_seen_at: Option<String>,
    expires_at: String,
    idle_expires_at: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    held: bool,
    held_at: Option<String>,
    held_for: Option<String>,
}

/// Whether a session is held, as the API says it.
#[derive(Deserialize)]
struct Held {
    held: bool,
    changed: bool,
}

/// What ended, as the API says it.
#[derive(Deserialize)]
pub(super) struct Ended {
    invalidated_sessions: u64,
    #[serde(default)]
    pending: bool,
}

impl Ended {
    /// As a sentence.
    pub(super) fn said(&self) -> String {
        let number = count(self.invalidated_sessions, "session has ended", "sessions have ended");
        if self.pending { format!("{number}, and more; they are still being counted.") } else { format!("{number}.") }
    }
}

/// Whose sessions a page is about.
struct Whose<'a> {
    tenant: Option<&'a str>,
    user: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Whose<'a> {
    fn of(visit: &'a Visit) -> Self {
        Self { tenant: visit.parameter("tenant"), user: visit.parameter("user"), kind: visit.parameter("kind") }
    }

    fn parameters(&self) -> [(&'static str, Option<&'a str>); 3] {
        [("tenant", self.tenant), ("user", self.user), ("kind", self.kind)]
    }

    /// The parameters, and one more.
    fn and<'b>(&'b self, name: &'b str, value: Option<&'b str>) -> impl Iterator<Item = (&'b str, Option<&'b str>)> {
        self.parameters().into_iter().chain([(name, value)])
    }
}

/// The list.
pub(super) async fn list(visit: Visit) -> Response {
    visit.show("Live sessions", listed(&visit).await)
}

async fn listed(visit: &Visit) -> Result<Markup, Refused> {
    let whose = Whose::of(visit);
    let cursor = visit.parameter("cursor");
    let list: Listed<Session> = visit.client.get(&with_query("/v1/sessions", whose.and("cursor", cursor))).await?;
    let here = with_query(SESSIONS, whose.and("cursor", cursor));
    let next = list.next_cursor.as_deref().map(|next| with_query(SESSIONS, whose.and("cursor", Some(next))));
    let end_all = with_query(&format!("{SESSIONS}/end-all"), whose.parameters());
    Ok(html! {
        (filter(SESSIONS, &html! {
            (field("Tenant (a comma for none)", "tenant", whose.tenant))
            (field("User", "user", whose.user))
            (field("Kind of login", "kind", whose.kind))
        }))
        @if whose.user.is_some() && visit.may(AdminRole::Operate) {
            p { a.button href=(end_all) { "End all sessions of this user…" } }
        }
        (live("sessions", "", &sessions(visit, &list.items, &here)))
        (more(next.as_deref(), "More sessions"))
    })
}

fn sessions(visit: &Visit, list: &[Session], back: &str) -> Markup {
    if list.is_empty() {
        return html! { p.empty { "There is no live session on this page." } };
    }
    let row = |session: &Session| {
        vec![
            user_link(session.tenant.as_deref(), &session.user, session.kind.as_deref()),
            html! {
                a href=(page_of(&session.id)) { code { (outside(&session.id)) } }
                @if session.held { " " span.badge { "held" } }
            },
            html! { (moment(&session.created_at, visit.now())) },
            session.last_seen_at.as_deref().map_or_else(|| maybe(None), |at| moment(at, visit.now())),
            maybe(session.address.as_deref()),
            maybe(session.user_agent.as_deref()),
            buttons(visit, session, back, None),
        ]
    };
    let columns = ["Whose", "Session", "Since", "Last seen", "Logged in from", "With", "Do"];
    table("Live sessions", &columns, &list.iter().map(row).collect::<Vec<_>>())
}

/// What an operator can do about a session: both buttons are of one form, so that its reason is for either.
fn buttons(visit: &Visit, session: &Session, back: &str, reason: Option<&Markup>) -> Markup {
    if !visit.may(AdminRole::Operate) {
        return maybe(None);
    }
    let (word, action) = if session.held { ("Release", "release") } else { ("Hold", "hold") };
    let page = page_of(&session.id);
    form(
        visit.form_token(),
        &format!("{page}/end"),
        "verdict",
        &html! {
            input type="hidden" name="back" value=(back);
            @if let Some(reason) = reason { (reason) }
            button formaction={ (page) "/" (action) } aria-label={ (word) " session " (session.id) } { (word) }
            button.danger aria-label={ "End session " (session.id) } { "End" }
        },
    )
}

fn page_of(id: &str) -> String {
    format!("{SESSIONS}/{}", encoded(id))
}

/// One of them.
pub(super) async fn show(visit: Visit, path: RawPathParams) -> Response {
    let shown = visit.client.get::<Session>(&call_of(&path)).await.map(|session| shown(&visit, &session));
    visit.show("A live session", shown)
}

fn shown(visit: &Visit, session: &Session) -> Markup {
    let now = visit.now();
    let time = |at: Option<&str>| at.map_or_else(|| maybe(None), |at| moment(at, now));
    html! {
        dl {
            div { dt { "Session" } dd { code { (outside(&session.id)) } } }
            div { dt { "Whose" } dd { (user_link(session.tenant.as_deref(), &session.user, session.kind.as_deref())) } }
            @if session.tenants.len() > 1 {
                div { dt { "Tenants to choose from" } dd { (outside(&session.tenants.join(", "))) } }
            }
            div { dt { "Role" } dd { (maybe(session.role.as_deref())) } }
            div { dt { "Logged in" } dd { (time(Some(&session.created_at))) @if session.remembered { ", to be remembered" } } }
            div { dt { "From" } dd { (maybe(session.address.as_deref())) } }
            div { dt { "With" } dd { (maybe(session.user_agent.as_deref())) } }
            div { dt { "Last seen" } dd { (time(session.last_seen_at.as_deref())) } }
            div { dt { "Held" } dd {
                @match &session.held_at {
                    Some(at) => { (moment(at, now)) " for " (maybe(session.held_for.as_deref())) }
                    None => "no",
                }
            } }
            div { dt { "Ends when idle" } dd { (time(session.idle_expires_at.as_deref())) } }
            div { dt { "Ends at the latest" } dd { (time(Some(&session.expires_at))) } }
        }
        @if visit.may(AdminRole::Operate) {
            h2 { "Do something about it" }
            p { "A session that is held goes on when it is released, or makes way for a new login of its user in that browser." }
            (buttons(visit, session, SESSIONS, Some(&reason_field())))
        }
    }
}

/// Ends one.
pub(super) async fn end(path: RawPathParams, act: Act) -> Response {
    let call = with_query(&call_of(&path), [("reason", act.field("reason"))]);
    match act.visit.client.call::<Ended>(Method::DELETE, &call, None).await {
        Ok(ended) => act.visit.done(ended.said(), &back(act.field("back"), SESSIONS)),
        Err(refused) => act.visit.refused(&refused),
    }
}

/// Holds one.
pub(super) async fn hold(path: RawPathParams, act: Act) -> Response {
    set_held(path, act, "hold").await
}

/// Lets one go on.
pub(super) async fn release(path: RawPathParams, act: Act) -> Response {
    set_held(path, act, "release").await
}

async fn set_held(path: RawPathParams, act: Act, action: &str) -> Response {
    let (call, body) = (format!("{}/{action}", call_of(&path)), json!({ "reason": act.field("reason") }));
    match act.visit.client.call::<Held>(Method::POST, &call, Some(&body)).await {
        Ok(Held { held, changed }) => {
            let said = match (held, changed) {
                (true, true) => "The session is held until its user logs in again, or it is released.",
                (true, false) => "The session was held already.",
                (false, true) => "The session goes on.",
                (false, false) => "The session was not held.",
            };
            act.visit.done(said.to_owned(), &back(act.field("back"), SESSIONS))
        }
        Err(refused) => act.visit.refused(&refused),
    }
}

fn call_of(path: &RawPathParams) -> String {
    let id = path.iter().find_map(|(name, value)| (name == "id").then_some(value)).unwrap_or_default();
    format!("/v1/sessions/{}", encoded(id))
}

/// Whether all of a user's are to end.
pub(super) async fn ask_end_all(visit: Visit) -> Response {
    visit.show("End all sessions of a user?", asked_end_all(&visit).await)
}

async fn asked_end_all(visit: &Visit) -> Result<Markup, Refused> {
    let whose = Whose::of(visit);
    let list: Listed<Session> = visit.client.get(&with_query("/v1/sessions", whose.and("limit", Some("1000")))).await?;
    let number = count(list.items.len() as u64, "live session", "live sessions");
    Ok(html! {
        p {
            "This ends " strong { (number) @if list.next_cursor.is_some() { ", or more," } } " of "
            (user_link(whose.tenant, whose.user.unwrap_or_default(), whose.kind))
            " at once. The user can log in again."
        }
        (form(visit.form_token(), &format!("{SESSIONS}/end-all"), "confirm", &html! {
            @for (name, value) in whose.parameters() {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            (reason_field())
            button.danger { "End them" }
            a.button href=(with_query(SESSIONS, whose.parameters())) { "Leave them" }
        }))
    })
}

/// Ends all of a user's.
pub(super) async fn end_all(act: Act) -> Response {
    let [tenant, user, kind] = ["tenant", "user", "kind"].map(|name| act.field(name));
    let path =
        format!("/v1/tenants/{}/users/{}/revoke", encoded(tenant.unwrap_or(",")), encoded(user.unwrap_or_default()));
    let call = with_query(&path, [("kind", kind)]);
    let body = json!({ "reason": act.field("reason") });
    match act.visit.client.call::<Ended>(Method::POST, &call, Some(&body)).await {
        Ok(ended) => {
            act.visit.done(ended.said(), &with_query(SESSIONS, [("tenant", tenant), ("user", user), ("kind", kind)]))
        }
        Err(refused) => act.visit.refused(&refused),
    }
}
