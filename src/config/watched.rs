//! Where the monitoring looks at requests: which of them are calls of the app's API, which answers are exports, and where a
//! refusal says that somebody reaches for what is not theirs.

use std::sync::Arc;

use http::HeaderName;

use super::error::Problems;
use super::parsers::{each_of, pattern, pointer};
use super::raw::{RawExportRoute, RawMonitor};
use super::reader::OneOrMany;
use super::table::Field;
use super::value::{Parsed, quoted, size};
use crate::monitor::{CountBy, MonitorRules};
use crate::policy::{PathPattern, PatternTree};

/// What counts as a call unless that is configured.
const USUAL_API: [&str; 1] = ["/api/*"];
/// Where the backend's own refusals count unless that is configured.
const USUAL_PRIVILEGED: [&str; 2] = ["/admin/*", "/api/admin/*"];

/// Where the monitoring looks at requests; nowhere where it is off.
#[derive(Clone, Debug, Default)]
pub struct WatchedPaths {
    /// Requests that are calls, where those are counted.
    pub api: PatternTree<()>,
    /// Requests whose answers are exports.
    pub exports: PatternTree<Arc<ExportRoute>>,
    /// Requests whose refusals by the backend count; those of routes for some roles do anyway.
    pub privileged: PatternTree<Arc<str>>,
}

/// Requests whose answers are exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRoute {
    /// The pattern, which is its name.
    pub name: Box<str>,
    /// How the records of an answer are counted.
    pub by: CountBy,
}

pub(super) fn watched(raw: &RawMonitor, rules: Option<&MonitorRules>, problems: &mut Problems) -> WatchedPaths {
    let mut watched = WatchedPaths::default();
    let api = patterns(&raw.api, &USUAL_API, problems);
    if rules.is_some_and(|rules| rules.calls.is_some()) {
        api.iter().for_each(|pattern| watched.api.insert(pattern, ()));
    }
    let routes = raw.exports.get().and_then(|exports| exports.routes.get());
    for route in routes.into_iter().flatten() {
        let exports = export_routes(&route.value, problems);
        for (pattern, route) in exports.iter().filter(|_| rules.is_some_and(|rules| rules.exports.is_some())) {
            watched.exports.insert(pattern, route.clone());
        }
    }
    let named = raw.privileges.get().map(|privileges| patterns(&privileges.pattern, &USUAL_PRIVILEGED, problems));
    let named = named.unwrap_or_else(|| usual(&USUAL_PRIVILEGED));
    if rules.is_some_and(|rules| rules.privileges.is_some()) {
        named.iter().for_each(|pattern| watched.privileged.insert(pattern, pattern.as_str().into()));
    }
    watched
}

fn patterns(field: &Field<OneOrMany>, otherwise: &[&str], problems: &mut Problems) -> Vec<PathPattern> {
    field.get().map_or_else(|| usual(otherwise), |OneOrMany(list)| each_of(list, problems, pattern))
}

fn usual(patterns: &[&str]) -> Vec<PathPattern> {
    patterns.iter().filter_map(|text| pattern(text).ok()).collect()
}

fn export_routes(raw: &RawExportRoute, problems: &mut Problems) -> Vec<(PathPattern, Arc<ExportRoute>)> {
    let by = raw.count.require(problems, "count = \"lines\"", |text| count_by(text));
    raw.pattern.require(problems, "match = \"/api/export\"", |_| Ok(()));
    let patterns = raw.pattern.get().map_or_else(Vec::new, |OneOrMany(list)| each_of(list, problems, pattern));
    let route = |by: CountBy, pattern: &PathPattern| Arc::new(ExportRoute { name: pattern.as_str().into(), by });
    by.into_iter()
        .flat_map(|by| patterns.iter().map(move |pattern| (pattern.clone(), route(by.clone(), pattern))))
        .collect()
}

fn count_by(text: &str) -> Parsed<CountBy> {
    let choices = "choose one of \"header:X-Row-Count\", \"content-range\", \"lines\", \"pointer:/results\", \"bytes:4KiB\", \
                   \"each\"";
    match text.split_once(':') {
        None => match text {
            "content-range" => Ok(CountBy::ContentRange),
            "lines" => Ok(CountBy::Lines),
            "each" => Ok(CountBy::Each),
            _ => Err(format!("{} is not known; {choices}", quoted(text))),
        },
        Some(("header", name)) => {
            let name = HeaderName::from_bytes(name.as_bytes());
            name.map(CountBy::Header)
                .map_err(|_| format!("{} names no header; write \"header:X-Row-Count\"", quoted(text)))
        }
        // The whole.
        Some(("pointer", "")) => Ok(CountBy::Pointer(Vec::new())),
        Some(("pointer", place)) => Ok(CountBy::Pointer(pointer(place)?.parts().collect())),
        Some(("bytes", of)) => match size(of)? {
            0 => Err(format!("{} counts nothing; write \"bytes:4KiB\"", quoted(text))),
            bytes => Ok(CountBy::Bytes(bytes)),
        },
        Some(_) => Err(format!("{} is not known; {choices}", quoted(text))),
    }
}
