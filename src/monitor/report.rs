//! A report: what was counted over some days, put together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CountOf, Counted, Counts, Day};

/// The most days of a report.
pub const MOST_REPORT_DAYS: usize = 92;
/// How many of the users with the most findings are named.
const TOP_USERS: usize = 10;

/// What the monitoring counted over some days
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Of this tenant; null: of all
    #[schema(required)]
    pub tenant: Option<String>,
    /// The first day, in UTC
    pub start_date: String,
    /// The last day
    pub end_date: String,
    /// Each of the days
    pub days: Vec<ReportDay>,
    /// What was found; the same again within `alerts.repeat` counts once
    pub findings: Vec<CountedFindings>,
    /// What was done about it when it was found first, or would have been; what could not be done is left out
    pub actions: Vec<CountedActions>,
    /// What was said of findings, by when it was said
    pub verdicts: Vec<CountedVerdicts>,
    /// The users with the most findings, the most first
    pub top_users: Vec<TopUser>,
}

/// A day of a report
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportDay {
    /// As `2026-11-24`
    pub date: String,
    /// What was found
    pub findings: u64,
    /// Logins that made a session
    pub logins: u64,
    /// Logins that failed; null in the report of a tenant: whose they would have been nobody knows
    #[schema(required)]
    pub failures: Option<u64>,
    /// Locks on logins; null in the report of a tenant
    #[schema(required)]
    pub locks: Option<u64>,
}

/// Findings of a day, alike
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedFindings {
    /// As `2026-11-24`
    pub date: String,
    /// As `SUSPICIOUS_FAILED_AUTH_ATTEMPTS`
    #[serde(rename = "type")]
    pub kind: String,
    /// How bad they are: `low`, `medium` or `high`
    pub severity: String,
    /// Whether they were only observed
    pub observed: bool,
    /// How many
    pub count: u64,
}

/// Actions of a day, alike
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedActions {
    /// As `2026-11-24`
    pub date: String,
    /// As `lock`
    pub action: String,
    /// Whether it would only have been done
    pub observed: bool,
    /// How often
    pub count: u64,
}

/// Verdicts of a day, alike
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedVerdicts {
    /// As `2026-11-24`
    pub date: String,
    /// The type of the findings
    #[serde(rename = "type")]
    pub kind: String,
    /// `expected` or `malicious`
    pub verdict: String,
    /// How often
    pub count: u64,
}

/// A user with findings
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopUser {
    /// The user's tenant; null: none
    #[schema(required)]
    pub tenant: Option<String>,
    /// The user
    pub user: String,
    /// The kind of the user's login (`login.kind`)
    #[schema(required)]
    pub kind: Option<String>,
    /// How many findings
    pub findings: u64,
}

impl Report {
    /// Of what was counted on each of these days, in their order.
    #[must_use]
    pub fn of(of: &CountOf, days: &[(Day, Counts)]) -> Self {
        let (tenant, of_all) = match of {
            CountOf::All => (None, true),
            CountOf::Tenant(tenant) => (Some(tenant.shown().to_owned()), false),
        };
        let date = |day: Option<&(Day, Counts)>| day.map(|(day, _)| day.to_string()).unwrap_or_default();
        let (start_date, end_date) = (date(days.first()), date(days.last()));
        let mut report = Self {
            tenant,
            start_date,
            end_date,
            days: Vec::new(),
            findings: Vec::new(),
            actions: Vec::new(),
            verdicts: Vec::new(),
            top_users: Vec::new(),
        };
        let mut users = BTreeMap::new();
        for (day, counts) in days {
            let date = day.to_string();
            let mut on =
                ReportDay { date, findings: 0, logins: 0, failures: of_all.then_some(0), locks: of_all.then_some(0) };
            let mut counts = counts.clone();
            counts.sort();
            for (counted, count) in counts {
                report.add(&mut on, &mut users, &counted, count);
            }
            report.days.push(on);
        }
        let mut users: Vec<TopUser> = users.into_values().collect();
        users.sort_by_key(|user| std::cmp::Reverse(user.findings));
        users.truncate(TOP_USERS);
        report.top_users = users;
        report
    }

    fn add(&mut self, on: &mut ReportDay, users: &mut BTreeMap<String, TopUser>, counted: &Counted, count: u64) {
        let date = on.date.clone();
        let add = |to: &mut Option<u64>| {
            if let Some(to) = to {
                *to = to.saturating_add(count);
            }
        };
        match counted {
            Counted::Finding { kind, severity, observed } => {
                on.findings = on.findings.saturating_add(count);
                let (kind, severity, observed) = (kind.to_string(), severity.to_string(), *observed);
                self.findings.push(CountedFindings { date, kind, severity, observed, count });
            }
            Counted::Action { action, observed } => {
                self.actions.push(CountedActions { date, action: action.to_string(), observed: *observed, count });
            }
            Counted::Verdict { kind, verdict } => {
                let (kind, verdict) = (kind.to_string(), verdict.as_str().to_owned());
                self.verdicts.push(CountedVerdicts { date, kind, verdict, count });
            }
            Counted::Login => on.logins = on.logins.saturating_add(count),
            Counted::FailedLogin => add(&mut on.failures),
            Counted::Lock => add(&mut on.locks),
            Counted::FindingAbout { tenant, user } => {
                let of = users.entry(counted.encode()).or_insert_with(|| TopUser {
                    tenant: tenant.name().map(str::to_owned),
                    user: user.as_str().to_owned(),
                    kind: user.kind().map(str::to_owned),
                    findings: 0,
                });
                of.findings = of.findings.saturating_add(count);
            }
        }
    }

