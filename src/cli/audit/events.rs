//! `audit query`, `tail` and `export`: what the admin API knows of what happened.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{AuditRecord, AuditType, CsvWriter};
use crate::cli::api::{ApiOptions, Client, Trouble, operate};
use crate::cli::list::{ListOptions, list};
use crate::cli::output::{complain, escaped};
use crate::cli::table::{Column, cell, fit, row, shown, terminal_width};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AdminRole, duration};

const PATH: &str = "/v1/audit";
const COLUMNS: [Column; 8] = [
    ("TIME", "time"),
    ("TYPE", "type"),
    ("OUTCOME", "outcome"),
    ("TENANT", "tenant"),
    ("USER", "user"),
    ("ACTOR", "actor"),
    ("REASON", "reason"),
    ("ADDRESS", "address"),
];
/// The widths of the columns of `tail`, which cannot know what is to come.
const WIDTHS: [usize; 8] = [20, 16, 7, 12, 12, 16, 20, 15];
/// Between two looks of `tail -f`.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far back each look goes: events of another gateway come up to a second late, and clocks differ.
const OVERLAP: Duration = Duration::from_secs(10);
/// The most events that one look shows, the newest.
const MOST_A_LOOK: u64 = 100_000;

/// Which events.
#[derive(Args, Clone, Debug)]
pub struct Filter {
    /// At this time or later: RFC 3339, or how long ago, as 15m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Before this time: RFC 3339, or how long ago, as 15m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Of this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Of users of this kind (`login.kind`)
    #[arg(long = "kind", value_name = "KIND")]
    pub user_kind: Option<String>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    pub kind: Option<String>,
}

/// The types of events, which shells complete.
fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(AuditType::ALL.map(AuditType::as_str))
}

/// Options of `audit query`.
#[derive(Args, Clone, Debug)]
pub struct QueryOptions {
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
    /// How much of it.
    #[command(flatten)]
    pub list: ListOptions,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `audit tail`.
#[derive(Args, Clone, Debug)]
pub struct TailOptions {
    /// Go on with what happens, until it is interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Look back to: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment, default_value = "1h")]
    pub since: Timestamp,
    /// Of this tenant
    #[arg(long)]
    pub tenant: Option<String>,
    /// Of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Of users of this kind (`login.kind`)
    #[arg(long = "kind", value_name = "KIND")]
    pub user_kind: Option<String>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    pub kind: Option<String>,
    /// The most events of the past
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub limit: u64,
    /// Print each event as JSON, one a line
    #[arg(long)]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Options of `audit export`.
#[derive(Args, Clone, Debug)]
pub struct ExportOptions {
    /// Which events.
    #[command(flatten)]
    pub filter: Filter,
    /// JSON lines, or a table for spreadsheets
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: Format,
    /// The same as --format jsonl
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// The most events [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// How events are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated, with a heading
    Csv,
}

/// A time, or a duration before now.
fn moment(text: &str) -> Result<Timestamp, String> {
    moment_before(text, now())
}

fn moment_before(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = duration(text)
        .map_err(|_| String::from("write a time as 2026-11-24T17:00:00Z, or how long ago as 15m or 7d"))?;
    now.checked_sub(ago).map_err(|_| String::from("is too long ago"))
}

fn now() -> Timestamp {
    let micros = i64::try_from(SystemClock.wall().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// Parameters with values of their own.
struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    fn new(times: [(&'static str, Option<Timestamp>); 2], texts: [(&'static str, &Option<String>); 4]) -> Self {
        let times = times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string())));
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        Self(times.chain(texts).collect())
    }

