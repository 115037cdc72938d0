//! `[session]`: how long sessions live, and the gateway's own endpoints for them.

use std::num::NonZeroU16;
use std::time::Duration;

use http::HeaderValue;

use super::error::{Place, Problems};
use super::parsers::{each, endpoint_or_off, pattern, pointer};
use super::raw::RawSession;
use super::reader::OffOr;
use super::table::Field;
use super::value::{Parsed, choice, count_within, duration_within, or_off, show_duration};
use crate::http::JsonPointer;
use crate::policy::{PathPattern, PatternTree};
use crate::session::{IdleLimit, LimitAction, Limits, SessionLimit};

/// How long sessions live, and the gateway's own endpoints for them.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Idle time-outs and absolute lifetimes.
    pub limits: Limits,
    /// Where a login request says that it wants to be remembered.
    pub remember_field: JsonPointer,
    /// Paths whose requests do not count as a use.
    pub no_touch: PatternTree<()>,
    /// The status endpoint; `None`: off.
    pub status_path: Option<PathPattern>,
    /// The refresh endpoint; `None`: off.
    pub refresh_path: Option<PathPattern>,
    /// What happens to `Cache-Control` of answers made for a session.
    pub cache: CacheControl,
    /// The same for HTML pages, which browsers show again from what they kept.
    pub cache_pages: CacheControl,
    /// What browsers are told to throw away where a session ends (`Clear-Site-Data`); `None`: nothing.
    pub clear_site_data: Option<HeaderValue>,
    /// Whether answers tell the seconds that a session still has.
    pub expose: bool,
    /// How many sessions a user may have; `None`: any number.
    pub max_per_user: Option<SessionLimit>,
}

/// What happens to `Cache-Control` of answers made for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheControl {
    /// `private` where there is none or it says `public`.
    Private,
    /// `no-store`, whatever the backend says.
    NoStore,
    /// The backend's own.
    Leave,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Browsers keep no cookie longer.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

pub(super) fn session(raw: &RawSession, problems: &mut Problems) -> SessionConfig {
    SessionConfig {
        limits: limits(raw, problems),
        remember_field: raw
            .remember_field
            .parse_or(JsonPointer::of_field("remember"), problems, |text| remember_field(text)),
        no_touch: no_touch(raw, problems),
        status_path: endpoint_or_off(&raw.status_path, "/api/session/status", problems),
        refresh_path: endpoint_or_off(&raw.refresh_path, "/api/session/refresh", problems),
        cache: raw.cache.parse_or(CacheControl::Private, problems, choice(&CACHE)),
        cache_pages: raw.cache_pages.parse_or(CacheControl::NoStore, problems, choice(&CACHE)),
        clear_site_data: clear_site_data(raw, problems),
        expose: raw.expose.get().copied().unwrap_or(false),
        max_per_user: max_per_user(raw, problems),
    }
}

const CACHE: [(&str, CacheControl); 3] =
    [("private", CacheControl::Private), ("no-store", CacheControl::NoStore), ("leave", CacheControl::Leave)];

/// The kinds of data that browsers know (W3C Clear Site Data, 3.1).
const SITE_DATA: [(&str, &str); 4] = [
    ("cache", "\"cache\""),
    ("cookies", "\"cookies\""),
    ("storage", "\"storage\""),
    ("executionContexts", "\"executionContexts\""),
];

fn clear_site_data(raw: &RawSession, problems: &mut Problems) -> Option<HeaderValue> {
    let kinds = each(&raw.clear_site_data, problems, |kind| choice(&SITE_DATA)(&kind.to_owned()));
    if kinds.is_empty() { None } else { HeaderValue::from_str(&kinds.join(", ")).ok() }
}

fn max_per_user(raw: &RawSession, problems: &mut Problems) -> Option<SessionLimit> {
    let Some(OffOr::On(raw)) = raw.max_per_user.get() else { return None };
    let actions = [("revoke-oldest", LimitAction::RevokeOldest), ("deny", LimitAction::Deny)];
    let count = raw.count.require(problems, "count = 3", |count| {
        count_within::<u16>(1..=500)(count).and_then(|count| NonZeroU16::new(count).ok_or_else(String::new))
    });
    let action = raw.action.require(problems, "action = \"revoke-oldest\"", choice(&actions));
    Some(SessionLimit { count: count?, action: action? })
}

fn limits(raw: &RawSession, problems: &mut Problems) -> Limits {
    let lifetime = || duration_within(SECOND..=LONGEST);
    let idle = raw.idle.parse_or(Some(SECOND * 1800), problems, or_off(lifetime()));
    let absolute = raw.absolute.parse_or(SECOND * 28_800, problems, lifetime());
    let remember_idle = raw.remember_idle.parse_or(None, problems, or_off(lifetime()));
    let remember = raw.remember.parse_or(DAY * 7, problems, lifetime());
    never_reached(&raw.idle, idle, &raw.absolute, absolute, problems);
    never_reached(&raw.remember_idle, remember_idle, &raw.remember, remember, problems);
    if remember < absolute {
        let place = later(raw.remember.place(), raw.absolute.place());
        problems.warn(place, "a remembered session ends before another one; raise `session.remember`");
    }
    Limits { idle: idle.map(IdleLimit::new), absolute, remember_idle: remember_idle.map(IdleLimit::new), remember }
}

fn never_reached(
    idle_field: &Field<String>,
    idle: Option<Duration>,
    absolute_field: &Field<String>,
    absolute: Duration,
    problems: &mut Problems,
) {
    if let Some(idle) = idle.filter(|idle| *idle > absolute) {
        let (idle, absolute) = (show_duration(idle), show_duration(absolute));
        let name = &absolute_field.place().key;
        problems.warn(
            later(idle_field.place(), absolute_field.place()),
            format!("an idle time-out of {idle} is never reached: `{name}` is {absolute}"),
        );
    }
}

/// The place that is further down: that of the key which is in the file, when only one is.
fn later<'a>(one: &'a Place, other: &'a Place) -> &'a Place {
    if one.offset >= other.offset { one } else { other }
}

/// A JSON pointer, or the bare name of a field.
fn remember_field(text: &str) -> Parsed<JsonPointer> {
    if text.is_empty() {
        return Err(String::from("is empty; write a JSON pointer as \"/remember\" or the name of a form's field"));
    }
    if text.starts_with('/') { pointer(text) } else { Ok(JsonPointer::of_field(text)) }
}

/// What front ends ask without anybody doing anything: reports of activity in batches, Socket.IO's heartbeat.
const NO_TOUCH: [&str; 3] = ["/api/sessions/activity", "/api/sessions/activity/*", "/socket.io/*"];

fn no_touch(raw: &RawSession, problems: &mut Problems) -> PatternTree<()> {
    let patterns = if raw.no_touch.is_given() {
        each(&raw.no_touch, problems, pattern)
    } else {
        NO_TOUCH.into_iter().filter_map(|pattern| PathPattern::parse(pattern).ok()).collect()
    };
    let mut tree = PatternTree::default();
    for pattern in &patterns {
        tree.insert(pattern, ());
    }
    tree
}
