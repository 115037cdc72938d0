//! `[tenants]`: asking the backend whether a user's tenant exists, and what becomes of those who paid and have none yet.

use std::time::Duration;

use http::Method;

use super::error::Problems;
use super::login::LoginConfig;
use super::parsers::{not_forwarded, pattern, pointers, request_path, statuses};
use super::raw::RawTenants;
use super::reader::OneOrMany;
use super::value::{Parsed, count_within, duration_within, or_off, quoted};
use crate::login::MembershipRules;
use crate::policy::{MethodSet, PathPattern, PatternTree};
use crate::session::Limits;

/// How the backend is asked about a user's tenant.
#[derive(Clone, Debug)]
pub struct TenantsConfig {
    /// The path that is asked, with `{user_id}` and `{tenant}` to be filled in.
    pub verify: String,
    /// The same as clients would ask it, which they may not.
    pub asked: PathPattern,
    /// How its answer is read.
    pub answer: MembershipRules,
    /// How often it is asked before nobody can tell.
    pub attempts: u32,
    /// How long is waited between two attempts, times the attempt's number.
    pub backoff: Duration,
    /// How often it is asked again about those whose sessions are in use; `None`: never.
    pub recheck: Option<Duration>,
    /// What becomes of users who paid and have no tenant yet; `None`: they cannot come in.
    pub onboarding: Option<Onboarding>,
}

/// Sessions of users who paid and have no tenant yet.
#[derive(Clone, Debug)]
pub struct Onboarding {
    paths: PatternTree<MethodSet>,
    /// How long they live.
    pub limits: Limits,
}

impl TenantsConfig {
    /// Whether its answers say who paid.
    #[must_use]
    pub fn knows_who_paid(&self) -> bool {
        !self.answer.paid.is_empty()
    }

    /// Whether it is asked about users, and not about tenants as a whole.
    #[must_use]
    pub fn asks_about_users(&self) -> bool {
        self.verify.contains(USER)
    }

    /// Whether it is asked about a user alone, so that its answer can say of which tenant they are.
    #[must_use]
    pub fn asks_about_the_user(&self) -> bool {
        !self.verify.contains(TENANT)
    }
}

impl Onboarding {
    /// Whether a request is one for which such a session is good.
    pub fn covers<S: AsRef<str>>(&self, method: &Method, segments: &[S], trailing_slash: bool) -> bool {
        self.paths.find(segments, trailing_slash).iter().any(|methods| methods.contains(method))
    }
}

const USER: &str = "{user_id}";
const TENANT: &str = "{tenant}";
const NAMES: [&str; 2] = ["user_id", "tenant"];
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Asked more often, a backend would have as many questions as requests.
const RECHECKS: std::ops::RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// `login` has further places in which an answer may name the tenant; `limits` are those of all sessions.
pub(super) fn tenants(
    raw: &RawTenants,
    login: Option<&LoginConfig>,
    limits: &Limits,
    further_methods: &[Method],
    problems: &mut Problems,
) -> Option<TenantsConfig> {
    let verify = raw.verify.require(problems, "verify = \"/api/tenants/verify/{user_id}\"", |text| template(text));
    let attempts = raw.attempts.parse_or(3, problems, count_within(1..=10));
    let backoff =
        raw.backoff.parse_or(Duration::from_secs(2), problems, duration_within(Duration::ZERO..=LONGEST_BACKOFF));
    let exists = pointers(&raw.exists, &["/tenant_exists", "/exists", "/success", "/ok"], problems);
    if raw.exists.get().is_some_and(|OneOrMany(list)| list.is_empty()) {
        problems.error(raw.exists.place(), "is empty; write where the answer says true or false, as in \"/exists\"");
    }
    let mut tenant = pointers(&raw.tenant, &["/tenant_id"], problems);
    if !raw.tenant.is_given() {
        let named = login.into_iter().flat_map(|login| &login.logins).filter_map(|login| login.rules.pointers());
        tenant.extend(named.flat_map(|pointers| &pointers.tenant).cloned());
    }
    let missing =
        statuses(&raw.missing, 400..600, problems, "is no error; write one from \"400\" to \"599\", as in \"404\"");
    let onboarding = onboarding(raw, limits, further_methods, problems);
    let asks_about_a_tenant = raw.verify.get().is_some_and(|verify| verify.contains(TENANT));
    // Users are within tenants: who has none is somebody only where they are asked about alone.
    let paid = if asks_about_a_tenant { Vec::new() } else { pointers(&raw.paid, &["/has_payment"], problems) };
    if asks_about_a_tenant && onboarding.is_some() {
        let message = "asks about a tenant, which a user in onboarding does not have; ask about {user_id} alone";
        problems.error(raw.verify.place(), message);
    } else if asks_about_a_tenant && raw.paid.is_given() {
        let message = "has no effect where `verify` asks about a {tenant}; ask about {user_id} alone";
        problems.error(raw.paid.place(), message);
    }
    let recheck = raw.recheck.parse_or(None, problems, or_off(duration_within(RECHECKS)));
    let (verify, asked) = verify?;
    let answer = MembershipRules { exists, tenant, paid, missing };
    Some(TenantsConfig { verify, asked, answer, attempts, backoff, recheck, onboarding })
}

