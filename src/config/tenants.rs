//! `[tenants]`: asking the backend at login whether a user may use the tenant.

use std::time::Duration;

use super::error::Problems;
use super::login::LoginConfig;
use super::parsers::{pointers, request_path, statuses};
use super::raw::RawTenants;
use super::reader::OneOrMany;
use super::value::{Parsed, count_within, duration_within, quoted};
use crate::login::MembershipRules;

/// How the backend is asked about a tenant at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantsConfig {
    /// The path that is asked, with `{user_id}` and `{tenant}` to be filled in.
    pub verify: String,
    /// How its answer is read.
    pub answer: MembershipRules,
    /// How often it is asked before the login is refused.
    pub attempts: u32,
    /// How long is waited between two attempts, times the attempt's number.
    pub backoff: Duration,
}

const NAMES: [&str; 2] = ["user_id", "tenant"];
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// `login` has further places in which an answer may name the tenant.
pub(super) fn tenants(raw: &RawTenants, login: Option<&LoginConfig>, problems: &mut Problems) -> Option<TenantsConfig> {
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
    let answer = MembershipRules { exists, tenant, missing };
    Some(TenantsConfig { verify: verify?, answer, attempts, backoff })
}

fn template(text: &str) -> Parsed<String> {
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
    request_path(text)
}
