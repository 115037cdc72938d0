//! The tenants that a session's user may choose from, beside the login's own (`login.tenants`).
//!
//! Each is held under the generations of its making: what is revoked in one of them is refused there, and nowhere else. Of
//! the user that is another matter: one whom any of these tenants revoked has no session that may choose it.

use super::{Generation, Generations, StoreTime, TenantId};

/// The most tenants that a login may name to choose from.
pub const MOST_TENANTS: usize = 64;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choosable {
    /// The tenant.
    pub tenant: TenantId,
    /// The generations that the session was made under there.
    pub generations: Generations,
}

/// All of them but the login's own. Never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices(Vec<Choosable>);

impl Choices {
    /// These; `None` where there is nothing to choose.
    #[must_use]
    pub fn of(tenants: Vec<Choosable>) -> Option<Box<Self>> {
        (!tenants.is_empty()).then(|| Box::new(Self(tenants)))
    }

    /// One after the other.
    #[must_use]
    pub fn as_slice(&self) -> &[Choosable] {
        &self.0
    }
}

/// A tenant that a session which is about to be made may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The tenant.
    pub tenant: TenantId,
    /// The generation that it is held under, where that was decided by an earlier login; `None`: the one of the moment.
    pub held: Option<Generation>,
}

impl Candidate {
    /// Those that a login names beside its own.
    #[must_use]
    pub fn beside(own: &TenantId, named: Vec<TenantId>) -> Vec<Self> {
        let mut candidates: Vec<Self> = Vec::new();
        for tenant in named.into_iter().filter(|tenant| tenant != own) {
            if candidates.iter().all(|known| known.tenant != tenant) {
                candidates.push(Self { tenant, held: None });
            }
        }
        candidates.truncate(MOST_TENANTS);
        candidates
    }

    /// As it is kept, where its generations are these by now. What was revoked since the login `began` is lost to it.
    #[must_use]
    pub fn settled(self, now: Generations, began: StoreTime) -> Choosable {
        let tenant = self.held.unwrap_or_else(|| now.tenant.unless_raised_since(began));
        Choosable { tenant: self.tenant, generations: Generations { tenant, ..now } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("visible ASCII")
    }

    #[test]
    fn a_login_that_names_its_own_tenant_or_one_twice_names_each_once() {
        let named = ["42", "77", "42", "99", "77"].map(tenant).to_vec();
        let candidates = Candidate::beside(&tenant("42"), named);
        let names: Vec<_> = candidates.iter().filter_map(|candidate| candidate.tenant.name()).collect();
        assert_eq!(names, ["77", "99"]);
        assert!(Choices::of(Vec::new()).is_none());
    }
}
