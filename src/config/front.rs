//! `monitor.path` and `monitor.admin_roles`: the gateway's endpoints for the app's own front end.

use super::error::Problems;
use super::parsers::{each, endpoint_or_off, role};
use super::raw::RawMonitor;
use crate::policy::{MethodSet, PathPattern};
use crate::session::Role;

/// The endpoints for the app's own front end.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Where they begin.
    path: PathPattern,
    /// Whose sessions may see and end those of their own tenant.
    pub admin_roles: Vec<Role>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The user's own sessions.
    List,
    /// What was found.
    Anomalies,
    /// Ends a session.
    Terminate,
    /// What was counted.
    SecurityReport,
    /// What somebody says of a finding.
    Feedback,
    /// What a page reports of itself.
    Activity,
    /// The same, many at once.
    ActivityBatch,
    /// What pages report with.
    Script,
}

impl Front {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::List,
        Self::Anomalies,
        Self::Terminate,
        Self::SecurityReport,
        Self::Feedback,
        Self::Activity,
        Self::ActivityBatch,
        Self::Script,
    ];

    /// What stands behind the path of all of them.
    const fn rest(self) -> &'static str {
        match self {
            Self::List => "",
            Self::Anomalies => "/anomalies",
            Self::Terminate => "/terminate",
            Self::SecurityReport => "/security-report",
            Self::Feedback => "/anomalies/{id}/feedback",
            Self::Activity => "/activity",
            Self::ActivityBatch => "/activity/batch",
            Self::Script => "/monitor.js",
        }
    }

    /// The methods that it takes.
    #[must_use]
    pub const fn methods(self) -> &'static str {
        match self {
            Self::List | Self::Anomalies | Self::SecurityReport | Self::Script => "GET, HEAD",
            Self::Terminate | Self::Feedback | Self::Activity | Self::ActivityBatch => "POST",
        }
    }

    /// The methods by which its path is the gateway's. What else is done with the collection itself is the app's own: it may
    /// have logins there.
    #[must_use]
    pub fn taken(self) -> MethodSet {
        match self {
            Self::List => MethodSet::NONE.with("GET", &[]).unwrap_or(MethodSet::NONE),
            _ => MethodSet::ALL,
        }
    }
}

impl FrontConfig {
    /// All of them, and where they are.
    pub fn endpoints(&self) -> impl Iterator<Item = (Front, PathPattern)> {
        let base = self.path.as_str().trim_end_matches('/');
        Front::ALL.into_iter().filter_map(move |front| {
            let path = format!("{base}{}", front.rest());
            PathPattern::parse(&path).ok().map(|pattern| (front, pattern))
        })
    }
}

/// `None`: off.
pub(super) fn front(raw: &RawMonitor, is_monitored: bool, problems: &mut Problems) -> Option<FrontConfig> {
    let path = endpoint_or_off(&raw.path, "/api/sessions", problems);
    let admin_roles = each(&raw.admin_roles, problems, role);
    if path.is_none() && !admin_roles.is_empty() {
        problems.warn(raw.admin_roles.place(), "has no effect: `monitor.path` is \"off\"");
    }
    path.filter(|_| is_monitored).map(|path| FrontConfig { path, admin_roles })
}
