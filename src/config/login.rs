//! `[login]`, once or several times: which requests begin a session, and how their answers name a user.

use std::fmt;

use http::{HeaderName, Method};

use super::error::{Place, Problems};
use super::parsers::{
    cookie_name, each, each_of, endpoint, not_forwarded, pattern, pointer, pointers, report_own_cookie, request_path,
    statuses,
};
use super::raw::{RawLogin, RawLoginHeader};
use super::reader::{OneOrMany, Spot};
use super::table::{Field, Setting};
use super::tokens;
use super::value::{Parsed, choice, header_name, memory_within, quoted};
use super::whoami::{needed_pointers, tenants, whoami};
use crate::custody::Left;
use crate::http::JsonPointer;
use crate::login::{Capture, Condition, IdentityPointers, LoginHeaders, LoginRules, Users, WithoutTenant};
use crate::policy::{MethodSet, PathPattern, PatternTree};
use crate::session::{UserId, UserKind};

/// Which requests are logins, and how their answers name a user.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Each login; never none.
    pub logins: Vec<Login>,
    /// Where a browser without a session is sent: a path, perhaps with a query.
    pub login_url: String,
}

/// One login, with its own paths and pointers.
#[derive(Clone, Debug)]
pub struct Login {
    /// The requests that are it.
    pub paths: Vec<LoginPath>,
    /// Where their requests name the account.
    pub account: Vec<JsonPointer>,
    /// How their answers are read.
    pub rules: LoginRules,
    /// The largest answer to one, in bytes.
    pub max_body: usize,
    /// Where a browser is sent that has to begin anew.
    pub login_url: String,
    /// The cookies of the backend's own session: whenever one is set anew the backend is asked who that is.
    pub follow: Vec<String>,
}

/// Requests that are a login.
#[derive(Clone, Debug)]
pub struct LoginPath {
    /// Their methods.
    pub methods: MethodSet,
    /// Their paths.
    pub pattern: PathPattern,
}

impl LoginConfig {
    /// The login that a request is.
    #[must_use]
    pub fn find<S: AsRef<str>>(&self, method: &Method, segments: &[S], trailing_slash: bool) -> Option<&Login> {
        let mut tree = PatternTree::default();
        for login in &self.logins {
            login.paths.iter().for_each(|path| tree.insert(&path.pattern, (&path.methods, login)));
        }
        let here = tree.find(segments, trailing_slash);
        here.iter().find(|(methods, _)| methods.contains(method)).map(|(_, login)| *login)
    }

    /// The kinds of users that there are, each once: `None` for those of none.
    #[must_use]
    pub fn kinds(&self) -> Vec<Option<&UserKind>> {
        let mut kinds = vec![None];
        for login in &self.logins {
            if !kinds.contains(&login.rules.users.kind.as_ref()) {
                kinds.push(login.rules.users.kind.as_ref());
            }
        }
        kinds
    }

    /// Whether any login's tokens are captured.
    #[must_use]
    pub fn captures_tokens(&self) -> bool {
        self.logins.iter().any(|login| login.rules.tokens().is_some())
    }

    /// Whether any of them is left to browsers.
    #[must_use]
    pub fn leaves_tokens(&self) -> bool {
        let left = |login: &Login| login.rules.tokens().is_some_and(|tokens| tokens.left == Left::Token);
        self.logins.iter().any(left)
    }

    /// A login of this user's kind.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Option<&Login> {
        self.logins.iter().find(|login| login.rules.users.kind.as_ref().map(UserKind::as_str) == user.kind())
    }

    /// The login that the token of a user's session is of.
    #[must_use]
    pub fn of_token(&self, user: &UserId) -> Option<&Login> {
        self.logins.iter().find(|login| {
            login.rules.tokens().is_some() && login.rules.users.kind.as_ref().map(UserKind::as_str) == user.kind()
        })
    }

    /// Whether users of this kind get a session although they have no tenant.
    #[must_use]
    pub fn lets_in_without_tenant(&self, kind: Option<&str>) -> bool {
        let of_kind = |login: &&Login| login.rules.users.kind.as_ref().map(UserKind::as_str) == kind;
        let lets_in = |login: &Login| login.rules.users.without_tenant == WithoutTenant::Session;
        self.logins.iter().filter(of_kind).any(lets_in)
    }

    /// Whether any cookie of the backend's is followed.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.logins.iter().any(|login| !login.follow.is_empty())
    }

    /// The largest answer to any login, in bytes.
    #[must_use]
    pub fn largest_answer(&self) -> usize {
        self.logins.iter().map(|login| login.max_body).max().unwrap_or_default()
    }
}

