//! Permit and denial: the policy's proof that a request may go to a backend, and its reasoned refusal.

use std::sync::Arc;

use super::route::{Authorization, Route};
use crate::session::{EndReason, Principal, SessionId};

/// The policy's proof that a request may be forwarded, and as whom. Only [`super::decide`] and the constructors of the
/// gateway's own exchanges in this module make one; forwarding takes a `&Permit`, so forwarding without a decision
/// does not compile.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Identity,
    upstream: Arc<str>,
    authorization: Authorization,
}

/// What the backend is told about who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The verified principal of a session.
    Verified(VerifiedIdentity),
    /// Nobody: no identity header, or the configured value for anonymous requests.
    Anonymous,
    /// What the client claimed. Only in the modes that exist to migrate towards enforcement.
    AsClaimed,
}

/// A principal that comes from a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    principal: Arc<Principal>,
    session: SessionId,
}

impl VerifiedIdentity {
    pub(super) const fn of(principal: Arc<Principal>, session: SessionId) -> Self {
        Self { principal, session }
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The session that says so.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }
}

impl Permit {
    pub(super) fn new(identity: Identity, route: &Route) -> Self {
        Self { identity, upstream: route.upstream.clone(), authorization: route.authorization }
    }

    /// The permit of an exchange that the gateway makes without identity: a login, a CORS preflight, a question to the
    /// backend of the gateway's own.
    #[must_use]
    pub fn anonymous(route: &Route) -> Self {
        Self::new(Identity::Anonymous, route)
    }

    /// The permit of a logout, which is forwarded after its session has ended: for the principal whose it was.
    #[must_use]
    pub fn parting(route: &Route, session: SessionId, principal: &Arc<Principal>) -> Self {
        Self::new(Identity::Verified(VerifiedIdentity::of(principal.clone(), session)), route)
    }

    /// What the backend is told about who is asking.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The name of the upstream the request goes to.
    #[must_use]
    pub const fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// What happens to the client's own `Authorization` header.
    #[must_use]
    pub const fn authorization(&self) -> Authorization {
        self.authorization
    }
}

/// Why a request may not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No session, and the route needs one.
    SessionRequired,
    /// The session is over.
    SessionEnded(EndReason),
    /// The store cannot say.
    StoreUnavailable,
    /// The session's role may not call this route.
    ForbiddenRole,
    /// The client claimed another tenant than its session's.
    TenantMismatch,
}
