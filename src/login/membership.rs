//! What a backend answers to the question whether a user's tenant exists (`[tenants]`, `verify`).
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
    /// Where it names the tenant. Each that is there must name the login's, or all the same.
    pub tenant: Vec<JsonPointer>,
    /// Where a no says that the user has paid. Empty: nobody asks.
    pub paid: Vec<JsonPointer>,
    /// Statuses that are a no.
    pub missing: Vec<u16>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The user is of this tenant.
    Yes(TenantId),
    /// The user is of none, or not of the one that the login named.
    No {
        /// That they have paid, and are of none.
        paid: bool,
    },
    /// Neither. The text is for the log and holds no value.
    Unclear(String),
}

/// What of an answer names a tenant.
enum Named {
    Nothing,
    One(TenantId),
    Several,
    Unusable,
}

impl MembershipRules {
    /// Reads an answer about a user, whom the login named this tenant for, if any.
    #[must_use]
    pub fn read(&self, status: StatusCode, body: &[u8], login: &TenantId, spelling: &IdentityRules) -> Membership {
        let answer = read_json(body);
        if self.missing.contains(&status.as_u16()) {
            return Membership::No { paid: answer.is_some_and(|answer| self.says_paid(&answer)) };
        }
        if !status.is_success() {
            return Membership::Unclear(format!("the backend answered {status}"));
        }
        let Some(answer) = answer else {
            return Membership::Unclear(String::from("the answer is no JSON"));
        };
        let exists = self.exists.iter().find_map(|pointer| pointer.find_in(&answer));
        if exists == Some(&Value::Bool(false)) {
            return Membership::No { paid: self.says_paid(&answer) };
        }
        if !matches!(exists, None | Some(Value::Bool(true))) {
            return Membership::Unclear(format!("there is neither true nor false at {}", places(&self.exists)));
        }
        match (self.named(&answer, spelling), login.name()) {
            (Named::Unusable, _) => Membership::Unclear(String::from("the answer names a tenant that cannot be one")),
            // It says of which tenants the user is, and the login's is not among them.
            (Named::One(named), Some(_)) if named != *login => Membership::No { paid: false },
            (Named::Several, Some(_)) => Membership::No { paid: false },
            (Named::Several, None) => Membership::Unclear(String::from("the answer names several tenants")),
            (Named::One(named), _) => Membership::Yes(named),
            (Named::Nothing, _) if exists.is_none() => {
                Membership::Unclear(format!("there is nothing at {}", places(&self.exists)))
            }
            (Named::Nothing, Some(_)) => Membership::Yes(login.clone()),
            (Named::Nothing, None) => Membership::Unclear(format!("there is no tenant at {}", places(&self.tenant))),
        }
    }

    fn named(&self, answer: &Value, spelling: &IdentityRules) -> Named {
        let mut named = Named::Nothing;
        for value in self.tenant.iter().filter_map(|pointer| pointer.find_in(answer)) {
            named = match (spelling.tenant_of(value), named) {
                (Some(tenant), Named::Nothing) => Named::One(tenant),
                (Some(tenant), Named::One(other)) if tenant == other => Named::One(other),
                (Some(_), _) => Named::Several,
                (None, named) if Finding::of(value) == Finding::Nothing => named,
                (None, _) => return Named::Unusable,
            };
        }
        named
    }

    /// Strictly: what is not true is no payment.
    fn says_paid(&self, answer: &Value) -> bool {
        self.paid.iter().find_map(|pointer| pointer.find_in(answer)) == Some(&Value::Bool(true))
    }
}

