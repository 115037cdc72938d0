//! The decision: may this request go on, and as whom.

use std::sync::Arc;

use super::permit::{Denial, Identity, Permit, VerifiedIdentity, VouchedBy};
use super::route::{Auth, IdentityMode, Route};
use crate::http::Preflight;
use crate::session::{EndReason, Principal, TenantStatus};

/// What is known of the session that a request came with.
#[derive(Clone, Copy, Debug)]
pub enum SessionFacts<'a> {
    /// The request had no credential at all.
    NoCredential,
    /// It had one that names no session: not a token, two different ones, or one never made.
    Unknown,
    /// The session is over.
    Ended(EndReason),
    /// The session is held: its user has to log in again.
    Held,
    /// The session is live.
    Live {
        /// What says so, by its id.
        by: VouchedBy,
        /// Whose it is.
        principal: &'a Arc<Principal>,
    },
    /// It had a token instead of a session, which is not good.
    BadToken(BadToken),
    /// The store cannot say.
    Unavailable,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is none that anybody here believes.
    Invalid,
    /// It is over.
    Expired,
    /// It was denied, or is older than a revocation of its user or tenant.
    Revoked,
    /// Its tenant is suspended or deleted.
    OfSuspendedTenant,
    /// Nobody can tell: the keys of its issuer cannot be had.
    Unknown,
}

impl BadToken {
    /// Why a request with it may not go on.
    #[must_use]
    pub const fn denial(self) -> Denial {
        match self {
            Self::Invalid => Denial::TokenInvalid,
            Self::Expired => Denial::TokenExpired,
            Self::Revoked => Denial::TokenRevoked,
            Self::OfSuspendedTenant => Denial::TenantSuspended,
            Self::Unknown => Denial::KeysUnavailable,
        }
    }

    /// Whether a migration that only observes lets it through: as with sessions, what was not ended on purpose.
    const fn is_only_reported(self) -> bool {
        matches!(self, Self::Invalid | Self::Expired)
    }
}

/// What a client claimed about its tenant, compared with its session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantClaim {
    /// Nothing, or the session's own; or claims are ignored.
    Harmless,
    /// Another tenant than the session's, on a gateway that is told to refuse that.
    Foreign,
    /// One of the session's that is closed to it by now: shut out, or active and revoked since its login.
    Refused(TenantStatus),
}

/// Decides on a request whose route is known. `mode` is the route's at this time ([`IdentityMode::at`]).
///
/// # Errors
/// The reason why the request may not go on.
pub fn decide(
    route: &Route,
    mode: IdentityMode,
    session: SessionFacts<'_>,
    claim: TenantClaim,
) -> Result<Permit, Denial> {
    let identity = match (route.auth, session) {
        (Auth::Blocked, _) => return Err(Denial::PathBlocked),

        // No look-up was made and none would count.
        (Auth::Public, SessionFacts::NoCredential) => without_cookie(mode),
        (Auth::Public, _) => without_session(mode),

        (Auth::Required | Auth::Optional, SessionFacts::Live { by, principal }) => {
            // In every mode, as what was ended on purpose.
            match claim {
                TenantClaim::Refused(TenantStatus::Active) => return Err(Denial::TenantLost),
                TenantClaim::Refused(_) => return Err(Denial::TenantSuspended),
                TenantClaim::Harmless | TenantClaim::Foreign => {}
            }
            let enforced = mode != IdentityMode::Observe;
            if enforced && !role_allows(route, principal) {
                return Err(Denial::ForbiddenRole);
            }
            if enforced && claim == TenantClaim::Foreign {
                return Err(Denial::TenantMismatch);
            }
            if enforced { Identity::Verified(VerifiedIdentity::of(principal.clone(), by)) } else { Identity::AsClaimed }
        }

        // A store that cannot say is never read as "no session".
        (Auth::Required | Auth::Optional, SessionFacts::Unavailable) => return Err(Denial::StoreUnavailable),

        // Whoever sends a token means to be somebody: it is never nobody instead.
        (Auth::Required | Auth::Optional, SessionFacts::BadToken(bad)) => match mode {
            IdentityMode::Observe if bad.is_only_reported() => Identity::AsClaimed,
            _ => return Err(bad.denial()),
        },

        (Auth::Optional, SessionFacts::NoCredential) => without_cookie(mode),
        // Nobody, then; and a session that was ended on purpose leaves nobody's claim standing in any mode.
        (Auth::Optional, SessionFacts::Ended(reason)) if !is_expiry(reason) => Identity::Anonymous,
        (Auth::Optional, SessionFacts::Held) => Identity::Anonymous,
        (Auth::Optional, SessionFacts::Unknown | SessionFacts::Ended(_)) => without_session(mode),

        // What was ended on purpose is refused in every mode; what merely ran out is reported in observe.
        (Auth::Required, SessionFacts::Ended(reason)) => match mode {
            IdentityMode::Observe if is_expiry(reason) => Identity::AsClaimed,
            _ => return Err(Denial::SessionEnded(reason)),
        },
        (Auth::Required, SessionFacts::Held) => return Err(Denial::ReauthRequired),
        (Auth::Required, SessionFacts::Unknown) => match mode {
            IdentityMode::Observe => Identity::AsClaimed,
            IdentityMode::Compat { .. } | IdentityMode::Enforce => return Err(Denial::SessionRequired),
        },
        (Auth::Required, SessionFacts::NoCredential) => match mode {
            IdentityMode::Observe | IdentityMode::Compat { .. } => Identity::AsClaimed,
            IdentityMode::Enforce => return Err(Denial::SessionRequired),
        },
    };
    Ok(Permit::new(identity, route))
}

