//! Permit and denial: the policy's proof that a request may go to a backend, and its reasoned refusal.

use std::sync::Arc;

use http::HeaderValue;

use super::route::{Authorization, Route};
use crate::session::{Barred, EndReason, Principal, SessionId};

/// The policy's proof that a request may be forwarded, and as whom. Only the decisions of this module's neighbour
/// ([`super::decide()`] and, for a login, a logout and a preflight, its sisters) make one; forwarding takes a `&Permit`, so
/// forwarding without a decision does not compile.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Identity,
    upstream: Arc<str>,
    authorization: Authorization,
    token: Option<HeaderValue>,
    risk: Option<&'static str>,
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

/// A principal that is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    principal: Arc<Principal>,
    by: VouchedBy,
}

/// What says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VouchedBy {
    /// A live session.
    Session(SessionId),
    /// An issuer's token, by its id.
    Token(SessionId),
}

impl VouchedBy {
    /// Its id, which the backend is told.
    #[must_use]
    pub const fn id(self) -> SessionId {
        match self {
            Self::Session(id) | Self::Token(id) => id,
        }
    }
}

impl VerifiedIdentity {
    pub(super) const fn of(principal: Arc<Principal>, by: VouchedBy) -> Self {
        Self { principal, by }
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What says so.
    #[must_use]
    pub const fn vouched_by(&self) -> VouchedBy {
        self.by
    }
}

impl Permit {
    pub(super) fn new(identity: Identity, route: &Route) -> Self {
        Self { identity, upstream: route.upstream.clone(), authorization: route.authorization, token: None, risk: None }
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

    /// The same; but the client's own `Authorization` header does not go on.
    #[must_use]
    pub fn without_authorization(self) -> Self {
        Self { authorization: Authorization::Drop, ..self }
    }

    /// The same, with the token that its session has, in the place of whatever the client sends. The value is marked as
    /// sensitive.
    #[must_use]
    pub fn with_token(self, token: HeaderValue) -> Self {
        Self { token: Some(token), ..self }
    }

    /// The session's own `Authorization`, where it has one.
    #[must_use]
    pub const fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// The same, with a word for how bad it is what is open of its session.
    #[must_use]
    pub fn with_risk(self, risk: &'static str) -> Self {
        Self { risk: Some(risk), ..self }
    }

    /// How bad it is what is open of the session, where anything is.
    #[must_use]
    pub const fn risk(&self) -> Option<&'static str> {
        self.risk
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
    /// The session is held: its user has to log in again.
    ReauthRequired,
    /// The store cannot say.
    StoreUnavailable,
    /// The session's role may not call this route.
    ForbiddenRole,
    /// The client claimed another tenant than its session's.
    TenantMismatch,
    /// The session is of a user who has no tenant yet, and good for other routes alone.
    OnboardingRequired,
    /// No client may ask there.
    PathBlocked,
    /// What came as a token is none that anybody here believes.
    TokenInvalid,
    /// The token is over.
    TokenExpired,
    /// The token was denied, or is older than a revocation of its user or tenant.
    TokenRevoked,
    /// The tenant of the token, or the one that the session chose, is suspended or deleted.
    TenantSuspended,
    /// The tenant that the session chose was revoked since its login.
    TenantLost,
    /// The keys of the token's issuer cannot be had.
    KeysUnavailable,
}

impl From<Barred> for Denial {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Ended(reason) => Self::SessionEnded(reason),
            Barred::Held => Self::ReauthRequired,
        }
    }
}