    /// The same for spreadsheets, with a heading: comma-separated, and nothing in it is computed.
    ///
    /// # Errors
    /// None that a report could have.
    pub fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(REPORT_COLUMNS)?;
        for row in self.rows() {
            writer.write_record(row)?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }

    /// The same as a table: each row says on which day, what, of which name, how bad, whether only observed, and how often.
    fn rows(&self) -> Vec<[String; 6]> {
        let mut rows = Vec::new();
        let observed = |observed: bool| if observed { "yes" } else { "no" };
        let mut row = |date: &str, what: &str, name: &str, severity: &str, observed: &str, count: u64| {
            let texts = [date, what, name, severity, observed].map(text_cell);
            let [date, what, name, severity, observed] = texts;
            rows.push([date, what, name, severity, observed, count.to_string()]);
        };
        for day in &self.days {
            let failures = day.failures.map(|count| ("failures", count));
            let locks = day.locks.map(|count| ("locks", count));
            for (what, count) in [Some(("logins", day.logins)), failures, locks].into_iter().flatten() {
                row(&day.date, what, "", "", "", count);
            }
        }
        for CountedFindings { date, kind, severity, observed: only, count } in &self.findings {
            row(date, "finding", kind, severity, observed(*only), *count);
        }
        for CountedActions { date, action, observed: only, count } in &self.actions {
            row(date, "action", action, "", observed(*only), *count);
        }
        for CountedVerdicts { date, kind, verdict, count } in &self.verdicts {
            row(date, &format!("verdict {verdict}"), kind, "", "", *count);
        }
        for TopUser { tenant, user, kind, findings } in &self.top_users {
            let kind = kind.as_ref().map(|kind| format!("{kind}/")).unwrap_or_default();
            let tenant = tenant.as_deref().unwrap_or(",");
            let name = if self.tenant.is_some() { format!("{kind}{user}") } else { format!("{tenant}/{kind}{user}") };
            row("", "top user", &name, "", "", *findings);
        }
        rows
    }
}

/// The heading of [`Report::rows`].
const REPORT_COLUMNS: [&str; 6] = ["date", "what", "name", "severity", "observed", "count"];

/// A text in a table: one that a spreadsheet would compute has an apostrophe before it.
#[must_use]
pub fn text_cell(text: &str) -> String {
    let computes = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if computes { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::session::{TenantId, UserId};

    fn about(tenant: &str, user: &str) -> Counted {
        let tenant = TenantId::parse_shown(tenant).expect("a tenant");
        Counted::FindingAbout { tenant, user: UserId::parse_kept(user).expect("a user") }
    }

    fn found(severity: &str) -> Counted {
        Counted::Finding { kind: "IMPOSSIBLE_TRAVEL".into(), severity: severity.into(), observed: false }
    }

    fn days() -> Vec<(Day, Counts)> {
        let day: Day = "2026-11-24".parse().expect("a day");
        let verdict = Counted::Verdict { kind: "IMPOSSIBLE_TRAVEL".into(), verdict: Verdict::Expected };
        let first = vec![(found("high"), 2), (found("low"), 1), (Counted::Login, 5), (about("acme", "7"), 3)];
        let second = vec![
            (Counted::FailedLogin, 9),
            (Counted::Lock, 1),
            (verdict, 1),
            (Counted::Action { action: "lock".into(), observed: true }, 1),
            (about("acme", "=cmd|'/c'!A1"), 4),
            (about("acme", "7"), 2),
        ];
        vec![(day.before(1), first), (day, second)]
    }

    #[test]
    fn a_report_adds_up_what_was_counted_on_its_days() {
        let report = Report::of(&CountOf::All, &days());
        assert_eq!((report.start_date.as_str(), report.end_date.as_str()), ("2026-11-23", "2026-11-24"));
        let of_days: Vec<_> =
            report.days.iter().map(|day| (day.findings, day.logins, day.failures, day.locks)).collect();
        assert_eq!(of_days, [(3, 5, Some(0), Some(0)), (0, 0, Some(9), Some(1))]);
        let top: Vec<_> = report.top_users.iter().map(|user| (user.user.as_str(), user.findings)).collect();
        assert_eq!(top, [("7", 5), ("=cmd|'/c'!A1", 4)]);
        assert_eq!((report.actions[0].observed, report.verdicts[0].verdict.as_str()), (true, "expected"));
        let acme = CountOf::Tenant(TenantId::parse("acme").expect("a tenant"));
        let of_tenant = Report::of(&acme, &days());
        assert!(of_tenant.days.iter().all(|day| day.failures.is_none() && day.locks.is_none()));
        assert_eq!(of_tenant.tenant.as_deref(), Some("acme"));
    }

    #[test]
    fn nothing_in_a_table_is_computed() {
        let acme = CountOf::Tenant(TenantId::parse("acme").expect("a tenant"));
        let rows = Report::of(&acme, &days()).rows();
        assert!(rows.iter().any(|row| row[2] == "'=cmd|'/c'!A1"), "{rows:?}");
        assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
        for (text, cell) in [("-1", "'-1"), ("@x", "'@x"), ("+1", "'+1"), ("a=b", "a=b"), ("", ""), ("\t=1", "'\t=1")] {
            assert_eq!(text_cell(text), cell);
        }
    }
}
