//! What a backend answers to the question whether a user may use a tenant (`[tenants]`, `verify`).
//!
//! A yes and a no are what the answer says in so many words. Everything else is neither, errors above all: a tenant that
//! could not be verified is not believed, and a backend that is unwell has refused nobody.

use ::http::StatusCode;
use serde_json::Value;

use super::read_json;
use crate::http::{Finding, IdentityRules, JsonPointer};
use crate::session::TenantId;

/// Where such an answer says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipRules {
    /// Where it says whether the tenant exists for the user; of several the first that is there counts.
    pub exists: Vec<JsonPointer>,
    /// Where it names the tenant. Each that is there must name the login's.
    pub tenant: Vec<JsonPointer>,
    /// Statuses that are a no.
    pub missing: Vec<u16>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The user may use the tenant.
    Yes,
    /// The user may not.
    No,
    /// Neither. The text is for the log and holds no value.
    Unclear(String),
}

impl MembershipRules {
    /// Reads an answer about this tenant.
    #[must_use]
    pub fn read(&self, status: StatusCode, body: &[u8], tenant: &TenantId, spelling: &IdentityRules) -> Membership {
        if self.missing.contains(&status.as_u16()) {
            return Membership::No;
        }
        if !status.is_success() {
            return Membership::Unclear(format!("the backend answered {status}"));
        }
        let Some(answer) = read_json(body) else {
            return Membership::Unclear(String::from("the answer is no JSON"));
        };
        let exists = self.exists.iter().find_map(|pointer| pointer.find_in(&answer));
        if exists == Some(&Value::Bool(false)) {
            return Membership::No;
        }
        let mut named = false;
        for value in self.tenant.iter().filter_map(|pointer| pointer.find_in(&answer)) {
            match spelling.tenant_of(value) {
                Some(other) if other != *tenant => return Membership::No,
                Some(_) => named = true,
                None if Finding::of(value) == Finding::Nothing => {}
                None => return Membership::Unclear(String::from("the answer names a tenant that cannot be one")),
            }
        }
        match exists {
            Some(Value::Bool(true)) => Membership::Yes,
            None if named => Membership::Yes,
            Some(_) => Membership::Unclear(format!("there is neither true nor false at {}", self.places())),
            None => Membership::Unclear(format!("there is nothing at {}", self.places())),
        }
    }

    fn places(&self) -> String {
        let places: Vec<&str> = self.exists.iter().map(JsonPointer::as_str).collect();
        places.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exists: &[&str], missing: &[u16]) -> MembershipRules {
        let pointers = |texts: &[&str]| texts.iter().map(|text| JsonPointer::parse(text).expect(text)).collect();
        MembershipRules {
            exists: pointers(exists),
            tenant: pointers(&["/tenant_id", "/org"]),
            missing: missing.to_vec(),
        }
    }

    #[test]
    fn only_a_clear_yes_is_a_yes_and_an_error_is_never_a_no() {
        let usual = ["/tenant_exists", "/exists", "/success", "/ok"];
        let tenant = TenantId::parse("42").expect("a tenant");
        for (exists, missing, status, body, expected) in [
            (&usual[..], &[][..], 200, r#"{"tenant_exists": true}"#, "yes"),
            (&usual, &[], 200, r#"{"tenant_exists": false}"#, "no"),
            (&usual, &[], 200, r#"{"success": true, "tenant_exists": false}"#, "no"),
            (&usual, &[], 200, r#"{"ok": false}"#, "no"),
            (&usual, &[], 200, r#"{"success": true}"#, "yes"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": 42}"#, "yes"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": 42.0}"#, "yes"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": 77}"#, "no"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": 42, "org": "77"}"#, "no"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": null}"#, "yes"),
            (&usual, &[], 200, r#"{"success": true, "tenant_id": {"id": 42}}"#, "unclear"),
            (&usual, &[], 200, r#"{"tenant_id": "42"}"#, "yes"),
            (&usual, &[], 200, r#"{"tenant_id": "77"}"#, "no"),
            (&usual, &[], 200, r#"{"name": "\ud800", "exists": true}"#, "yes"),
            (&usual, &[], 200, r#"{"tenant_exists": "true"}"#, "unclear"),
            (&usual, &[], 200, r#"{"tenant_exists": 1}"#, "unclear"),
            (&usual, &[], 200, r#"{"tenant_exists": null}"#, "unclear"),
            (&usual, &[], 200, "{}", "unclear"),
            (&usual, &[], 200, "", "unclear"),
            (&usual, &[], 204, "", "unclear"),
            (&usual, &[], 200, "<html>", "unclear"),
            (&usual, &[], 302, r#"{"exists": true}"#, "unclear"),
            (&usual, &[], 400, r#"{"exists": false}"#, "unclear"),
            (&usual, &[], 401, "", "unclear"),
            (&usual, &[], 403, "", "unclear"),
            (&usual, &[], 404, r#"{"exists": false}"#, "unclear"),
            (&usual, &[404], 404, "", "no"),
            (&usual, &[404], 500, "", "unclear"),
            (&["/data/active"], &[], 200, r#"{"success": false, "data": {"active": true}}"#, "yes"),
            (&["/data/active"], &[], 200, r#"{"success": true, "data": {}}"#, "unclear"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let read = rules(exists, missing).read(status, body.as_bytes(), &tenant, &IdentityRules::default());
            let name = match read {
                Membership::Yes => "yes",
                Membership::No => "no",
                Membership::Unclear(_) => "unclear",
            };
            assert_eq!(name, expected, "{exists:?} {status} {body}");
        }
    }
}
