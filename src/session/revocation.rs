//! Revocations: whose sessions end, and what a tenant is changed to.

use super::{EndReason, SessionId, TenantId, TenantStatus, UserId};

/// The longest words of an operator about a tenant, in characters.
const LONGEST_WORDS: usize = 200;

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
        keep: SessionId,
    },
    /// All of a tenant's.
    Tenant {
        /// The tenant.
        tenant: TenantId,
    },
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

/// What a tenant is made, and why. All but the making active of one that is active already ends all its sessions:
/// restoring revives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantChange {
    /// The status it gets.
    pub status: TenantStatus,
    /// Why its sessions end.
    pub reason: EndReason,
    /// The operator's own words, for people.
    pub words: Words,
    /// Who asked for it.
    pub by: By,
}

/// A short text of an operator: one line of at most 200 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Box<str>);

impl Words {
    /// Takes a text that came from outside. `None` when it is longer than 200 characters, or has control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.chars().count() <= LONGEST_WORDS && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_short_line() {
        assert!(Words::parse("").is_some());
        assert!(Words::parse(&"ü".repeat(200)).is_some());
        assert_eq!(Words::parse(&"x".repeat(201)), None);
        assert_eq!(Words::parse("a\nb"), None);
    }
}
