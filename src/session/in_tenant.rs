//! One of the tenants of a session that has several, and whether it is still open to it.

use super::{Generation, TenantId, TenantStanding, TenantStatus};

/// In which tenant something is done for a session that has several, and the generation that it is held under there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// The generation.
    pub generation: Generation,
}

impl InTenant {
    /// Why the tenant is closed to the session, if it is: what it is made, or that it is active and was revoked since.
    #[must_use]
    pub fn refused_by(&self, standing: TenantStanding) -> Option<TenantStatus> {
        let is_open = standing.status == TenantStatus::Active && standing.generation == self.generation;
        (!is_open).then_some(standing.status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Candidate, Generations, StoreTime};
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("visible ASCII")
    }

    #[test]
    fn what_is_revoked_while_a_login_is_under_way_is_lost_to_it_and_what_was_held_stays_so() {
        let began = StoreTime::from_micros(100);
        let settled = |held: Option<u64>, now| {
            let candidate = Candidate { tenant: tenant("77"), held: held.map(Generation::from_micros) };
            let now = Generations { tenant: Generation::from_micros(now), user: Generation::from_micros(5) };
            candidate.settled(now, began).generations
        };
        let open = |generations: Generations, now| {
            let standing = TenantStanding { generation: Generation::from_micros(now), status: TenantStatus::Active };
            InTenant { tenant: tenant("77"), generation: generations.tenant }.refused_by(standing).is_none()
        };
        for (row, held, now, is_open) in [
            ("never revoked", None, 0, true),
            ("before the login", None, 99, true),
            ("since the login began", None, 101, false),
            ("held, and not revoked since", Some(99), 99, true),
            ("held, and revoked since", Some(99), 101, false),
        ] {
            assert_eq!(open(settled(held, now), now), is_open, "{row}");
        }
        assert!(!open(settled(None, 101), 0), "nor does a server with older data bring it back");
    }

    #[test]
    fn a_tenant_that_is_shut_out_is_open_to_nobody() {
        for status in [TenantStatus::Suspended, TenantStatus::Deleted] {
            let standing = TenantStanding { generation: Generation::NONE, status };
            let here = InTenant { tenant: tenant("77"), generation: Generation::NONE };
            assert_eq!(here.refused_by(standing), Some(status));
        }
    }
}