impl fmt::Display for LoginPath {
    /// As it is written in the file, the method of all but a POST before it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.methods.names().next() {
            Some("POST") | None => self.pattern.fmt(formatter),
            Some(method) => write!(formatter, "{method} {}", self.pattern),
        }
    }
}

/// The logins as far as they could be read, and where their settings stand.
pub(super) struct Logins {
    /// `None`: one of them could not be read.
    config: Option<LoginConfig>,
    paths: Vec<(Setting, LoginPath)>,
    pages: Vec<(Setting, String)>,
    refreshes: Vec<(Setting, PathPattern)>,
    tenants_listed: Vec<Place>,
}

impl Logins {
    /// The requests that are logins.
    pub(super) fn paths(&self) -> impl Iterator<Item = &(Setting, LoginPath)> {
        self.paths.iter()
    }

    /// Where browsers are sent to log in.
    pub(super) fn pages(&self) -> impl Iterator<Item = &(Setting, String)> {
        self.pages.iter()
    }

    /// Where tokens are refreshed.
    pub(super) fn refreshes(&self) -> &[(Setting, PathPattern)] {
        &self.refreshes
    }

    /// Where tenants to choose from are listed.
    pub(super) fn tenants_listed(&self) -> &[Place] {
        &self.tenants_listed
    }

    /// Has the backend be asked of which tenant those users are whom a login names without one.
    pub(super) fn ask_for_tenants(&mut self) {
        for login in self.config.iter_mut().flat_map(|config| &mut config.logins) {
            if login.rules.users.without_tenant == WithoutTenant::Refuse {
                login.rules.users.without_tenant = WithoutTenant::Asked;
            }
        }
    }

    /// Has the answers of all be looked at for the users' mail addresses.
    pub(super) fn look_for_emails(&mut self, pointer: &JsonPointer) {
        for login in self.config.iter_mut().flat_map(|config| &mut config.logins) {
            login.rules.email = Some(pointer.clone());
        }
    }

    /// Whether users of one kind are let in without a tenant by one login and not by another.
    pub(super) fn disagree_about_tenants(&self) -> bool {
        let logins = self.config.iter().flat_map(|config| &config.logins).map(|login| &login.rules.users);
        let asked = logins.clone().filter(|users| users.without_tenant == WithoutTenant::Asked);
        let mut asked = asked.map(|users| &users.kind);
        asked.any(|kind| {
            logins.clone().any(|users| users.kind == *kind && users.without_tenant == WithoutTenant::Session)
        })
    }

    /// All of them, unless one could not be read.
    pub(super) const fn config(&self) -> Option<&LoginConfig> {
        self.config.as_ref()
    }