fn onboarding(
    raw: &RawTenants,
    limits: &Limits,
    further_methods: &[Method],
    problems: &mut Problems,
) -> Option<Onboarding> {
    let longest = MINUTE * 60 * 24 * 7;
    let lifetime = raw.onboarding_lifetime.parse_or(MINUTE * 120, problems, duration_within(MINUTE..=longest));
    let listed = raw.onboarding.get().map_or(&[][..], Vec::as_slice);
    if listed.is_empty() {
        // A wrong list has been reported.
        if raw.onboarding_lifetime.is_given() && (raw.onboarding.get().is_some() || !raw.onboarding.is_given()) {
            problems.error(raw.onboarding_lifetime.place(), "has no effect without `onboarding`; add the routes for those who paid and have no tenant yet, as in `onboarding = [\"/onboarding/*\"]`");
        }
        return None;
    }
    let mut paths = PatternTree::default();
    for spot in listed {
        match onboarding_path(&spot.value, further_methods) {
            Ok((methods, pattern)) => paths.insert(&pattern, methods),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    let limits = Limits { absolute: limits.absolute.min(lifetime), remember: limits.remember.min(lifetime), ..*limits };
    Some(Onboarding { paths, limits })
}

/// A pattern, by all methods unless one stands before it.
fn onboarding_path(text: &str, further: &[Method]) -> Parsed<(MethodSet, PathPattern)> {
    let (methods, path) = match text.split_once(' ') {
        Some((method, path)) => (MethodSet::NONE.with(method, further).ok_or_else(|| not_forwarded(method))?, path),
        None => (MethodSet::ALL, text),
    };
    Ok((methods, pattern(path)?))
}

/// The path, and the pattern of what can be asked by it.
fn template(text: &str) -> Parsed<(String, PathPattern)> {
    let mut rest = text;
    let mut names = 0;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("has a `{` without `}`")?;
        if !NAMES.contains(&name) {
            return Err(format!("{{{name}}} is not known; use {{user_id}} and {{tenant}}"));
        }
        names += 1;
        rest = after;
    }
    if rest.contains('}') || names == 0 {
        return Err(format!("{} has no {{user_id}} or {{tenant}}; write where they stand", quoted(text)));
    }
    let path = request_path(text)?;
    let segments = path.split('?').next().unwrap_or_default().split('/').skip(1);
    let any = |segment: &str| if segment.contains('{') { String::from("{_}") } else { segment.to_owned() };
    let asked = segments.map(any).fold(String::new(), |path, segment| format!("{path}/{segment}"));
    Ok((path, pattern(&asked)?))
}
