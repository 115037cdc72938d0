//! `[logout]`: which requests end a session, and what goes with it.

use super::error::Problems;
use super::login::LoginConfig;
use super::parsers::{cookie_name, each, each_of, endpoint_or_off, pattern};
use super::raw::RawLogout;
use super::reader::OneOrMany;
use super::table::Field;
use crate::login::Capture;
use crate::policy::PathPattern;

/// Which requests end sessions.
#[derive(Clone, Debug)]
pub struct LogoutConfig {
    /// The paths of the backend's log-outs; none: off.
    pub paths: Vec<PathPattern>,
    /// The gateway's own endpoint that ends all sessions of a user; `None`: off.
    pub all_path: Option<PathPattern>,
    /// Cookies of the backend that are expired when a session ends.
    pub clear_cookies: Vec<String>,
}

pub(super) fn logout(raw: &RawLogout, problems: &mut Problems) -> LogoutConfig {
    LogoutConfig {
        paths: logout_paths(&raw.path, problems),
        all_path: endpoint_or_off(&raw.all_path, "/api/auth/revoke-all-tokens", problems),
        clear_cookies: each(&raw.clear_cookies, problems, cookie_name),
    }
}

fn logout_paths(field: &Field<OneOrMany>, problems: &mut Problems) -> Vec<PathPattern> {
    match field.get() {
        None => PathPattern::parse("/api/logout").into_iter().collect(),
        Some(OneOrMany(list)) if matches!(list.as_slice(), [spot] if spot.value == "off") => Vec::new(),
        Some(OneOrMany(list)) => {
            if list.is_empty() {
                problems.error(field.place(), "is empty; write the path of the backend's log-out, or \"off\"");
            }
            each_of(list, problems, pattern)
        }
    }
}

/// While the backend's own session outlives the gateway's, a login by `whoami` proves nothing and has to be done twice.
pub(super) fn report_kept_cookies(raw: &RawLogout, login: Option<&LoginConfig>, problems: &mut Problems) {
    let asks = |login: &LoginConfig| login.logins.iter().any(|one| matches!(one.rules.capture, Capture::Whoami { .. }));
    let by_whoami = login.is_some_and(asks);
    if by_whoami && raw.clear_cookies.get().is_none_or(Vec::is_empty) {
        problems.warn(
            raw.clear_cookies.place(),
            "is empty: with `capture = \"whoami\"`, name the cookies of the backend's own session, as in [\"session\", \
             \"remember_token\"], so that they end with the gateway's",
        );
    }
}
