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
use super::paths::{FINDINGS, HOME, LOCKS, OBSERVED, ORPHANS};
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

/// Of some things it matters here that there is one.
#[derive(Deserialize)]
struct Something {}

/// The page.
pub(super) async fn show(visit: Visit) -> Response {
    let found = found(&visit).await;
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
                (state_of(&visit).await)
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

/// How many items a list has.
async fn number(visit: &Visit, call: &str) -> Result<String, Refused> {
    let list: Listed<Something> = visit.client.get(&format!("{call}?limit=1000")).await?;
    let more = if list.next_cursor.is_some() { " or more" } else { "" };
    Ok(format!("{}{more}", list.items.len()))
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

async fn state_of(visit: &Visit) -> Markup {
    let readiness: Result<Readiness, Refused> = visit.client.get_whatever_the_status("/readyz").await;
    let maintenance: Result<Maintenance, Refused> = visit.client.get("/v1/maintenance").await;
    let (locks, orphans) = (number(visit, "/v1/locks").await, number(visit, "/v1/orphans").await);
    let counted = |page: &str, number: Result<String, Refused>| match number {
        Ok(number) => html! { a href=(page) { (number) } },
        Err(refused) => unknown(&refused),
    };
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
            div { dt { "Data of places" } dd { (places(&visit.client.get_text("/metrics").await.unwrap_or_default())) } }
            div { dt { "Locks on logins" } dd { (counted(LOCKS, locks)) } }
            div { dt { "Paid, and without a tenant" } dd { (counted(ORPHANS, orphans)) } }
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

/// How old what knows places is, as the metrics say.
fn places(metrics: &str) -> String {
    const DAY: u64 = 86_400;
    let ages = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("session_gateway_geo_age_seconds{database=\"")?;
        let (database, age) = rest.split_once("\"} ")?;
        let what = if database == "city" { "cities" } else { "networks" };
        let days = age.parse::<u64>().ok()? / DAY;
        Some(format!("{what} {} old", words::count(days, "day", "days")))
    });
    let ages: Vec<String> = ages.collect();
    if ages.is_empty() { String::from("none") } else { ages.join(", ") }
}

fn monitoring(visit: &Visit) -> Markup {
    match visit.console.admin.config().monitor.as_ref().map(|rules| rules.mode) {
        Some(MonitorMode::Enforce) => html! { "on: what is found is acted on" },
        Some(MonitorMode::Observe) => html! { "observes: " a href=(OBSERVED) { "what would have been done" } },
        None => html! { "off" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn the_age_of_what_knows_places_is_told_in_days() {
        let metrics = "# TYPE session_gateway_geo_age_seconds gauge\n\
                       session_gateway_geo_age_seconds{database=\"city\"} 90000\n\
                       session_gateway_geo_age_seconds{database=\"asn\"} 259200\n";
        assert_eq!(places(metrics), "cities 1 day old, networks 3 days old");
        assert_eq!(places(""), "none");
        assert_eq!(places(&Metrics::new().encode()), "none");
    }

    #[test]
    fn findings_are_counted_on_their_day_and_older_ones_not_at_all() {
        let finding = |found_at: &str, severity: &str| -> Finding {
            serde_json::from_value(serde_json::json!({
                "id": "1-0", "found_at": found_at, "type": "X", "severity": severity, "observed": false, "tenant": null,
                "user": null, "kind": null, "session_id": null, "account": null, "address": null, "evidence": {},
                "actions": [], "repeats": 0, "verdict": null, "verdict_by": null, "verdict_at": null,
            }))
            .expect("a finding")
        };
        let list = [
            finding("2023-11-14T00:00:00.000Z", "high"),
            finding("2023-11-13T23:59:59.999Z", "medium"),
            finding("2023-11-13T00:00:00.000Z", "UNKNOWN"),
            finding("2023-11-01T00:00:00.000Z", "low"),
            finding("2023-10-31T23:59:59.999Z", "high"),
        ];
        let days = days(&list, WallTime::from_micros(1_700_000_000_000_000));
        assert_eq!(days.len(), 14);
        let day = |date: &str, high, medium, low| Day { date: date.to_owned(), high, medium, low };
        assert_eq!((&days[13], &days[12]), (&day("2023-11-14", 1, 0, 0), &day("2023-11-13", 0, 1, 1)));
        assert_eq!((&days[0], &days[1]), (&day("2023-11-01", 0, 0, 1), &day("2023-11-02", 0, 0, 0)));
    }
}
