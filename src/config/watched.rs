//! Where the monitoring looks at requests: which paths are calls of the app's API.

use super::error::Problems;
use super::parsers::{each_of, pattern};
use super::raw::RawMonitor;
use super::reader::OneOrMany;
use crate::monitor::MonitorRules;
use crate::policy::{PathPattern, PatternTree};

/// What counts as a call unless that is configured.
const USUAL_API: &str = "/api/*";

/// Where the monitoring looks at requests; nowhere where it is off.
#[derive(Clone, Debug, Default)]
pub struct WatchedPaths {
    /// Requests that are calls, where those are counted.
    pub api: PatternTree<()>,
}

pub(super) fn watched(raw: &RawMonitor, rules: Option<&MonitorRules>, problems: &mut Problems) -> WatchedPaths {
    let api: Vec<PathPattern> = match raw.api.get() {
        Some(OneOrMany(list)) => each_of(list, problems, pattern),
        None => pattern(USUAL_API).into_iter().collect(),
    };
    let mut watched = WatchedPaths::default();
    if rules.is_some_and(|rules| rules.calls.is_some()) {
        api.iter().for_each(|pattern| watched.api.insert(pattern, ()));
    }
    watched
}
