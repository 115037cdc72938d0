//! Logins that nobody announced: the app sets its session's cookie anew in some answer, and is asked who that is
//! (docs/behaviour.md, "Following"). Magic links, callbacks, sign-ups and the app's own switches are seen by that.
//!
//! Only a clear answer counts: nobody is logged in, or out, because the backend is unwell.

use ::http::header::{HeaderMap, LOCATION};
use ::http::{HeaderValue, StatusCode};

use super::rules::Capture;
use super::{Browser, LoginIdentity, LoginRules, read_json};
use crate::http::{IdentityRules, json_says_failure};
use crate::session::{Principal, TenantId};

/// Whom the backend takes the browser for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// For somebody, who may choose from these tenants.
    Somebody(Principal, Vec<TenantId>),
    /// For nobody.
    Nobody,
    /// It cannot be said. The text is for the log and holds no value.
    Unclear(&'static str),
}

/// What an answer leaves the browser with that sets or takes a followed cookie.
#[derive(Debug)]
pub struct Change {
    /// The browser as it is with the answer's cookies.
    pub browser: Browser,
    /// Names and values of the followed cookies by now.
    pub now: Vec<u8>,
    /// Whether they are others than before. An app that keeps its session's id when somebody else logs in (Flask-Session
    /// does) sets the same value once more.
    pub is_new: bool,
}

impl Change {
    /// What an answer sets or takes of these cookies in a browser; `None`: nothing. `unix_seconds` is the time that cookies
    /// expire by.
    #[must_use]
    pub fn of(browser: &Browser, names: &[&str], answer: &HeaderMap, unix_seconds: u64) -> Option<Self> {
        let mut with_answer = browser.clone();
        with_answer.receive(answer, unix_seconds);
        let now = with_answer.values_of(names);
        let is_new = now != browser.values_of(names);
        let sets = || {
            let mut without = browser.clone().without(names);
            without.receive(answer, unix_seconds);
            !without.values_of(names).is_empty()
        };
        (is_new || sets()).then_some(Self { browser: with_answer, now, is_new })
    }
}

impl LoginRules {
    /// Reads the answer to the question who the browser is. `login_page` is the path that the app sends those to whom it
    /// does not know.
    #[must_use]
    pub fn said(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        login_page: &str,
        spelling: &IdentityRules,
    ) -> Said {
        let Capture::Whoami { pointers, .. } = &self.capture else { return Said::Unclear("nobody can be asked") };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Said::Nobody,
            _ if status.is_redirection() && leads_to(headers.get(LOCATION), login_page) => return Said::Nobody,
            _ if !status.is_success() => return Said::Unclear("the whoami path answered neither yes nor no"),
            _ => {}
        }
        let Some(answer) = read_json(body) else { return Said::Unclear("the whoami path answered with no JSON") };
        if json_says_failure(&answer) {
            return Said::Nobody;
        }
        if self.unless.iter().any(|condition| condition.holds_for(&answer)) {
            return Said::Unclear("something is still due before the user is logged in");
        }
        match LoginIdentity::from_json(&answer, pointers, &self.users, spelling) {
            LoginIdentity::Principal(principal, tenants) => Said::Somebody(principal, tenants),
            LoginIdentity::None => Said::Nobody,
            LoginIdentity::Bad(why) => Said::Unclear(why),
        }
    }
}

