//! The paths that the gateway has a meaning of its own for, wherever they are set, and their conflicts.

use http::Method;

use super::error::Problems;
use super::front::FrontConfig;
use super::login::Logins;
use super::logout::LogoutConfig;
use super::raw::{RawLogout, RawMonitor, RawSession};
use super::session::SessionConfig;
use super::table::Setting;
use crate::policy::{MethodSet, PathPattern, PatternTree};

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
    /// Answered by the gateway, for the app's own pages, where its method is.
    Front,
    /// The app's tokens are refreshed there.
    TokenRefresh,
}

/// A path that the gateway has a meaning of its own for.
pub(super) struct OwnPath {
    pub(super) setting: Setting,
    pub(super) pattern: PathPattern,
    purpose: Use,
    /// By which it is used so.
    methods: MethodSet,
}

/// Where the settings stand.
pub(super) struct Settings {
    pub(super) logout_path: Setting,
    pub(super) all_path: Setting,
    pub(super) status_path: Setting,
    pub(super) refresh_path: Setting,
    front_path: Option<Setting>,
}

impl Settings {
    /// Of the tables that hold them.
    pub(super) fn of(session: &RawSession, logout: &RawLogout, monitor: Option<&RawMonitor>) -> Self {
        Self {
            logout_path: logout.path.setting(),
            all_path: logout.all_path.setting(),
            status_path: session.status_path.setting(),
            refresh_path: session.refresh_path.setting(),
            front_path: monitor.map(|monitor| monitor.path.setting()),
        }
    }
}

impl OwnPath {
    /// Whether it is public by itself, whatever the method.
    pub(super) const fn is_public(&self) -> bool {
        !self.is_answered_by_gateway()
    }

    /// Whether the backend never sees it.
    pub(super) const fn is_answered_by_gateway(&self) -> bool {
        matches!(self.purpose, Use::Endpoint | Use::LogoutAll | Use::Front)
    }

    /// The method by which people without a session must reach it.
    pub(super) fn needed_without_session(&self) -> Option<Method> {
        match self.purpose {
            Use::Login => self.methods.names().next().and_then(|name| name.parse().ok()),
            Use::LoginPage => Some(Method::GET),
            Use::Logout | Use::LogoutAll | Use::Endpoint | Use::Front | Use::TokenRefresh => None,
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
    logins: &Logins,
    logout: &LogoutConfig,
    front: Option<&FrontConfig>,
    settings: &Settings,
) -> Vec<OwnPath> {
    let mut paths = Vec::new();
    for (setting, login) in logins.paths() {
        let (pattern, methods) = (login.pattern.clone(), login.methods.clone());
        paths.push(OwnPath { setting: setting.clone(), pattern, purpose: Use::Login, methods });
    }
    let mut add = |setting: &Setting, pattern: Option<&PathPattern>, purpose| {
        let methods = MethodSet::ALL;
        let own =
            |pattern: &PathPattern| OwnPath { setting: setting.clone(), pattern: pattern.clone(), purpose, methods };
        paths.extend(pattern.map(own));
    };
    for (setting, url) in logins.pages() {
        let page = url.split('?').next().and_then(|path| PathPattern::parse(path).ok());
        add(setting, page.as_ref(), Use::LoginPage);
    }
    for path in &logout.paths {
        add(&settings.logout_path, Some(path), Use::Logout);
    }
    add(&settings.all_path, logout.all_path.as_ref(), Use::LogoutAll);
    add(&settings.status_path, session.status_path.as_ref(), Use::Endpoint);
    add(&settings.refresh_path, session.refresh_path.as_ref(), Use::Endpoint);
    let endpoints = front.zip(settings.front_path.as_ref());
    paths.extend(endpoints.into_iter().flat_map(|(front, setting)| {
        front.endpoints().map(|(endpoint, pattern)| OwnPath {
            setting: setting.clone(),
            pattern,
            purpose: Use::Front,
            methods: endpoint.taken(),
        })
    }));
    paths
}

const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/startupz"];

/// Whether two uses of one path cannot be. A login page and its form's target may be one, and so may the pages of several
/// logins; a path may be two logins by different methods, and users of two kinds may refresh their tokens at one.
fn clash(one: &OwnPath, other: &OwnPath) -> bool {
    match (one.purpose, other.purpose) {
        (Use::Login, Use::Login) | (Use::Front, _) | (_, Use::Front) => one.methods.overlaps(&other.methods),
        (Use::Login | Use::LoginPage | Use::TokenRefresh, Use::LoginPage) => false,
        (Use::LoginPage | Use::TokenRefresh, Use::TokenRefresh) => false,
        _ => true,
    }
}

/// Reports paths with two meanings, those where tokens are refreshed included.
pub(super) fn report_conflicts(paths: &[OwnPath], refreshes: &[(Setting, PathPattern)], problems: &mut Problems) {
    let refreshes: Vec<OwnPath> = refreshes
        .iter()
        .map(|(setting, pattern)| OwnPath {
            setting: setting.clone(),
            pattern: pattern.clone(),
            purpose: Use::TokenRefresh,
            methods: MethodSet::ALL,
        })
        .collect();
    let mut seen: PatternTree<&OwnPath> = PatternTree::default();
    for path in paths.iter().chain(&refreshes) {
        if HEALTH.contains(&path.pattern.as_str().trim_end_matches('/')) {
            let message = format!("\"{}\" is a health endpoint; choose another path", path.pattern);
            problems.error(&path.setting.place, message);
        }
        let entries = seen.entry(&path.pattern);
        if let Some(other) = entries.iter().find(|other| clash(other, path)) {
            report_clash(other, path, problems);
        }
        entries.push(path);
    }
}

/// Reports at the setting that is in the file; at the later one when both are.
fn report_clash(one: &OwnPath, other: &OwnPath, problems: &mut Problems) {
    let rank = |path: &OwnPath| (path.setting.given, path.setting.place.offset);
    let (first, second) = if rank(one) <= rank(other) { (one, other) } else { (other, one) };
    let whose =
        if first.setting.given { format!("in line {}", first.setting.place.line) } else { String::from("by default") };
    let (pattern, key) = (&second.pattern, &first.setting.place.key);
    let message = format!("\"{pattern}\" is also `{key}` {whose}; give each a path of its own");
    problems.error(&second.setting.place, message);
}