/// The permit of a login, and of what the gateway asks the backend about it: nobody is logged in yet.
#[must_use]
pub fn permit_login(route: &Route) -> Permit {
    Permit::new(Identity::Anonymous, route)
}

/// The permit of a CORS preflight: it asks for permission on behalf of a page, and carries nobody's identity.
#[must_use]
pub fn permit_preflight(route: &Route, _: Preflight) -> Permit {
    Permit::new(Identity::Anonymous, route)
}

/// The permit of a logout, which is forwarded after its session has ended, as whose it was when the request came.
#[must_use]
pub fn permit_logout(route: &Route, session: SessionFacts<'_>) -> Permit {
    let identity = match session {
        SessionFacts::Live { by, principal } => Identity::Verified(VerifiedIdentity::of(principal.clone(), by)),
        _ => Identity::Anonymous,
    };
    Permit::new(identity, route)
}

/// Where there is no gateway cookie at all, both migration modes let the client's claim through.
const fn without_cookie(mode: IdentityMode) -> Identity {
    match mode {
        IdentityMode::Observe | IdentityMode::Compat { .. } => Identity::AsClaimed,
        IdentityMode::Enforce => Identity::Anonymous,
    }
}

/// Where there is a cookie without a session, only `observe` does.
const fn without_session(mode: IdentityMode) -> Identity {
    match mode {
        IdentityMode::Observe => Identity::AsClaimed,
        IdentityMode::Compat { .. } | IdentityMode::Enforce => Identity::Anonymous,
    }
}

fn role_allows(route: &Route, principal: &Principal) -> bool {
    route.roles.is_empty() || principal.role.as_ref().is_some_and(|role| route.roles.contains(role))
}

