//! An access token that an issuer made: a session of which the store keeps nothing, until it is denied.
//!
//! It says itself whose it is and until when. What ends it is what ends any session: a denial under its own id, its user's
//! or tenant's generation, its tenant's status.

use std::sync::Arc;
use std::time::Duration;

use super::{
    End, EndReason, Generation, Generations, LiveSession, Principal, SessionId, SessionRecord, StoreTime,
    TenantStanding, TenantStatus, UserAgent, UserStanding,
};

/// How much younger than a revocation a token must be: issuers tell the time in whole seconds, and their clocks differ
/// from the store's.
const YOUNGER_BY: u64 = 5;
const SECOND: u64 = 1_000_000;

/// Everything the store knows of one token.
#[derive(Clone, Debug)]
pub struct TokenObservation {
    /// The token's id.
    pub id: SessionId,
    /// What it says of itself.
    pub record: Arc<SessionRecord>,
    /// The denial that was written down under its id.
    pub denied: Option<End>,
    /// What the store knows of its tenant.
    pub tenant: TenantStanding,
    /// What the store knows of its user.
    pub user: UserStanding,
    /// The store's time of the observation.
    pub now: StoreTime,
}

/// What a verified token is worth. Its own end is compared with the gateway's clock, and not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenStanding {
    /// Usable. The record holds the generations of the moment.
    Live(LiveSession),
    /// Denied, or older than a revocation of its user or tenant.
    Revoked(EndReason),
    /// Its tenant is suspended or deleted.
    TenantRefused(TenantStatus),
}

/// Decides what a token is worth.
#[must_use]
pub fn judge_token(observation: TokenObservation) -> TokenStanding {
    let TokenObservation { id, record, denied, tenant, user, now } = observation;
    if let Some(end) = denied {
        return TokenStanding::Revoked(end.reason);
    }
    if tenant.status != TenantStatus::Active {
        return TokenStanding::TenantRefused(tenant.status);
    }
    if !is_younger(record.created, tenant.generation) {
        return TokenStanding::Revoked(EndReason::TenantRevoked);
    }
    let exempt = user.exempt.filter(|exempt| exempt.session == id);
    if exempt.is_none() && !is_younger(record.created, user.generation) {
        return TokenStanding::Revoked(EndReason::UserRevoked);
    }
    // What it may be kept by, should it end all the others.
    let of_user = exempt.map_or(user.generation, |exempt| exempt.generation);
    let generations = Generations { tenant: tenant.generation, user: of_user };
    let record = if record.generations == generations {
        record
    } else {
        Arc::new(SessionRecord { generations, ..(*record).clone() })
    };
    let touch_deadline = record.deadline;
    TokenStanding::Live(LiveSession { record, touch_deadline, now })
}

fn is_younger(issued: StoreTime, than: Generation) -> bool {
    let revoked = than.as_micros();
    revoked == 0 || issued.as_micros() > (revoked / SECOND).saturating_add(YOUNGER_BY).saturating_mul(SECOND)
}

impl SessionRecord {
    /// What a token says of itself: whose it is, when it was made, and until when it may be used.
    #[must_use]
    pub fn of_token(principal: Arc<Principal>, issued: StoreTime, until: StoreTime) -> Self {
        Self {
            principal,
            created: issued,
            deadline: until,
            idle: None,
            remembered: false,
            generations: Generations::default(),
            address: None,
            user_agent: UserAgent::default(),
            line: None,
            choices: None,
        }
    }

    /// Whether both say the same of a token, whatever the store knew when.
    #[must_use]
    pub fn is_of_same_token(&self, other: &Self) -> bool {
        (&self.principal, self.created, self.deadline) == (&other.principal, other.created, other.deadline)
    }
}

/// A denial of a token.
#[derive(Clone, Debug)]
pub struct TokenDenial {
    /// The token's id.
    pub id: SessionId,
    /// Whose it is, where that is known.
    pub owner: Option<Arc<Principal>>,
    /// For how long it must hold.
    pub until: DeniedUntil,
    /// Why.
    pub reason: EndReason,
}

/// For how long a denial must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedUntil {
    /// Until the token's own end.
    At(StoreTime),
    /// For as long as any token lives, because nobody here knows this one's end.
    For(Duration),
}

