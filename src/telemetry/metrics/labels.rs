//! The labels, and the words that they can have.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ScopeLabel {
    pub(super) scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CommandLabels {
    pub(super) command: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ObservedLabels {
    pub(super) route: String,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationScope {
    /// One session.
    Session,
    /// All sessions of a user.
    User,
    /// All sessions of a tenant.
    Tenant,
    /// One token of an issuer.
    Token,
}

impl RevocationScope {
    pub(super) const ALL: [Self; 4] = [Self::Session, Self::User, Self::Tenant, Self::Token];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Token => "token",
        }
    }
}

/// What became of refreshing the token of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefresh {
    /// The app handed out another.
    Refreshed,
    /// The app refused.
    Refused,
    /// It could not be had.
    Failed,
}

impl TokenRefresh {
    pub(super) const ALL: [Self; 3] = [Self::Refreshed, Self::Refused, Self::Failed];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How a login went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// It made a session.
    Success,
    /// The backend refused it.
    Failure,
    /// The backend accepted it, but something is still due, a second factor say.
    Incomplete,
    /// The backend accepted it, and its answer names nobody where the configuration looks.
    Unnamed,
    /// The backend accepted it, and the gateway did not: a suspended tenant, a bad identity, a revocation meanwhile.
    Denied,
    /// The backend or the store could not be asked, or did not answer properly.
    Error,
    /// The backend was not asked, after too many failures.
    Locked,
}

impl LoginOutcome {
    pub(super) const ALL: [Self; 7] =
        [Self::Success, Self::Failure, Self::Incomplete, Self::Unnamed, Self::Denied, Self::Error, Self::Locked];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Incomplete => "incomplete",
            Self::Unnamed => "unnamed",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::Locked => "locked",
        }
    }
}