fn places(pointers: &[JsonPointer]) -> String {
    let places: Vec<&str> = pointers.iter().map(JsonPointer::as_str).collect();
    places.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exists: &[&str], missing: &[u16]) -> MembershipRules {
        let pointers = |texts: &[&str]| texts.iter().map(|text| JsonPointer::parse(text).expect(text)).collect();
        MembershipRules {
            exists: pointers(exists),
            tenant: pointers(&["/tenant_id", "/org"]),
            paid: pointers(&["/has_payment"]),
            missing: missing.to_vec(),
        }
    }

    fn name_of(membership: &Membership) -> String {
        match membership {
            Membership::Yes(tenant) => format!("yes {}", tenant.shown()),
            Membership::No { paid: true } => String::from("paid"),
            Membership::No { paid: false } => String::from("no"),
            Membership::Unclear(_) => String::from("unclear"),
        }
    }

    const USUAL: [&str; 4] = ["/tenant_exists", "/exists", "/success", "/ok"];

    #[test]
    fn only_a_clear_yes_is_a_yes_and_an_error_is_never_a_no() {
        let tenant = TenantId::parse("42").expect("a tenant");
        for (exists, missing, status, body, expected) in [
            (&USUAL[..], &[][..], 200, r#"{"tenant_exists": true}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"tenant_exists": false}"#, "no"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_exists": false}"#, "no"),
            (&USUAL, &[], 200, r#"{"ok": false}"#, "no"),
            (&USUAL, &[], 200, r#"{"success": true}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": 42}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": 42.0}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": 77}"#, "no"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": 77, "has_payment": true}"#, "no"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": 42, "org": "77"}"#, "no"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": null}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"success": true, "tenant_id": {"id": 42}}"#, "unclear"),
            (&USUAL, &[], 200, r#"{"tenant_id": "42"}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"tenant_id": "77"}"#, "no"),
            (&USUAL, &[], 200, r#"{"name": "\ud800", "exists": true}"#, "yes 42"),
            (&USUAL, &[], 200, r#"{"tenant_exists": "true"}"#, "unclear"),
            (&USUAL, &[], 200, r#"{"tenant_exists": 1}"#, "unclear"),
            (&USUAL, &[], 200, r#"{"tenant_exists": null}"#, "unclear"),
            (&USUAL, &[], 200, "{}", "unclear"),
            (&USUAL, &[], 200, "", "unclear"),
            (&USUAL, &[], 204, "", "unclear"),
            (&USUAL, &[], 200, "<html>", "unclear"),
            (&USUAL, &[], 302, r#"{"exists": true}"#, "unclear"),
            (&USUAL, &[], 400, r#"{"exists": false}"#, "unclear"),
            (&USUAL, &[], 401, "", "unclear"),
            (&USUAL, &[], 403, "", "unclear"),
            (&USUAL, &[], 404, r#"{"exists": false}"#, "unclear"),
            (&USUAL, &[404], 404, "", "no"),
            (&USUAL, &[404], 404, r#"{"has_payment": true}"#, "paid"),
            (&USUAL, &[404], 500, "", "unclear"),
            (&["/data/active"], &[], 200, r#"{"success": false, "data": {"active": true}}"#, "yes 42"),
            (&["/data/active"], &[], 200, r#"{"success": true, "data": {}}"#, "unclear"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let read = rules(exists, missing).read(status, body.as_bytes(), &tenant, &IdentityRules::default());
            assert_eq!(name_of(&read), expected, "{exists:?} {status} {body}");
        }
    }

    #[test]
    fn of_a_user_whom_the_login_named_no_tenant_for_the_answer_says_it_or_nobody_does() {
        for (status, body, expected) in [
            (200, r#"{"tenant_exists": true, "tenant_id": 42}"#, "yes 42"),
            (200, r#"{"tenant_exists": true, "tenant_id": null, "org": "77"}"#, "yes 77"),
            (200, r#"{"tenant_exists": true, "tenant_id": "42", "org": 42}"#, "yes 42"),
            (200, r#"{"tenant_exists": true, "tenant_id": "42", "org": "77"}"#, "unclear"),
            (200, r#"{"tenant_exists": true, "tenant_id": ["42"]}"#, "unclear"),
            (200, r#"{"tenant_exists": true, "tenant_id": "4,2"}"#, "unclear"),
            (200, r#"{"tenant_exists": true}"#, "unclear"),
            (200, r#"{"tenant_exists": "yes", "tenant_id": 42}"#, "unclear"),
            (200, r#"{"tenant_exists": false}"#, "no"),
            (200, r#"{"tenant_exists": false, "tenant_id": 42, "has_payment": false}"#, "no"),
            (200, r#"{"tenant_exists": false, "has_payment": "true"}"#, "no"),
            (200, r#"{"tenant_exists": false, "has_payment": 1}"#, "no"),
            (200, r#"{"tenant_exists": false, "has_payment": true}"#, "paid"),
            (200, r#"{"has_payment": true}"#, "unclear"),
            (500, r#"{"tenant_exists": false, "has_payment": true}"#, "unclear"),
            (404, r#"{"tenant_exists": false, "has_payment": true}"#, "unclear"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let nobodys = TenantId::none();
            let read = rules(&USUAL, &[]).read(status, body.as_bytes(), &nobodys, &IdentityRules::default());
            assert_eq!(name_of(&read), expected, "{status} {body}");
        }
    }
}
