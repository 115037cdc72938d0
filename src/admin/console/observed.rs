//! `/console/observed`: what would have been done, had the monitoring not only observed.

use std::collections::BTreeMap;

use axum::response::Response;
use maud::{Markup, html};

use super::calls::{Refused, with_query};
use super::finding::{Finding, Listed, findings};
use super::parts::{live, more, table};
use super::paths::{FINDINGS, OBSERVED};
use super::visit::Visit;
use super::words::{self, action};

/// How many of the newest are summed up.
const SUMMED_UP: usize = 1000;
/// How many are shown.
const SHOWN: usize = 20;

/// The page.
pub(super) async fn show(visit: Visit) -> Response {
    visit.show("What would have been done", shown(&visit).await)
}

async fn shown(visit: &Visit) -> Result<Markup, Refused> {
    let call = with_query("/v1/anomalies", [("observed", Some("true")), ("limit", Some(&SUMMED_UP.to_string()))]);
    let mut list: Listed<Finding> = visit.client.get(&call).await?;
    let (sums, number) = (sums(&list.items), list.items.len());
    let oldest = list.items.last().and_then(|oldest| oldest.found_at.get(..10)).unwrap_or_default().to_owned();
    list.items.truncate(SHOWN);
    let newest = list.items.first().map_or("", |finding| &finding.id);
    let all = with_query(FINDINGS, [("observed", Some("true"))]);
    Ok(html! {
        p { "With " code { "monitor.mode = \"observe\"" } " everything is counted and told, and nobody is refused. This is what "
            code { "\"enforce\"" } " would have done." }
        @if number > 0 {
            p { "Of the " (number) " newest observed findings, back to " (oldest) "." }
        }
        (live("observed", newest, &html! {
            @if !sums.is_empty() { (table("What would have been done, and how often", &["Finding", "Would have", "How often"], &sums)) }
            h2 { "The newest of them" }
            (findings(visit, "Observed findings, newest first", &list.items, OBSERVED))
        }))
        (more((number > SHOWN).then_some(all.as_str()), "All observed findings"))
    })
}

/// How often each would have been done for which finding, the most frequent first.
fn sums(list: &[Finding]) -> Vec<Vec<Markup>> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for finding in list {
        for taken in finding.actions.iter().filter(|taken| !taken.done) {
            *counts.entry((&finding.found, &taken.action)).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let row = |((found, would), count): ((&str, &str), u64)| {
        vec![
            html! { (words::finding(found).0) },
            html! { (super::parts::outside(&action(would, false, true))) },
            html! { (count) },
        ]
    };
    counts.into_iter().map(row).collect()
}
