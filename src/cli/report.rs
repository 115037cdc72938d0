//! `report`: what the monitoring counted over some days, as a table, for programs, for spreadsheets, or as a page.

mod page;
mod sums;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::api::{ApiOptions, Trouble, operate};
use super::output::{say, say_json, write_out};
use super::table::{row, shown};
use crate::clock::{Clock as _, SystemClock, WallTime};
use crate::config::{AdminRole, duration};
use crate::monitor::{Day, Report};
use sums::{Sums, heading};

/// Options of `report`.
#[derive(Args, Debug)]
pub struct ReportOptions {
    /// Of sessions of this tenant; a comma stands for users who have none [default: all, and logins that failed]
    #[arg(long)]
    pub tenant: Option<String>,
    /// The first day (UTC): 2026-11-24, or how long ago, as 30d [default: six days before the last]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Day>,
    /// The last day: 2026-11-30, or how long ago [default: today]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub until: Option<Day>,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReportFormat {
    /// Aligned columns
    Table,
    /// As the API has it
    Json,
    /// Comma-separated, with a heading
    Csv,
    /// One page, which needs nothing from elsewhere
    Html,
}

/// Writes it.
#[must_use]
pub fn report(options: &ReportOptions) -> ExitCode {
    operate(&options.api, &[AdminRole::Read], async |client| {
        let days = [("start_date", options.since), ("end_date", options.until)];
        let days = days.map(|(name, day)| (name, day.map(|day| day.to_string())));
        let [since, until] = &days;
        let query = super::list::given(&[("tenant", &options.tenant), (since.0, &since.1), (until.0, &until.1)]);
        let answer = client.get("/v1/report", &query).await?;
        if options.json || matches!(options.format, ReportFormat::Json) {
            say_json(&answer);
            return Ok(());
        }
        let report: Report = serde_json::from_value(answer)
            .map_err(|error| Trouble::Failed(format!("the gateway answers with another form of report: {error}")))?;
        match options.format {
            ReportFormat::Csv => {
                write_out(&report.csv().map_err(|error| Trouble::Failed(error.to_string()))?);
            }
            ReportFormat::Html => write_out(page::page(&report).as_bytes()),
            ReportFormat::Table | ReportFormat::Json => lines(&report).iter().for_each(say),
        }
        Ok(())
    })
}

/// A day, or how long ago.
fn day(text: &str) -> Result<Day, String> {
    day_before(text, SystemClock.wall())
}

fn day_before(text: &str, now: WallTime) -> Result<Day, String> {
    if let Ok(day) = text.parse() {
        return Ok(day);
    }
    let ago = duration(text).map_err(|_| String::from("write a day as 2026-11-24, or how long ago as 30d"))?;
    let micros = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    Ok(Day::of(WallTime::from_micros(now.as_micros().saturating_sub(micros))))
}

/// For people at a terminal: one block after the other, those that have nothing in them left out.
fn lines(report: &Report) -> Vec<String> {
    let sums = Sums::of(report);
    let mut lines = vec![heading(report)];
    for block in sums.blocks(report) {
        if block.rows.is_empty() {
            continue;
        }
        lines.extend([String::new(), format!("{}:", block.title)]);
        let mut rows = vec![block.columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>()];
        rows.extend(block.rows.iter().map(|cells| cells.iter().map(|cell| shown(cell)).collect()));
        let width = |column: usize| rows.iter().filter_map(|cells| cells.get(column)).map(String::len).max();
        let widths: Vec<usize> = (0..block.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        lines.extend(rows.iter().map(|cells| row(cells, &widths)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{CountOf, Counted, Counts, Verdict};
    use crate::session::{TenantId, UserId};

    /// A week with something of everything, and with what a client may have chosen.
    pub(super) fn week() -> Report {
        let last: Day = "2026-11-30".parse().expect("a day");
        let found = |severity: &str, observed| Counted::Finding {
            kind: "IMPOSSIBLE_TRAVEL".into(),
            severity: severity.into(),
            observed,
        };
        let about = |user: &str| Counted::FindingAbout {
            tenant: TenantId::parse("acme").expect("a tenant"),
            user: UserId::parse(user).expect("a user"),
        };
        let verdict = |verdict| Counted::Verdict { kind: "IMPOSSIBLE_TRAVEL".into(), verdict };
        let counts: Counts = vec![
            (found("high", false), 3),
            (found("low", true), 1),
            (Counted::Action { action: "reauth".into(), observed: false }, 2),
            (verdict(Verdict::Expected), 1),
            (verdict(Verdict::Malicious), 3),
            (Counted::Login, 1200),
            (Counted::FailedLogin, 80),
            (Counted::Lock, 2),
            (about("<script>alert(1)</script>"), 4),
        ];
        let days = last.before(6).until(last).map(|day| (day, if day == last { counts.clone() } else { Vec::new() }));
        Report::of(&CountOf::All, &days.collect::<Vec<_>>())
    }

    #[test]
    fn a_day_is_a_date_or_how_long_ago() {
        let now = WallTime::from_micros("2026-11-30".parse::<Day>().expect("a day").begins().as_micros() + 1);
        for (text, expected) in
            [("2026-11-24", Some("2026-11-24")), ("7d", Some("2026-11-23")), ("1h", Some("2026-11-29"))]
        {
            assert_eq!(day_before(text, now).ok().map(|day| day.to_string()).as_deref(), expected);
        }
        for wrong in ["", "yesterday", "2026-11-31", "24.11.2026"] {
            assert!(day_before(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_adds_up_the_days_and_shows_one_line_for_each() {
        let lines = lines(&week());
        let text = lines.join("\n");
        assert!(text.starts_with("Monitoring from 2026-11-24 to 2026-11-30 (UTC), all tenants\n"), "{text}");
        for line in [
            "2026-11-24  0         0       0         0",
            "2026-11-30  4         1200    80        2",
            "IMPOSSIBLE_TRAVEL  high      no        3",
            "IMPOSSIBLE_TRAVEL  1         3          25 %",
            "reauth  no        2",
        ] {
            assert!(lines.iter().any(|one| one == line), "{line}: {text}");
        }
        assert!(text.is_ascii());
    }

    #[test]
    fn a_spreadsheet_has_a_heading_and_a_line_for_each_count() {
        let text = String::from_utf8(week().csv().expect("rows")).expect("text");
        assert!(text.starts_with("date,what,name,severity,observed,count\n"), "{text}");
        assert!(text.contains("\n2026-11-30,finding,IMPOSSIBLE_TRAVEL,high,no,3\n"), "{text}");
        assert!(text.contains("\n2026-11-30,verdict expected,IMPOSSIBLE_TRAVEL,,,1\n"), "{text}");
    }
}
