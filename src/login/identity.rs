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

use crate::http::{Finding, IdentityRules, JsonPointer, ManyPointer};
use crate::session::{MOST_TENANTS, Principal, TenantId, UserId, UserKind};

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
    /// `login.tenants`: all that each of them finds; may be empty.
    pub tenants: Vec<ManyPointer>,
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

/// What becomes of a user whom an answer names without a tenant (`login.without_tenant`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutTenant {
    /// They have not come in yet: the answer names nobody.
    #[default]
    Refuse,
    /// They get a session, and the backend no tenant.
    Session,
    /// The backend is asked of which tenant they are (`tenants.verify`), and they get a session if it says so.
    Asked,
}

/// Whom a login lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Of which kind its users are (`login.kind`); `None`: there is one kind alone, or this is the usual one.
    pub kind: Option<UserKind>,
    /// Whether they must have a tenant.
    pub without_tenant: WithoutTenant,
}

/// Who an answer says has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginIdentity {
    /// Nobody, or nobody yet. The answer passes unchanged and makes no session.
    None,
    /// Somebody, and the tenants that they may choose from, where the answer has any.
    Principal(Principal, Vec<TenantId>),
    /// Somebody, in a way that cannot be believed: 502 `bad_identity`. The text is for the log and holds no value.
    Bad(&'static str),
}

impl LoginIdentity {
    /// Reads a JSON answer. One without a user names nobody; nor does one without a tenant, unless `users` says so.
    #[must_use]
    pub fn from_json(answer: &Value, pointers: &IdentityPointers, users: &Users, rules: &IdentityRules) -> Self {
        Self::from_several(&[answer], pointers, users, rules)
    }

    /// The same of several documents: each part is read in the first that has it.
    #[must_use]
    pub fn from_several(
        documents: &[&Value],
        pointers: &IdentityPointers,
        users: &Users,
        rules: &IdentityRules,
    ) -> Self {
        let found = |pointers: &[JsonPointer]| find(documents, pointers);
        let named = Named { tenant: found(&pointers.tenant), user: found(&pointers.user), role: found(&pointers.role) };
        match named.identity(users, rules) {
            Self::Principal(principal, _) => {
                let tenants = tenants(documents, &pointers.tenants, rules);
                tenants.map_or_else(Self::Bad, |tenants| Self::Principal(principal, tenants))
            }
            nobody => nobody,
        }
    }

    /// Reads an answer's headers. An absent or empty one is no identity; two of one name are not believed.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, names: &LoginHeaders, users: &Users, rules: &IdentityRules) -> Self {
        let named = Named {
            tenant: find_header(headers, &names.tenant),
            user: find_header(headers, &names.user),
            role: names.role.as_ref().map_or(Finding::Nothing, |name| find_header(headers, name)),
        };
        named.identity(users, rules)
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
            (Ok(tenant), Ok(role)) => Self::Principal(Principal { tenant, user: user.clone(), role }, Vec::new()),
            (Err(why), _) | (_, Err(why)) => Self::Bad(why),
        }
    }
}

/// What an answer has where tenant, user and role are named.
struct Named<'a> {
    tenant: Finding<'a>,
    user: Finding<'a>,
    role: Finding<'a>,
}

impl Named<'_> {
    fn identity(&self, users: &Users, rules: &IdentityRules) -> LoginIdentity {
        match self.principal(users, rules) {
            Ok(Some(principal)) => LoginIdentity::Principal(principal, Vec::new()),
            Ok(None) => LoginIdentity::None,
            Err(why) => LoginIdentity::Bad(why),
        }
    }

    fn principal(&self, users: &Users, rules: &IdentityRules) -> Result<Option<Principal>, &'static str> {
        let tenant = match &self.tenant {
            Finding::Nothing if users.without_tenant == WithoutTenant::Refuse => return Ok(None),
            Finding::Nothing => Ok(TenantId::none()),
            Finding::Unusable => Err("the tenant is neither one string nor an integer"),
            Finding::Bytes(tenant) => rules.named_tenant(tenant),
        };
        let user = match &self.user {
            Finding::Nothing => return Ok(None),
            Finding::Unusable => Err("the user is neither one string nor an integer"),
            Finding::Bytes(user) => rules
                .canonical_user(user)
                .map_err(|_| "the user is not 1 to 128 visible ASCII characters without comma"),
        };
        let (tenant, user) = (tenant?, user?.of_kind(users.kind.as_ref()));
        Ok(Some(Principal { tenant, user, role: rules.named_role(&self.role)? }))
    }
}

/// The tenants that an answer lists, each once. One that cannot be read makes none of it credible.
fn tenants(
    documents: &[&Value],
    pointers: &[ManyPointer],
    rules: &IdentityRules,
) -> Result<Vec<TenantId>, &'static str> {
    let mut tenants: Vec<TenantId> = Vec::new();
    for pointer in pointers {
        let found = documents.iter().find_map(|document| pointer.find_in(document).ok());
        for value in found.ok_or("there is no list, or a very long one, where the tenants to choose from should be")? {
            let tenant = match Finding::of(value) {
                Finding::Nothing => continue,
                Finding::Unusable => return Err("a tenant to choose from is neither one string nor an integer"),
                Finding::Bytes(tenant) => rules.named_tenant(&tenant)?,
            };
            if tenants.contains(&tenant) {
                continue;
            }
            if tenants.len() == MOST_TENANTS {
                return Err("the answer lists more than 64 tenants to choose from");
            }
            tenants.push(tenant);
        }
    }
    Ok(tenants)
}

fn find<'a>(documents: &[&'a Value], pointers: &[JsonPointer]) -> Finding<'a> {
    let values = documents.iter().flat_map(|answer| pointers.iter().filter_map(|pointer| pointer.find_in(answer)));
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
