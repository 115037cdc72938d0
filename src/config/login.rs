//! `[login]` and `[logout]`: which requests begin and end a session, and how a login names its user.

use http::HeaderName;

use super::error::Problems;
use super::parsers::{
    cookie_name, each, each_of, endpoint, endpoint_or_off, pattern, pointers, request_path, statuses,
};
use super::raw::{RawLogin, RawLoginHeader, RawLogout, RawWhoami};
use super::reader::OneOrMany;
use super::table::Field;
use super::value::{Parsed, choice, header_name, memory_within, quoted};
use crate::http::{JsonPointer, Target};
use crate::login::{Capture, Condition, IdentityPointers, LoginHeaders, LoginRules};
use crate::policy::PathPattern;

/// Which requests are logins, and how their answers name a user.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// The paths of logins, by POST. Never empty.
    pub paths: Vec<PathPattern>,
    /// How their answers are read.
    pub rules: LoginRules,
    /// The largest answer to a login, in bytes.
    pub max_body: usize,
    /// Where a browser without a session is sent: a path, perhaps with a query.
    pub login_url: String,
}

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum CaptureWord {
    Json,
    Header,
    Whoami,
}

pub(super) fn login(raw: RawLogin, problems: &mut Problems) -> Option<LoginConfig> {
    let max_body = raw.max_body.parse_or(1 << 20, problems, memory_within(1 << 10..=64 << 20));
    let login_url = raw.login_url.parse_or(String::from("/login"), problems, |text| login_url(text));
    let paths = paths(&raw.path, problems);
    let unless = match raw.unless.get() {
        Some(OneOrMany(list)) => each_of(list, problems, condition),
        None => ["/mfa_required", "/requires_2fa"].iter().filter_map(|text| condition(text).ok()).collect(),
    };
    let no_success = "is not a status that could be a success; write one from \"200\" to \"399\"";
    let failure = statuses(&raw.failure, 200..400, problems, no_success);
    let capture = capture(raw, problems)?;
    Some(LoginConfig { paths, rules: LoginRules { capture, failure, unless }, max_body, login_url })
}

fn paths(field: &Field<OneOrMany>, problems: &mut Problems) -> Vec<PathPattern> {
    let Some(OneOrMany(list)) = field.get() else {
        return PathPattern::parse("/api/login").into_iter().collect();
    };
    if list.is_empty() {
        problems.error(field.place(), "is empty; write the path that logins are sent to");
    }
    each_of(list, problems, pattern)
}

fn condition(text: &str) -> Parsed<Condition> {
    Condition::parse(text).map_err(|error| format!("{} {error}", quoted(text)))
}

fn needed_pointers(field: &Field<OneOrMany>, default: &[&str], problems: &mut Problems) -> Vec<JsonPointer> {
    let found = pointers(field, default, problems);
    if field.get().is_some_and(|OneOrMany(list)| list.is_empty()) {
        problems.error(field.place(), "is empty; write where the answer names it, as in \"/user/id\"");
    }
    found
}

fn capture(raw: RawLogin, problems: &mut Problems) -> Option<Capture> {
    let word = raw.capture.parse_or(CaptureWord::Json, problems, |text| capture_word(text));
    warn_of_unread(&raw, word, problems);
    match word {
        CaptureWord::Json => Some(Capture::Json(IdentityPointers {
            tenant: needed_pointers(&raw.tenant, &["/customer_id"], problems),
            user: needed_pointers(&raw.user, &["/user_id"], problems),
            role: pointers(&raw.role, &[], problems),
        })),
        CaptureWord::Header => Some(Capture::Header(headers(&raw.header.table(), problems))),
        CaptureWord::Whoami => {
            if !raw.whoami.is_given() {
                let example = "whoami = { path = \"/api/me\", tenant = \"/org/id\", user = \"/id\" }";
                problems.error(raw.whoami.place(), format!("is missing; add `{example}`"));
                return None;
            }
            whoami(&raw.whoami.table(), problems)
        }
    }
}

fn capture_word(text: &str) -> Parsed<CaptureWord> {
    if text == "jwt" {
        return Err(String::from("\"jwt\" is not supported by this version; remove it"));
    }
    choice(&[("json", CaptureWord::Json), ("header", CaptureWord::Header), ("whoami", CaptureWord::Whoami)])(
        &text.to_owned(),
    )
}

fn warn_of_unread(raw: &RawLogin, word: CaptureWord, problems: &mut Problems) {
    let json = word == CaptureWord::Json;
    for (read, given, place) in [
        (json, raw.tenant.is_given(), raw.tenant.place()),
        (json, raw.user.is_given(), raw.user.place()),
        (json, raw.role.is_given(), raw.role.place()),
        (word == CaptureWord::Header, raw.header.is_given(), raw.header.place()),
        (word == CaptureWord::Whoami, raw.whoami.is_given(), raw.whoami.place()),
    ] {
        if given && !read {
            problems.warn(place, "is not read with this `login.capture`; remove it or change `login.capture`");
        }
    }
}

fn headers(raw: &RawLoginHeader, problems: &mut Problems) -> LoginHeaders {
    let parse = |text: &String| header_name(text);
    LoginHeaders {
        tenant: raw.tenant.parse_or(HeaderName::from_static("x-session-tenant"), problems, parse),
        user: raw.user.parse_or(HeaderName::from_static("x-session-user"), problems, parse),
        role: raw.role.parse_or(Some(HeaderName::from_static("x-session-role")), problems, |text| {
            if text == "off" { Ok(None) } else { header_name(text).map(Some) }
        }),
    }
}

fn whoami(raw: &RawWhoami, problems: &mut Problems) -> Option<Capture> {
    let path = raw.path.require(problems, "path = \"/api/me\"", |text| whoami_target(text));
    let pointers = IdentityPointers {
        tenant: required_pointers(&raw.tenant, "tenant = \"/org/id\"", problems),
        user: required_pointers(&raw.user, "user = \"/id\"", problems),
        role: pointers(&raw.role, &[], problems),
    };
    Some(Capture::Whoami { target: path?, pointers })
}

fn whoami_target(text: &str) -> Parsed<Target> {
    let path = request_path(text)?;
    Target::parse(&path).map_err(|_| format!("{} is not a path that the gateway would forward", quoted(text)))
}

fn required_pointers(field: &Field<OneOrMany>, example: &str, problems: &mut Problems) -> Vec<JsonPointer> {
    field.require(problems, example, |_| Ok(()));
    needed_pointers(field, &[], problems)
}

/// A path on this host: anything else would send browsers, with their `next=`, somewhere else.
fn login_url(text: &str) -> Parsed<String> {
    let url = request_path(text)?;
    let path = url.split('?').next().unwrap_or("");
    endpoint(path)?;
    Ok(url)
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
    let by_whoami = login.is_some_and(|login| matches!(login.rules.capture, Capture::Whoami { .. }));
    if by_whoami && raw.clear_cookies.get().is_none_or(Vec::is_empty) {
        problems.warn(
            raw.clear_cookies.place(),
            "is empty: with `capture = \"whoami\"`, name the cookies of the backend's own session, as in [\"session\", \
             \"remember_token\"], so that they end with the gateway's",
        );
    }
}

/// The gateway expires its own cookie itself, and not whenever a backend's is.
pub(super) fn report_own_cookie(raw: &RawLogout, own: &str, problems: &mut Problems) {
    for spot in raw.clear_cookies.get().into_iter().flatten().filter(|spot| spot.value == own) {
        problems.error(&spot.place, "is the gateway's own cookie; name only the backend's");
    }
}
