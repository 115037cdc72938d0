//! Revocations: whose sessions end, why, and who asked for it.

use super::{EndReason, Exemption, SessionId, TenantId, UserId, Words};

/// Whose sessions a revocation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of a user's.
    User {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: UserId,
    },
    /// All of a user's but one, which is at no moment refused. Where that one is not the user's, or is over, all end.
    OtherSessions {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: UserId,
        /// The session that stays.
        keep: Keep,
    },
    /// All of a tenant's.
    Tenant {
        /// The tenant.
        tenant: TenantId,
    },
}

/// What stays when all others of a user end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A session, of which the store knows under which generation it was made.
    Session(SessionId),
    /// An issuer's token, under the generation that it was seen to be live under.
    Token(Exemption),
}

impl Keep {
    /// Its id.
    #[must_use]
    pub const fn id(self) -> SessionId {
        match self {
            Self::Session(id) | Self::Token(Exemption { session: id, .. }) => id,
        }
    }
}

/// The ending of many sessions at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub scope: Scope,
    /// Why.
    pub reason: EndReason,
    /// Who asked for it.
    pub by: By,
}

/// Who asked for an end or a change, as far as it must be told should it come late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The gateway, by a rule of its own.
    Gateway,
    /// The sessions' user.
    User,
    /// A user's request that the backend did; the event's name.
    Event(Box<str>),
    /// An operator.
    Operator {
        /// The name of the token.
        name: Box<str>,
        /// In the operator's own words.
        words: Words,
        /// What the audit log calls the call.
        request_id: Box<str>,
    },
}
