//! A report added up over its days: what people read.

use std::collections::BTreeMap;

use super::super::table::shown;
use crate::monitor::{Report, TopUser};

/// What adds up over the days of a report.
#[derive(Debug, Default)]
pub(super) struct Sums<'a> {
    /// By type, severity, and whether only observed.
    findings: BTreeMap<(&'a str, &'a str, bool), u64>,
    /// By action, and whether only observed.
    actions: BTreeMap<(&'a str, bool), u64>,
    /// By type: how many were expected, and how many malicious.
    verdicts: BTreeMap<&'a str, (u64, u64)>,
}

/// What a report is of.
pub(super) fn heading(report: &Report) -> String {
    let of = match report.tenant.as_deref() {
        None => String::from("all tenants"),
        Some(",") => String::from("users without a tenant"),
        Some(tenant) => format!("tenant {}", shown(tenant)),
    };
    format!("Monitoring from {} to {} (UTC), {of}", report.start_date, report.end_date)
}

/// A table of a report.
pub(super) struct Block {
    pub(super) title: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

impl<'a> Sums<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut sums = Self::default();
        for found in &report.findings {
            *sums.findings.entry((&found.kind, &found.severity, found.observed)).or_default() += found.count;
        }
        for done in &report.actions {
            *sums.actions.entry((&done.action, done.observed)).or_default() += done.count;
        }
        for said in &report.verdicts {
            let (expected, malicious) = sums.verdicts.entry(&said.kind).or_default();
            *(if said.verdict == "expected" { expected } else { malicious }) += said.count;
        }
        sums
    }

    /// Its tables.
    pub(super) fn blocks(&self, report: &Report) -> Vec<Block> {
        let yes = |observed: bool| String::from(if observed { "yes" } else { "no" });
        let or_dash = |count: Option<u64>| count.map_or_else(|| String::from("-"), |count| count.to_string());
        let days = report.days.iter().map(|day| {
            let (failures, locks) = (or_dash(day.failures), or_dash(day.locks));
            vec![day.date.clone(), day.findings.to_string(), day.logins.to_string(), failures, locks]
        });
        let findings = self.findings.iter().map(|((kind, severity, observed), count)| {
            vec![(*kind).to_owned(), (*severity).to_owned(), yes(*observed), count.to_string()]
        });
        let actions = self
            .actions
            .iter()
            .map(|((action, observed), count)| vec![(*action).to_owned(), yes(*observed), count.to_string()]);
        let verdicts = self.verdicts.iter().map(|(kind, (expected, malicious))| {
            let rate = format!("{} %", expected.saturating_mul(100) / (expected + malicious).max(1));
            vec![(*kind).to_owned(), expected.to_string(), malicious.to_string(), rate]
        });
        let users = report.top_users.iter().map(|user| {
            let TopUser { tenant, user, kind, findings } = user;
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
            vec![or_dash(tenant), user.clone(), or_dash(kind), findings.to_string()]
        });
        vec![
            Block {
                title: "By day",
                columns: &["Day", "Findings", "Logins", "Failures", "Locks"],
                rows: days.collect(),
            },
            Block {
                title: "What was found",
                columns: &["Type", "Severity", "Observed", "Count"],
                rows: findings.collect(),
            },
            Block { title: "What was done", columns: &["Action", "Observed", "Count"], rows: actions.collect() },
            Block {
                title: "What was said of findings",
                columns: &["Type", "Expected", "Malicious", "False alarms"],
                rows: verdicts.collect(),
            },
            Block {
                title: "Users with the most findings",
                columns: &["Tenant", "User", "Kind", "Findings"],
                rows: users.collect(),
            },
        ]
    }
}