const fn is_expiry(reason: EndReason) -> bool {
    matches!(reason, EndReason::IdleTimeout | EndReason::Expired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::policy::{Authorization, NamingPlaces};
    use crate::session::{Role, SessionId, SessionToken, TenantId, UserId};

    fn route(auth: Auth, mode: IdentityMode) -> Route {
        Route {
            pattern: "/x".into(),
            auth,
            roles: Vec::new(),
            csrf: true,
            lenient: false,
            authorization: Authorization::Pass,
            upstream: "default".into(),
            mode,
            upgrade: Vec::new(),
            naming: NamingPlaces::default(),
        }
    }

    fn principal(role: Option<&str>) -> Arc<Principal> {
        Arc::new(Principal {
            tenant: TenantId::parse("42").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: role.map(|role| Role::parse(role).expect("a role")),
        })
    }

    fn by() -> VouchedBy {
        let id: SessionId = SessionToken::generate(&SystemEntropy).expect("entropy").id();
        VouchedBy::Session(id)
    }

    fn outcome(route: &Route, session: SessionFacts<'_>) -> Result<&'static str, Denial> {
        decide(route, route.mode, session, TenantClaim::Harmless).map(|permit| match permit.identity() {
            Identity::Verified(_) => "verified",
            Identity::Anonymous => "anonymous",
            Identity::AsClaimed => "claimed",
        })
    }

    #[test]
    fn every_combination_of_route_mode_and_session_has_its_answer() {
        use Auth::{Optional, Public, Required};
        use IdentityMode::{Enforce, Observe};
        let compat = IdentityMode::Compat { until: None };
        let person = principal(None);
        let none = SessionFacts::NoCredential;
        let unknown = SessionFacts::Unknown;
        let revoked = SessionFacts::Ended(EndReason::Revoked);
        let idle = SessionFacts::Ended(EndReason::IdleTimeout);
        let held = SessionFacts::Held;
        let down = SessionFacts::Unavailable;
        let live = SessionFacts::Live { by: by(), principal: &person };
        let required = Err(Denial::SessionRequired);
        let ended = Err(Denial::SessionEnded(EndReason::Revoked));
        let timed_out = Err(Denial::SessionEnded(EndReason::IdleTimeout));
        let again = Err(Denial::ReauthRequired);
        let unavailable = Err(Denial::StoreUnavailable);
        let (verified, anonymous, claimed) = (Ok("verified"), Ok("anonymous"), Ok("claimed"));
        for (auth, mode, answers) in [
            (Required, Enforce, [required, required, ended, timed_out, again, unavailable, verified]),
            (Required, compat, [claimed, required, ended, timed_out, again, unavailable, verified]),
            (Required, Observe, [claimed, claimed, ended, claimed, again, unavailable, claimed]),
            (Optional, Enforce, [anonymous, anonymous, anonymous, anonymous, anonymous, unavailable, verified]),
            (Optional, compat, [claimed, anonymous, anonymous, anonymous, anonymous, unavailable, verified]),
            (Optional, Observe, [claimed, claimed, anonymous, claimed, anonymous, unavailable, claimed]),
            (Public, Enforce, [anonymous; 7]),
            (Public, compat, [claimed, anonymous, anonymous, anonymous, anonymous, anonymous, anonymous]),
            (Public, Observe, [claimed; 7]),
        ] {
            let route = route(auth, mode);
            for (facts, answer) in [none, unknown, revoked, idle, held, down, live].into_iter().zip(answers) {
                assert_eq!(outcome(&route, facts), answer, "{auth:?} {mode:?} {facts:?}");
            }
        }
    }

    #[test]
    fn a_bad_token_is_refused_also_where_nobody_need_be_anybody() {
        use Auth::{Optional, Public, Required};
        use IdentityMode::{Enforce, Observe};
        let compat = IdentityMode::Compat { until: None };
        let claimed = Ok("claimed");
        for (bad, denial, observed) in [
            (BadToken::Invalid, Denial::TokenInvalid, claimed),
            (BadToken::Expired, Denial::TokenExpired, claimed),
            (BadToken::Unknown, Denial::KeysUnavailable, Err(Denial::KeysUnavailable)),
            (BadToken::Revoked, Denial::TokenRevoked, Err(Denial::TokenRevoked)),
            (BadToken::OfSuspendedTenant, Denial::TenantSuspended, Err(Denial::TenantSuspended)),
        ] {
            let facts = SessionFacts::BadToken(bad);
            for auth in [Required, Optional] {
                for mode in [Enforce, compat] {
                    assert_eq!(outcome(&route(auth, mode), facts), Err(denial), "{auth:?} {mode:?} {bad:?}");
                }
                assert_eq!(outcome(&route(auth, Observe), facts), observed, "{auth:?} {bad:?}");
            }
            // A public route does not look at it.
            assert_eq!(outcome(&route(Public, Enforce), facts), Ok("anonymous"));
        }
    }

    #[test]
    fn a_route_with_roles_needs_one_of_them() {
        let mut route = route(Auth::Required, IdentityMode::Enforce);
        route.roles = vec![Role::parse("admin").expect("a role"), Role::parse("root").expect("a role")];
        for (role, answer) in [
            (None, Err(Denial::ForbiddenRole)),
            (Some("user"), Err(Denial::ForbiddenRole)),
            (Some("Admin"), Err(Denial::ForbiddenRole)),
            (Some("root"), Ok("verified")),
        ] {
            let person = principal(role);
            assert_eq!(outcome(&route, SessionFacts::Live { by: by(), principal: &person }), answer, "{role:?}");
        }
    }

    #[test]
    fn a_foreign_claim_is_refused_where_it_is_not_ignored() {
        let person = principal(None);
        let live = SessionFacts::Live { by: by(), principal: &person };
        let enforced = route(Auth::Required, IdentityMode::Enforce);
        assert!(matches!(decide(&enforced, enforced.mode, live, TenantClaim::Foreign), Err(Denial::TenantMismatch)));
        let observed = route(Auth::Required, IdentityMode::Observe);
        assert!(decide(&observed, observed.mode, live, TenantClaim::Foreign).is_ok());
    }

    #[test]
    fn a_tenant_that_is_closed_to_the_session_is_refused_in_every_mode() {
        let person = principal(None);
        let live = SessionFacts::Live { by: by(), principal: &person };
        for mode in [IdentityMode::Enforce, IdentityMode::Compat { until: None }, IdentityMode::Observe] {
            for (status, denial) in [
                (TenantStatus::Suspended, Denial::TenantSuspended),
                (TenantStatus::Deleted, Denial::TenantSuspended),
                (TenantStatus::Active, Denial::TenantLost),
            ] {
                let mut route = route(Auth::Required, mode);
                route.roles = vec![Role::parse("admin").expect("a role")];
                let decided = decide(&route, mode, live, TenantClaim::Refused(status));
                assert_eq!(decided.err(), Some(denial), "{mode:?} {status:?}");
            }
        }
    }
}
