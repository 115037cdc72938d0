//! Tenants that a client chooses (`identity.client_value = "choose"`, `login.tenants`): one without the other is a mistake.

use super::error::{Place, Problems};
use super::identity::{ClientValue, IdentityConfig};
use super::raw::RawIdentity;

/// Reports a choice of nothing, and tenants that nobody can choose. `listed` is where `login.tenants` stands.
pub(super) fn report(raw: &RawIdentity, identity: &IdentityConfig, listed: &[Place], problems: &mut Problems) {
    match (identity.client_value, listed) {
        (ClientValue::Choose, []) => {
            let example = "login.tenants = [\"/memberships/*/org_id\"]";
            problems.error(raw.client_value.place(), format!("needs tenants to choose from; add `{example}`"));
        }
        (ClientValue::Choose, _) => {}
        (ClientValue::Ignore | ClientValue::Match | ClientValue::MatchUnsafe, listed) => {
            let why = "needs `identity.client_value = \"choose\"`: nothing else lets a client choose";
            listed.iter().for_each(|place| problems.error(place, why));
        }
    }
}
