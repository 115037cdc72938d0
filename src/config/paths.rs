//! The paths that the gateway has a meaning of its own for, wherever they are set, and their conflicts.

use http::Method;

use super::error::{Place, Problems};
use super::login::{LoginConfig, LogoutConfig};
use super::session::SessionConfig;
use crate::policy::{PathPattern, PatternTree};

/// What such a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Logins are sent there.
    Login,
    /// Browsers without a session are sent there.
    LoginPage,
    /// The backend's log-out.
    Logout,
    /// Answered by the gateway, to anyone.
    LogoutAll,
    /// Answered by the gateway.
    Endpoint,
}

/// A path that the gateway has a meaning of its own for.
pub(super) struct OwnPath {
    /// The key that sets it.
    pub(super) setting: &'static str,
    pub(super) place: Place,
    pub(super) pattern: PathPattern,
    purpose: Use,
}

/// Where the settings stand.
pub(super) struct Places {
    pub(super) login_path: Place,
    pub(super) login_url: Place,
    pub(super) logout_path: Place,
    pub(super) all_path: Place,
    pub(super) status_path: Place,
    pub(super) refresh_path: Place,
}

impl OwnPath {
    /// Whether it is public by itself.
    pub(super) const fn is_public(&self) -> bool {
        !matches!(self.purpose, Use::Endpoint)
    }

    /// Whether the backend never sees it.
    pub(super) const fn is_answered_by_gateway(&self) -> bool {
        matches!(self.purpose, Use::Endpoint | Use::LogoutAll)
    }

    /// The method by which people without a session must reach it.
    pub(super) const fn needed_without_session(&self) -> Option<Method> {
        match self.purpose {
            Use::Login => Some(Method::POST),
            Use::LoginPage => Some(Method::GET),
            Use::Logout | Use::LogoutAll | Use::Endpoint => None,
        }
    }

    /// The pattern's segments, as a path that it matches.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.pattern.as_str().split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// Whether the pattern ends in a slash.
    pub(super) fn ends_in_slash(&self) -> bool {
        self.pattern.as_str().ends_with('/')
    }
}

/// All such paths.
pub(super) fn own_paths(
    session: &SessionConfig,
    login: Option<&LoginConfig>,
    logout: &LogoutConfig,
    places: &Places,
) -> Vec<OwnPath> {
    let mut paths = Vec::new();
    let mut add = |setting, place: &Place, pattern: Option<&PathPattern>, purpose| {
        paths.extend(pattern.map(|pattern| OwnPath {
            setting,
            place: place.clone(),
            pattern: pattern.clone(),
            purpose,
        }));
    };
    for path in login.iter().flat_map(|login| &login.paths) {
        add("login.path", &places.login_path, Some(path), Use::Login);
    }
    let page = login.and_then(|login| PathPattern::parse(login.login_url.split('?').next()?).ok());
    add("login.login_url", &places.login_url, page.as_ref(), Use::LoginPage);
    add("logout.path", &places.logout_path, logout.path.as_ref(), Use::Logout);
    add("logout.all_path", &places.all_path, logout.all_path.as_ref(), Use::LogoutAll);
    add("session.status_path", &places.status_path, session.status_path.as_ref(), Use::Endpoint);
    add("session.refresh_path", &places.refresh_path, session.refresh_path.as_ref(), Use::Endpoint);
    paths
}

const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/startupz"];

/// Reports paths with two meanings. A login page and its form's target may be one.
pub(super) fn report_conflicts(paths: &[OwnPath], problems: &mut Problems) {
    let mut seen: PatternTree<&OwnPath> = PatternTree::default();
    for path in paths {
        if HEALTH.contains(&path.pattern.as_str().trim_end_matches('/')) {
            problems.error(&path.place, format!("\"{}\" is a health endpoint; choose another path", path.pattern));
        }
        let entries = seen.entry(&path.pattern);
        let clash = entries.iter().find(|other| (other.purpose, path.purpose) != (Use::Login, Use::LoginPage));
        if let Some(other) = clash {
            let (first, second) = if other.place.offset <= path.place.offset { (*other, path) } else { (path, *other) };
            let message = format!(
                "\"{}\" is also `{}` (line {}); give each a path of its own",
                second.pattern, first.setting, first.place.line
            );
            problems.error(&second.place, message);
        }
        entries.push(path);
    }
}
