//! Tenants that a client chooses: what makes no sense alone, and what an operator is warned of.

use super::{BASE, errors, valid};
use crate::config::ClientValue;

#[test]
fn a_choice_needs_tenants_and_tenants_a_choice() {
    for (added, expected) in [
        (
            "identity.client_value = \"choose\"",
            "t.toml:4: identity.client_value: needs tenants to choose from; add `login.tenants = [\"/memberships/*/org_id\"]`",
        ),
        (
            "login.tenants = \"/memberships/*/org_id\"",
            "t.toml:4: login.tenants: needs `identity.client_value = \"choose\"`: nothing else lets a client choose",
        ),
        (
            "identity.client_value = \"choose\"\nlogin.tenants = [\"/org/id\"]",
            "t.toml:5: login.tenants[0]: \"/org/id\" names one value; write `*` for each of a list, as in \"/memberships/*/org_id\"",
        ),
        (
            "identity.client_value = \"choose\"\nlogin.tenants = [\"orgs/*\"]",
            "t.toml:5: login.tenants[0]: \"orgs/*\" does not begin with a slash, as in \"/user/id\"",
        ),
        (
            "identity.client_value = \"choose\"\nlogin = { capture = \"header\", tenants = [\"/orgs/*\"] }",
            "t.toml:5: login.tenants: needs `capture = \"json\"` or \"whoami\": a header lists no tenants",
        ),
    ] {
        assert_eq!(errors(&format!("{BASE}{added}")), [expected], "{added}");
    }
}

#[test]
fn a_role_beside_tenants_to_choose_from_is_worth_a_warning() {
    let text = "identity.client_value = \"choose\"\nlogin.tenants = [\"/orgs/*/id\"]\n";
    let config = valid(&format!("{BASE}{text}"));
    assert_eq!((config.identity.client_value, config.warnings.len()), (ClientValue::Choose, 0));
    let config = valid(&format!("{BASE}{text}login.role = [\"/role\"]"));
    assert_eq!(
        config.warnings,
        [
            "t.toml:5: login.tenants: a role is of the login's own tenant: in another that is chosen the backend gets none, \
          and routes with `roles` refuse"
        ]
    );
    assert_eq!(valid(&format!("{BASE}login.tenants = []")).warnings, [""; 0], "which is the default");
}