/// Whether a redirect leads to this path, on whatever host it names.
fn leads_to(location: Option<&HeaderValue>, path: &str) -> bool {
    let Some(location) = location.and_then(|location| location.to_str().ok()) else { return false };
    let on_host = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"));
    let found = on_host.split(['?', '#']).next().unwrap_or_default();
    found.trim_end_matches('/') == path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use ::http::header::{COOKIE, SET_COOKIE};

    use super::*;
    use crate::http::{GatewayCookieName, JsonPointer, Target};
    use crate::login::{Condition, IdentityPointers, Users};

    fn browser(cookies: &'static str) -> Browser {
        let own = GatewayCookieName::parse("__Host-session").expect("a name");
        let mut headers = HeaderMap::new();
        if !cookies.is_empty() {
            headers.insert(COOKIE, HeaderValue::from_static(cookies));
        }
        Browser::of_request(&own, &headers, "app.test", "/a/b")
    }

    #[test]
    fn a_followed_cookie_that_is_set_is_seen_and_whether_its_value_is_another() {
        const NOTHING: Option<bool> = None;
        const ANOTHER: Option<bool> = Some(true);
        for (row, sent, set, expected) in [
            ("nothing set", "sid=1", &[][..], NOTHING),
            ("another cookie", "sid=1", &["csrf=2; Path=/"], NOTHING),
            ("the same value again", "sid=1", &["sid=1; Path=/; Max-Age=60"], Some(false)),
            ("the same of two", "sid=1; remember=x", &["remember=x; Path=/"], Some(false)),
            ("a new value", "sid=1", &["sid=2; Path=/"], ANOTHER),
            ("the first one", "", &["sid=2; Path=/"], ANOTHER),
            ("expired", "sid=1", &["sid=; Path=/; Max-Age=0"], ANOTHER),
            ("expired and not there", "", &["sid=; Path=/; Max-Age=0"], NOTHING),
            ("set and taken back", "", &["sid=2; Path=/", "sid=; Path=/; Max-Age=0"], NOTHING),
            ("the other name", "sid=1", &["remember=x; Path=/"], ANOTHER),
            ("a name in another case", "sid=1", &["SID=2; Path=/"], NOTHING),
            ("a foreign domain", "sid=1", &["sid=2; Path=/; Domain=evil.test"], NOTHING),
        ] {
            let mut answer = HeaderMap::new();
            set.iter().for_each(|line| _ = answer.append(SET_COOKIE, HeaderValue::from_static(line)));
            let change = Change::of(&browser(sent), &["sid", "remember"], &answer, 1_700_000_000);
            assert_eq!(change.map(|change| change.is_new), expected, "{row}");
        }
    }

    #[test]
    fn only_a_clear_answer_says_that_somebody_or_nobody_is_there() {
        let pointer = |text: &str| vec![JsonPointer::parse(text).expect(text)];
        let rules = LoginRules {
            capture: Capture::Whoami {
                target: Target::parse("/me").expect("a path"),
                pointers: IdentityPointers {
                    tenant: pointer("/org"),
                    user: pointer("/id"),
                    role: Vec::new(),
                    tenants: Vec::new(),
                },
            },
            users: Users::default(),
            failure: Vec::new(),
            unless: vec![Condition::parse("/mfa_required").expect("a condition")],
            email: None,
        };
        for (status, location, body, expected) in [
            (200, "", r#"{"org": 42, "id": 7}"#, "42/7"),
            (200, "", r#"{"org": 42, "id": null}"#, "nobody"),
            (200, "", r#"{"id": 7}"#, "nobody"),
            (200, "", "{}", "nobody"),
            (200, "", r#"{"success": false, "org": 42, "id": 7}"#, "nobody"),
            (200, "", r#"{"org": 42, "id": 7, "mfa_required": true}"#, "unclear"),
            (200, "", r#"{"org": "a b", "id": 7}"#, "unclear"),
            (200, "", "<html>", "unclear"),
            (204, "", "", "unclear"),
            (401, "", "", "nobody"),
            (403, "", "", "nobody"),
            (302, "/login?next=/me", "", "nobody"),
            (302, "https://app.test/login/", "", "nobody"),
            (302, "/login-help", "", "unclear"),
            (301, "/me/", "", "unclear"),
            (404, "", "", "unclear"),
            (429, "", "", "unclear"),
            (500, "", r#"{"org": 42, "id": 7}"#, "unclear"),
        ] {
            let mut headers = HeaderMap::new();
            if !location.is_empty() {
                headers.insert(LOCATION, HeaderValue::from_static(location));
            }
            let status = StatusCode::from_u16(status).expect("a status");
            let said = match rules.said(status, &headers, body.as_bytes(), "/login", &IdentityRules::default()) {
                Said::Somebody(who, _) => format!("{}/{}", who.tenant.shown(), who.user.as_str()),
                Said::Nobody => String::from("nobody"),
                Said::Unclear(_) => String::from("unclear"),
            };
            assert_eq!(said, expected, "{status} {location} {body}");
        }
    }
}