impl DeniedUntil {
    /// The moment, given the time.
    #[must_use]
    pub fn moment(self, now: StoreTime) -> StoreTime {
        match self {
            Self::At(moment) => moment,
            Self::For(longest) => now.after(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Exemption, TenantId, UserId};
    use super::*;

    const ISSUED: u64 = 1_700_000_000;

    fn id(letter: u8) -> SessionId {
        SessionId::parse(&[letter; 22]).expect("22 characters of base64url")
    }

    fn observed() -> TokenObservation {
        let principal = Principal {
            tenant: TenantId::parse("acme").expect("visible ASCII"),
            user: UserId::parse("7").expect("visible ASCII"),
            role: None,
        };
        let at = |seconds: u64| StoreTime::from_micros(seconds * SECOND);
        TokenObservation {
            id: id(b'A'),
            record: Arc::new(SessionRecord::of_token(Arc::new(principal), at(ISSUED), at(ISSUED + 600))),
            denied: None,
            tenant: TenantStanding::default(),
            user: UserStanding::default(),
            now: at(ISSUED + 60),
        }
    }

    fn generation(micros: u64) -> Generation {
        Generation::from_micros(micros)
    }

    #[test]
    fn a_token_is_refused_if_it_is_not_five_seconds_younger_than_a_revocation() {
        for (revoked, live) in [
            (0, true),
            ((ISSUED - 6) * SECOND, true),
            ((ISSUED - 6) * SECOND + 999_999, true),
            ((ISSUED - 5) * SECOND, false),
            (ISSUED * SECOND, false),
            ((ISSUED + 60) * SECOND, false),
            (u64::MAX, false),
        ] {
            let user = UserStanding { generation: generation(revoked), exempt: None };
            let of_user = judge_token(TokenObservation { user, ..observed() });
            let tenant = TenantStanding { generation: generation(revoked), status: TenantStatus::Active };
            let of_tenant = judge_token(TokenObservation { tenant, ..observed() });
            if live {
                assert!(matches!((of_user, of_tenant), (TokenStanding::Live(_), TokenStanding::Live(_))), "{revoked}");
            } else {
                assert_eq!(of_user, TokenStanding::Revoked(EndReason::UserRevoked), "{revoked}");
                assert_eq!(of_tenant, TokenStanding::Revoked(EndReason::TenantRevoked), "{revoked}");
            }
        }
    }

    #[test]
    fn a_denial_counts_before_anything_else_and_a_tenant_that_is_shut_out_before_generations() {
        let raised = generation((ISSUED + 60) * SECOND);
        for status in [TenantStatus::Suspended, TenantStatus::Deleted] {
            let shut_out = TokenObservation { tenant: TenantStanding { generation: raised, status }, ..observed() };
            assert_eq!(judge_token(shut_out.clone()), TokenStanding::TenantRefused(status));
            let denied = Some(End::now(EndReason::Logout));
            assert_eq!(judge_token(TokenObservation { denied, ..shut_out }), TokenStanding::Revoked(EndReason::Logout));
        }
    }

    #[test]
    fn the_token_that_ended_all_others_stays_and_can_do_so_again() {
        let raised = generation((ISSUED + 60) * SECOND);
        let exempt = |session| Some(Exemption { session, generation: generation(3) });
        let with = |session| {
            let user = UserStanding { generation: raised, exempt: exempt(session) };
            judge_token(TokenObservation { user, ..observed() })
        };
        let TokenStanding::Live(live) = with(id(b'A')) else { panic!("it is kept") };
        assert_eq!(live.record.generations.user, generation(3));
        assert_eq!(with(id(b'B')), TokenStanding::Revoked(EndReason::UserRevoked));
    }

    #[test]
    fn what_a_live_token_shows_is_still_the_same_token() {
        let tenant = TenantStanding { generation: generation(5), status: TenantStatus::Active };
        let observation = TokenObservation { tenant, ..observed() };
        let said = observation.record.clone();
        let TokenStanding::Live(live) = judge_token(observation) else { panic!("it is live") };
        assert_eq!(live.record.generations.tenant, generation(5));
        assert!(live.record.is_of_same_token(&said));
        let other = SessionRecord { deadline: StoreTime::from_micros(1), ..(*said).clone() };
        assert!(!live.record.is_of_same_token(&other));
    }
}
