//! `/console`: how the gateway is, what was found by day, and the newest of it.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::calls::Refused;
use super::chart::{Day, by_day};
use super::finding::{Finding, Listed, findings};
use super::layout::why;
use super::parts::{live, more, outside, sentence};
use super::paths::{FINDINGS, HOME, LOCKS, OBSERVED};
use super::visit::Visit;
use super::words;
use crate::clock::WallTime;
use crate::monitor::MonitorMode;

/// The days of the chart.
const DAYS: u32 = 14;
/// The newest findings that are shown.
const SHOWN: usize = 10;

#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Warning {
    about: String,
    warning: String,
}

#[derive(Deserialize)]
struct Maintenance {
    on: bool,
}

/// Of a lock it matters here that there is one.
#[derive(Deserialize)]
struct Lock {}

/// The page.
pub(super) async fn show(visit: Visit) -> Response {
    let (state, found, locks) =
        (visit.client.get_whatever_the_status("/readyz").await, found(&visit).await, locks(&visit).await);
    let newest = match &found {
        Ok((_, list)) => list.first().map_or(String::new(), |finding| finding.id.clone()),
        Err(_) => String::new(),
    };
    let main = live(
        "overview",
        &newest,
        &html! {
            section aria-labelledby="state" {
                h2 #state { "State" }
                (state_of(&visit, state, locks).await)
            }
            section aria-labelledby="by-day" {
                h2 #by-day { "Findings by day" }
                @match &found {
                    Ok((days, _)) => (by_day(days)),
                    Err(refused) => p.problem { (why(refused)) },
                }
            }
            @if let Ok((_, list)) = &found {
                section aria-labelledby="newest" {
                    h2 #newest { "Newest findings" }
                    (findings(&visit, "The newest findings", list, HOME))
                    (more(Some(FINDINGS), "All findings"))
                }
            }
        },
    );
    let mut page = visit.page("Overview", &main);
    if let Err(refused) = found {
        *page.status_mut() = refused.status;
    }
    page
}

/// The findings of the chart's days, and the newest of them.
async fn found(visit: &Visit) -> Result<(Vec<Day>, Vec<Finding>), Refused> {
    let mut list: Listed<Finding> = visit.client.get("/v1/anomalies?limit=1000").await?;
    let days = days(&list.items, visit.now());
    list.items.truncate(SHOWN);
    Ok((days, list.items))
}

async fn locks(visit: &Visit) -> Result<(usize, bool), Refused> {
    let list: Listed<Lock> = visit.client.get("/v1/locks?limit=1000").await?;
    Ok((list.items.len(), list.next_cursor.is_some()))
}

/// How many there were on each of the last days.
fn days(list: &[Finding], now: WallTime) -> Vec<Day> {
    const DAY: u64 = 86_400_000_000;
    let mut days: Vec<Day> = (0..u64::from(DAYS))
        .rev()
        .map(|back| {
            let date = WallTime::from_micros(now.as_micros().saturating_sub(back * DAY)).rfc3339();
            Day { date: date.get(..10).unwrap_or_default().to_owned(), ..Day::default() }
        })
        .collect();
    for finding in list {
        let Some(day) = days.iter_mut().find(|day| finding.found_at.starts_with(&day.date)) else { continue };
        match finding.severity.as_str() {
            "high" => day.high += 1,
            "medium" => day.medium += 1,
            _ => day.low += 1,
        }
    }
    days
}

async fn state_of(
    visit: &Visit,
    readiness: Result<Readiness, Refused>,
    locks: Result<(usize, bool), Refused>,
) -> Markup {
    let maintenance: Result<Maintenance, Refused> = visit.client.get("/v1/maintenance").await;
    html! {
        dl.state {
            div { dt { "Gateway" } dd {
                @match &readiness {
                    Ok(state) if state.ready => span.fine { "ready" },
                    Ok(state) => { span.bad { "not ready" } @for reason in &state.reasons { " " (words::unready(reason)) } }
                    Err(refused) => (why(refused)),
                }
            } }
            div { dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) } }
            div { dt { "Maintenance" } dd {
                @match &maintenance {
                    Ok(Maintenance { on: true }) => span.bad { "on: the site is closed" },
                    Ok(Maintenance { on: false }) => "off",
                    Err(refused) => (unknown(refused)),
                }
            } }
            div { dt { "Monitoring" } dd { (monitoring(visit)) } }
            div { dt { "Locks on logins" } dd {
                @match &locks {
                    Ok((number, more)) => a href=(LOCKS) { (number) @if *more { " or more" } },
                    Err(refused) => (unknown(refused)),
                }
            } }
        }
        @if let Ok(state) = &readiness {
            @if !state.warnings.is_empty() {
                ul.warnings {
                    @for warning in &state.warnings { li { code { (warning.about) } " " (outside(&warning.warning)) } }
                }
            }
        }
    }
}

/// What the sections below say at length need not be said here.
fn unknown(refused: &Refused) -> Markup {
    if refused.status == StatusCode::SERVICE_UNAVAILABLE {
        html! { span.none { "not known: the session store does not answer" } }
    } else {
        html! { (outside(&sentence(&refused.detail))) }
    }
}

fn monitoring(visit: &Visit) -> Markup {
    match visit.console.admin.config().monitor.as_ref().map(|rules| rules.mode) {
        Some(MonitorMode::Enforce) => html! { "on: what is found is acted on" },
        Some(MonitorMode::Observe) => html! { "observes: " a href=(OBSERVED) { "what would have been done" } },
        None => html! { "off" },
    }
}
