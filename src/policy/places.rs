//! Where a request names its tenant or user beside the headers: in the path, in the body. What stands there must be the
//! session's own.

use std::borrow::Cow;

use serde_json::Value;

use super::pattern::PathPattern;
use crate::http::{Finding, IdentityRules, JsonPointer};
use crate::session::{Principal, TenantId};

/// The names of the segments that hold a tenant and a user.
const TENANT: &str = "tenant";
const USER: &str = "user";

/// Where the requests of a route name somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamingPlaces {
    /// The segment of the path that names the tenant.
    tenant: Option<usize>,
    /// The one that names the user.
    user: Option<usize>,
    /// Places in the body that name the tenant.
    in_body: Vec<JsonPointer>,
}

impl NamingPlaces {
    /// Those of a pattern, and in the body.
    #[must_use]
    pub fn of(pattern: &PathPattern, in_body: Vec<JsonPointer>) -> Self {
        Self { tenant: pattern.position_of(TENANT), user: pattern.position_of(USER), in_body }
    }

    /// Those in the body, of a route whose patterns each have their own.
    #[must_use]
    pub const fn in_bodies(in_body: Vec<JsonPointer>) -> Self {
        Self { tenant: None, user: None, in_body }
    }

    /// Whether the path names somebody.
    #[must_use]
    pub const fn are_in_path(&self) -> bool {
        self.tenant.is_some() || self.user.is_some()
    }

    /// The places in the body.
    #[must_use]
    pub fn in_body(&self) -> &[JsonPointer] {
        &self.in_body
    }

    /// Whether the path names the principal, where it names anybody. `segments` are its decoded ones.
    pub fn path_names<'a>(
        &self,
        segments: impl Iterator<Item = Cow<'a, str>>,
        principal: &Principal,
        rules: &IdentityRules,
    ) -> bool {
        let (mut tenant, mut user) = (self.tenant.is_none(), self.user.is_none());
        for (at, segment) in segments.enumerate() {
            if self.tenant == Some(at) {
                tenant = rules.canonical_tenant(&segment).is_ok_and(|named| named == principal.tenant);
            }
            if self.user == Some(at) {
                user = rules
                    .canonical_user(segment.as_bytes())
                    .is_ok_and(|named| named.as_str() == principal.user.as_str());
            }
        }
        tenant && user
    }
}

/// Whether what a body says names the tenant, where it names any: null and the empty text are nobody's.
#[must_use]
pub fn body_names(values: &[Value], tenant: &TenantId, rules: &IdentityRules) -> bool {
    values.iter().all(|value| match Finding::of(value) {
        Finding::Nothing => true,
        Finding::Bytes(raw) => rules.named_tenant(&raw).is_ok_and(|named| named == *tenant),
        Finding::Unusable => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::TenantFormat;
    use crate::session::UserId;

    fn principal() -> Principal {
        Principal {
            tenant: TenantId::parse("42").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: None,
        }
    }

    #[test]
    fn who_is_named_in_the_path_is_who_the_session_is() {
        let int = IdentityRules { tenant_format: TenantFormat::Int, ..IdentityRules::default() };
        for (pattern, path, rules, own) in [
            ("/orgs/{tenant}/*", "/orgs/42/x", IdentityRules::default(), true),
            ("/orgs/{tenant}/*", "/orgs/77/x", IdentityRules::default(), false),
            ("/orgs/{tenant}/*", "/orgs/042/x", IdentityRules::default(), false),
            ("/orgs/{tenant}/*", "/orgs/042/x", int, true),
            ("/orgs/{tenant}/*", "/orgs/+42/x", int, false),
            ("/orgs/{tenant}/users/{user}", "/orgs/42/users/7", IdentityRules::default(), true),
            ("/orgs/{tenant}/users/{user}", "/orgs/42/users/8", IdentityRules::default(), false),
            ("/orgs/{tenant}/users/{user}", "/orgs/77/users/7", IdentityRules::default(), false),
            ("/users/{user}", "/users/07", int, false),
            ("/orgs/{id}", "/orgs/77", IdentityRules::default(), true),
            ("/orgs/{tenant}", "/orgs", IdentityRules::default(), false),
        ] {
            let places = NamingPlaces::of(&PathPattern::parse(pattern).expect(pattern), Vec::new());
            let segments = path.split('/').skip(1).map(Cow::Borrowed);
            assert_eq!(places.path_names(segments, &principal(), &rules), own, "{pattern} {path}");
        }
    }

    #[test]
    fn a_body_that_names_a_tenant_names_the_sessions() {
        let rules = IdentityRules::default();
        for (values, own) in [
            (json!([]), true),
            (json!([42]), true),
            (json!(["42", 42, 42.0]), true),
            (json!([null, ""]), true),
            (json!([77]), false),
            (json!([42, 77]), false),
            (json!(["042"]), false),
            (json!([" 42"]), false),
            (json!([42.5]), false),
            (json!([[42]]), false),
            (json!([{"id": 42}]), false),
            (json!([true]), false),
            (json!([false]), false),
            (json!([0]), false),
        ] {
            let values = values.as_array().expect("a list");
            assert_eq!(body_names(values, &principal().tenant, &rules), own, "{values:?}");
        }
    }
}
