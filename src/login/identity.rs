//! Who an answer says has logged in (docs/behaviour.md, "Login").
//!
//! Three outcomes are kept apart: nobody yet (a second factor is due; the answer passes unchanged), somebody, and an
//! answer that names somebody in a way that could be misread in a header, which makes no session and is a 502. A value
//! is never repaired into a valid one.
//!
//! Where a JSON object has a key twice the last one counts, as for Python's and JavaScript's parsers: backend, browser
//! and gateway see the same. Size is bounded by the caller.

use std::borrow::Cow;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::http::{Finding, IdentityRules, JsonPointer};
use crate::session::{Principal, UserId};

#[cfg(test)]
mod tests;

const SESSION_TENANT: HeaderName = HeaderName::from_static("x-session-tenant");
const SESSION_ROLE: HeaderName = HeaderName::from_static("x-session-role");

/// Where a JSON answer names tenant, user and role. Of each list the first pointer that finds something counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPointers {
    /// `login.tenant`.
    pub tenant: Vec<JsonPointer>,
    /// `login.user`.
    pub user: Vec<JsonPointer>,
    /// `login.role`; may be empty.
    pub role: Vec<JsonPointer>,
}

/// The response headers in which a backend names them (`login.header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginHeaders {
    /// The tenant's.
    pub tenant: HeaderName,
    /// The user's.
    pub user: HeaderName,
    /// The role's.
    pub role: Option<HeaderName>,
}

/// Who an answer says has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginIdentity {
    /// Nobody, or nobody yet. The answer passes unchanged and makes no session.
    None,
    /// Somebody.
    Principal(Principal),
    /// Somebody, in a way that cannot be believed: 502 `bad_identity`. The text is for the log and holds no value.
    Bad(&'static str),
}

impl LoginIdentity {
    /// Reads a JSON answer. One without a tenant or a user names nobody.
    #[must_use]
    pub fn from_json(answer: &Value, pointers: &IdentityPointers, rules: &IdentityRules) -> Self {
        Self::of_findings(
            find(answer, &pointers.tenant),
            find(answer, &pointers.user),
            &find(answer, &pointers.role),
            rules,
        )
    }

    /// Reads an answer's headers. An absent or empty one is no identity; two of one name are not believed.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, names: &LoginHeaders, rules: &IdentityRules) -> Self {
        let role = names.role.as_ref().map_or(Finding::Nothing, |name| find_header(headers, name));
        Self::of_findings(find_header(headers, &names.tenant), find_header(headers, &names.user), &role, rules)
    }

    /// Reads who a user is after switching tenants: the headers `X-Session-Tenant` and `X-Session-Role` of the answer.
    /// The user stays. The role does not: one that was held in another tenant is nothing in this one.
    #[must_use]
    pub fn from_switch(headers: &HeaderMap, user: &UserId, rules: &IdentityRules) -> Self {
        let tenant = match find_header(headers, &SESSION_TENANT) {
            Finding::Nothing => return Self::None,
            Finding::Unusable => return Self::Bad("there are several X-Session-Tenant"),
            Finding::Bytes(tenant) => rules.named_tenant(&tenant),
        };
        match (tenant, rules.named_role(&find_header(headers, &SESSION_ROLE))) {
            (Ok(tenant), Ok(role)) => Self::Principal(Principal { tenant, user: user.clone(), role }),
            (Err(why), _) | (_, Err(why)) => Self::Bad(why),
        }
    }

    fn of_findings(tenant: Finding<'_>, user: Finding<'_>, role: &Finding<'_>, rules: &IdentityRules) -> Self {
        let (tenant, user) = match (tenant, user) {
            (Finding::Nothing, _) | (_, Finding::Nothing) => return Self::None,
            (Finding::Unusable, _) => return Self::Bad("the tenant is neither one string nor an integer"),
            (_, Finding::Unusable) => return Self::Bad("the user is neither one string nor an integer"),
            (Finding::Bytes(tenant), Finding::Bytes(user)) => (tenant, user),
        };
        let tenant = match rules.named_tenant(&tenant) {
            Ok(tenant) => tenant,
            Err(why) => return Self::Bad(why),
        };
        let Ok(user) = rules.canonical_user(&user) else {
            return Self::Bad("the user is not 1 to 128 visible ASCII characters without comma");
        };
        match rules.named_role(role) {
            Ok(role) => Self::Principal(Principal { tenant, user, role }),
            Err(why) => Self::Bad(why),
        }
    }
}

fn find<'a>(answer: &'a Value, pointers: &[JsonPointer]) -> Finding<'a> {
    let values = pointers.iter().filter_map(|pointer| pointer.find_in(answer));
    values.map(Finding::of).find(|finding| !matches!(finding, Finding::Nothing)).unwrap_or(Finding::Nothing)
}

fn find_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Finding<'a> {
    let mut lines = headers.get_all(name).into_iter();
    match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
        (None | Some(b""), None) => Finding::Nothing,
        (Some(value), None) => Finding::Bytes(Cow::Borrowed(value)),
        (_, Some(_)) => Finding::Unusable,
    }
}