    fn of(filter: &Filter) -> Self {
        let Filter { tenant, user, user_kind, kind, .. } = filter;
        let texts = [("tenant", tenant), ("user", user), ("kind", user_kind), ("type", kind)];
        Self::new([("since", filter.since), ("until", filter.until)], texts)
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// Lists events, the oldest first.
#[must_use]
pub fn query(options: &QueryOptions) -> ExitCode {
    operate(&options.api, &[AdminRole::Read], async |client| {
        let parameters = Parameters::of(&options.filter);
        list(client, PATH, parameters.pairs(), options.list, &COLUMNS, "no such events").await
    })
}

/// Writes events as they come from the API: all of them need not fit into memory.
#[must_use]
pub fn export(options: &ExportOptions) -> ExitCode {
    operate(&options.api, &[AdminRole::Read], async |client| {
        let parameters = Parameters::of(&options.filter);
        let mut pages = client.pages(PATH, parameters.pairs(), options.limit.unwrap_or(u64::MAX));
        let mut csv = match options.format {
            Format::Csv => Some(written(CsvWriter::new(io::stdout().lock()))?),
            Format::Jsonl => None,
        };
        while let Some(events) = pages.next().await? {
            for event in events {
                written(match &mut csv {
                    Some(csv) => csv.write(&read(event)?),
                    None => writeln!(io::stdout().lock(), "{event}"),
                })?;
            }
        }
        written(csv.map_or_else(|| io::stdout().flush(), |mut csv| csv.flush()))
    })
}

fn read(event: Value) -> Result<AuditRecord, Trouble> {
    serde_json::from_value(event)
        .map_err(|error| Trouble::Failed(format!("the gateway tells of an event in another form: {error}")))
}

/// An export that is not whole must not look as if it were.
fn written<T>(outcome: io::Result<T>) -> Result<T, Trouble> {
    outcome.map_err(|error| {
        if is_without_reader(&error) {
            return Trouble::NoReader;
        }
        Trouble::Failed(format!("standard output: {error}; what was written is not whole"))
    })
}

/// Also where the writer of spreadsheets wrapped it.
fn is_without_reader(error: &io::Error) -> bool {
    let cause = |error: &csv::Error| matches!(error.kind(), csv::ErrorKind::Io(io) if is_without_reader(io));
    error.kind() == io::ErrorKind::BrokenPipe
        || error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(cause)
}

/// Shows the last events, and with `--follow` what comes after.
#[must_use]
pub fn tail(options: &TailOptions) -> ExitCode {
    operate(&options.api, &[AdminRole::Read], async |client| {
        let mut seen = Seen::default();
        let widths = widths(terminal_width());
        let heading = COLUMNS.map(|(heading, _)| heading.to_owned());
        let mut is_open = options.json || put(&row(&heading, &widths));
        let (events, newest) = look(client, options, options.since, &mut seen, options.limit).await?;
        is_open = is_open && events.iter().all(|event| put(&event_line(event, options.json, &widths)));
        let mut since = newest.unwrap_or(options.since);
        let mut is_away = false;
        while options.follow && is_open {
            tokio::time::sleep(INTERVAL).await;
            let back = since.checked_sub(OVERLAP).unwrap_or(since).max(options.since);
            match look(client, options, back, &mut seen, MOST_A_LOOK).await {
                Ok((events, newest)) => {
                    is_open = events.iter().all(|event| put(&event_line(event, options.json, &widths)));
                    since = newest.unwrap_or(since).max(since);
                    is_away = false;
                }
                Err(Trouble::Unavailable(text)) => {
                    if !is_away {
                        complain(format_args!("{text}; trying on"));
                    }
                    is_away = true;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    })
}

/// Writes a line; `false`: its reader has gone.
fn put(line: &str) -> bool {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).is_ok()
}

fn event_line(event: &Value, json: bool, widths: &[usize]) -> String {
    if json { escaped(&event.to_string()) } else { row(&COLUMNS.map(|(_, member)| cell(event, member)), widths) }
}

/// The widths of the columns on a terminal of this width. Where lines go elsewhere they are not cut.
fn widths(terminal: Option<usize>) -> Vec<usize> {
    let mut widths = WIDTHS.to_vec();
    match terminal {
        Some(width) => fit(&mut widths, width),
        // What is read by a program is whole; the first columns still stand below each other.
        None => widths.fill(0),
    }
    widths
}

/// The last `most` events since then that were not seen before, and the newest one's time, not after now.
async fn look(
    client: &Client,
    options: &TailOptions,
    since: Timestamp,
    seen: &mut Seen,
    most: u64,
) -> Result<(VecDeque<Value>, Option<Timestamp>), Trouble> {
    let TailOptions { tenant, user, user_kind, kind, .. } = options;
    let texts = [("tenant", tenant), ("user", user), ("kind", user_kind), ("type", kind)];
    let parameters = Parameters::new([("since", Some(since)), ("until", None)], texts);
    let mut pages = client.pages(PATH, parameters.pairs(), u64::MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (mut last, mut newest, now) = (VecDeque::new(), None, now());
    while let Some(events) = pages.next().await? {
        for event in events {
            let time = event.get("time").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
            // A gateway whose clock is ahead must not hide what the others tell.
            newest = newest.max(time.map(|time| time.min(now)));
            if seen.is_new(&event, time.unwrap_or(since)) {
                last.push_back(event);
            }
            if last.len() > most {
                last.pop_front();
            }
        }
        if let Some(newest) = newest {
            seen.forget_before(newest.checked_sub(OVERLAP * 2).unwrap_or(newest));
        }
    }
    Ok((last, newest))
}

/// The events that a look may find again, by the chain that they are in and their number there.
#[derive(Default)]
struct Seen(HashMap<(String, String), Timestamp>);

impl Seen {
    fn is_new(&mut self, event: &Value, time: Timestamp) -> bool {
        let member = |name: &str| event.get(name).map(|value| shown(&value.to_string())).unwrap_or_default();
        self.0.insert((member("instance"), member("seq")), time).is_none()
    }

    fn forget_before(&mut self, time: Timestamp) {
        self.0.retain(|_, seen| *seen >= time);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("2026-11-24T17:00:00Z", Some("2026-11-24T17:00:00Z")),
            ("2026-11-24T17:00:00+01:00", Some("2026-11-24T16:00:00Z")),
            ("15m", Some("2026-11-28T11:45:00Z")),
            ("1d12h", Some("2026-11-27T00:00:00Z")),
            ("yesterday", None),
            ("", None),
            ("15", None),
        ] {
            assert_eq!(moment_before(text, now).ok().map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_event_is_shown_once_however_often_it_is_found() {
        let (mut seen, time) = (Seen::default(), Timestamp::UNIX_EPOCH);
        let event = |seq: u64| json!({"instance": "i", "seq": seq});
        let new: Vec<bool> = [1, 2, 1].iter().map(|seq| seen.is_new(&event(*seq), time)).collect();
        assert_eq!(new, [true, true, false]);
        seen.forget_before(Timestamp::MAX);
        assert!(seen.0.is_empty());
    }
}