    /// The same.
    pub(super) fn into_config(self) -> Option<LoginConfig> {
        self.config
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CaptureWord {
    Json,
    Header,
    Whoami,
    Jwt,
}

/// Where a login's request names the account, where that is not said.
const ACCOUNT: [&str; 4] = ["email", "username", "login", "user"];
/// `login_url` where no login has one.
const LOGIN_URL: &str = "/login";

pub(super) fn logins(
    raw: Vec<RawLogin>,
    own_cookie: &str,
    further_methods: &[Method],
    problems: &mut Problems,
) -> Logins {
    let (mut paths, mut pages, mut logins) = (Vec::new(), Vec::new(), Vec::new());
    let (mut followed, mut tenants_listed, mut refreshes) = (Vec::new(), Vec::new(), Vec::new());
    for raw in raw {
        report_own_cookie(&raw.follow, own_cookie, problems);
        report_followed_twice(&raw.follow, &mut followed, problems);
        if raw.tenants.get().is_some_and(|OneOrMany(list)| !list.is_empty()) {
            tenants_listed.push(raw.tenants.place().clone());
        }
        let of_login = login_paths(&raw.path, further_methods, problems);
        paths.extend(of_login.iter().map(|path| (raw.path.setting(), path.clone())));
        // The first one's page is where everybody is sent.
        let page = raw.login_url.parse(problems, |text| login_url(text));
        let page = page.or_else(|| pages.is_empty().then(|| LOGIN_URL.to_owned()));
        pages.extend(page.iter().map(|page| (raw.login_url.setting(), page.clone())));
        let first = pages.first().map_or_else(|| LOGIN_URL.to_owned(), |(_, first)| first.clone());
        let refresh = raw.refresh.get().map(|table| table.path.setting());
        let login = login(raw, of_login, page.unwrap_or(first), problems);
        let target = login.as_ref().and_then(|login| Some(&login.rules.tokens()?.refresh.as_ref()?.target));
        refreshes.extend(target.and_then(|target| Some((refresh?, PathPattern::parse(target.path()).ok()?))));
        logins.push(login);
    }
    let login_url = pages.first().map(|(_, first)| first.clone()).unwrap_or_default();
    let logins: Option<Vec<Login>> = logins.into_iter().collect();
    Logins { config: logins.map(|logins| LoginConfig { logins, login_url }), paths, pages, refreshes, tenants_listed }
}

fn login(raw: RawLogin, paths: Vec<LoginPath>, login_url: String, problems: &mut Problems) -> Option<Login> {
    let max_body = raw.max_body.parse_or(1 << 20, problems, memory_within(1 << 10..=64 << 20));
    let unless = match raw.unless.get() {
        Some(OneOrMany(list)) => each_of(list, problems, condition),
        None => ["/mfa_required", "/requires_2fa"].iter().filter_map(|text| condition(text).ok()).collect(),
    };
    let no_success = "is not a status that could be a success; write one from \"200\" to \"399\"";
    let failure = statuses(&raw.failure, 200..400, problems, no_success);
    let words = [("refuse", WithoutTenant::Refuse), ("session", WithoutTenant::Session)];
    let users = Users {
        kind: raw.kind.parse_or(None, problems, |text| kind(text)),
        without_tenant: raw.without_tenant.parse_or(WithoutTenant::Refuse, problems, choice(&words)),
    };
    let follow = each(&raw.follow, problems, cookie_name);
    let account = account(&raw.account, problems);
    let (follow_place, tenants_place) = (raw.follow.setting().place, raw.tenants.setting().place);
    let capture = capture(raw, problems)?;
    if !follow.is_empty() && !matches!(capture, Capture::Whoami { .. }) {
        problems.error(&follow_place, "needs `capture = \"whoami\"`: there is nobody else to ask whose the cookie is");
    }
    if let Capture::Json(pointers) | Capture::Whoami { pointers, .. } = &capture
        && !pointers.tenants.is_empty()
        && !pointers.role.is_empty()
    {
        let why = "a role is of the login's own tenant: in another that is chosen the backend gets none, and routes with \
                   `roles` refuse";
        problems.warn(&tenants_place, why);
    }
    Some(Login {
        paths,
        account,
        rules: LoginRules { capture, users, failure, unless, email: None },
        max_body,
        login_url,
        follow,
    })
}

/// Of a cookie that two logins follow nobody knows whom to ask about it.
fn report_followed_twice(names: &Field<Vec<Spot<String>>>, seen: &mut Vec<String>, problems: &mut Problems) {
    for Spot { place, value } in names.get().into_iter().flatten() {
        if seen.contains(value) {
            problems.error(place, format!("{} is followed already; name each cookie once", quoted(value)));
        }
        seen.push(value.clone());
    }
}

/// The kind of a login's users; none where it is empty.
fn kind(text: &str) -> Parsed<Option<UserKind>> {
    if text.is_empty() {
        return Ok(None);
    }
    UserKind::parse(text).map(Some).map_err(|error| format!("{} {error}", quoted(text)))
}

fn login_paths(field: &Field<OneOrMany>, further: &[Method], problems: &mut Problems) -> Vec<LoginPath> {
    let Some(OneOrMany(list)) = field.get() else {
        return login_path("/api/login", further).into_iter().collect();
    };
    if list.is_empty() {
        problems.error(field.place(), "is empty; write the path that logins are sent to");
    }
    let mut paths = Vec::new();
    for spot in list {
        match login_path(&spot.value, further) {
            Ok(path) => {
                if !path.methods.contains(&Method::POST) {
                    problems.warn(
                        &spot.place,
                        format!(
                            "{} is no POST: whoever is sent there by a link, in a mail or on any page, is logged in as \
                             whom the link is for",
                            quoted(&spot.value)
                        ),
                    );
                }
                paths.push(path);
            }
            Err(message) => problems.error(&spot.place, message),
        }
    }
    paths
}

/// A path, by POST unless a method stands before it.
fn login_path(text: &str, further: &[Method]) -> Parsed<LoginPath> {
    let (method, path) = text.split_once(' ').unwrap_or(("POST", text));
    let methods = MethodSet::NONE.with(method, further).ok_or_else(|| not_forwarded(method))?;
    Ok(LoginPath { methods, pattern: pattern(path)? })
}

fn condition(text: &str) -> Parsed<Condition> {
    Condition::parse(text).map_err(|error| format!("{} {error}", quoted(text)))
}

/// JSON pointers, or the bare names of fields.
fn account(field: &Field<OneOrMany>, problems: &mut Problems) -> Vec<JsonPointer> {
    let Some(OneOrMany(list)) = field.get() else { return ACCOUNT.map(JsonPointer::of_field).into() };
    if list.is_empty() {
        problems.error(field.place(), "is empty; write where a login's request names the account, as in \"/email\"");
    }
    each_of(list, problems, |text| {
        if text.starts_with('/') || text.is_empty() { pointer(text) } else { Ok(JsonPointer::of_field(text)) }
    })
}

fn capture(raw: RawLogin, problems: &mut Problems) -> Option<Capture> {
    let words = [
        ("json", CaptureWord::Json),
        ("header", CaptureWord::Header),
        ("whoami", CaptureWord::Whoami),
        ("jwt", CaptureWord::Jwt),
    ];
    let word = raw.capture.parse_or(CaptureWord::Json, problems, choice(&words));
    warn_of_unread(&raw, word, problems);
    match word {
        CaptureWord::Jwt => tokens::capture(raw, problems).map(|jwt| Capture::Jwt(Box::new(jwt))),
        CaptureWord::Json => Some(Capture::Json(IdentityPointers {
            tenant: needed_pointers(&raw.tenant, &["/customer_id"], problems),
            user: needed_pointers(&raw.user, &["/user_id"], problems),
            role: pointers(&raw.role, &[], problems),
            tenants: tenants(&raw.tenants, problems),
        })),
        CaptureWord::Header => Some(Capture::Header(headers(&raw.header.table(), problems))),
        CaptureWord::Whoami => {
            if !raw.whoami.is_given() {
                let example = "whoami = { path = \"/api/me\", tenant = \"/org/id\", user = \"/id\" }";
                problems.error(raw.whoami.place(), format!("is missing; add `{example}`"));
                return None;
            }
            let tenants = tenants(&raw.tenants, problems);
            let asked = raw.whoami.table();
            if asked.bearer.get() == Some(&true) {
                problems.error(
                    asked.bearer.place(),
                    "needs `capture = \"jwt\"`, which has a token to ask with; with cookies, remove it",
                );
            }
            let (target, pointers) = whoami(&asked, tenants, problems);
            Some(Capture::Whoami { target: target?, pointers })
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

fn warn_of_unread(raw: &RawLogin, word: CaptureWord, problems: &mut Problems) {
    let jwt = word == CaptureWord::Jwt;
    let json = word == CaptureWord::Json || (jwt && !raw.whoami.is_given());
    if word == CaptureWord::Header && raw.tenants.is_given() {
        let why = "needs `capture = \"json\"` or \"whoami\": a header lists no tenants";
        problems.error(raw.tenants.place(), why);
    }
    for (read, given, place) in [
        (jwt, raw.token.is_given(), raw.token.place()),
        (jwt, raw.refresh_token.is_given(), raw.refresh_token.place()),
        (jwt, raw.answer.is_given(), raw.answer.place()),
        (jwt, raw.refresh.is_given(), raw.refresh.place()),
        (jwt, raw.max_token.is_given(), raw.max_token.place()),
        (json, raw.tenant.is_given(), raw.tenant.place()),
        (json, raw.user.is_given(), raw.user.place()),
        (json, raw.role.is_given(), raw.role.place()),
        (word == CaptureWord::Header, raw.header.is_given(), raw.header.place()),
        (jwt || word == CaptureWord::Whoami, raw.whoami.is_given(), raw.whoami.place()),
    ] {
        if given && !read {
            problems.warn(place, "is not read with this `login.capture`; remove it or change `login.capture`");
        }
    }
}

/// A path on this host: anything else would send browsers, with their `next=`, somewhere else.
fn login_url(text: &str) -> Parsed<String> {
    let url = request_path(text)?;
    let path = url.split('?').next().unwrap_or("");
    endpoint(path)?;
    Ok(url)
}
