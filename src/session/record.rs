//! What the store keeps of a session.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::{Generations, IdleLimit, Principal, StoreTime, UserAgent};

/// A session as the store keeps it. Changed only by [`super::Limits::tighten`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Whose session it is. Shared, for each request carries it on.
    pub principal: Arc<Principal>,
    /// When it was made.
    pub created: StoreTime,
    /// The absolute deadline: use never moves it.
    pub deadline: StoreTime,
    /// The idle time-out; `None` when it is off.
    pub idle: Option<IdleLimit>,
    /// Whether the login asked to be remembered.
    pub remembered: bool,
    /// The generations it was made under.
    pub generations: Generations,
    /// The client's address at login.
    pub address: Option<IpAddr>,
    /// The client's user agent at login.
    pub user_agent: UserAgent,
}

impl SessionRecord {
    /// When the session times out, given its touch deadline as of `now`; `None` when it never does.
    #[must_use]
    pub fn idle_expiry(&self, touch_deadline: StoreTime, now: StoreTime) -> Option<StoreTime> {
        let idle = self.idle?;
        let expiry = idle.use_recorded_by(touch_deadline).after(idle.limit());
        Some(expiry.max(now).min(self.deadline))
    }
}

/// Why a session ended (docs/behaviour.md, "Audit events").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// The user logged out everywhere.
    LogoutAll,
    /// A new login from the same browser took its place.
    Replaced,
    /// It was not used for longer than the idle time-out.
    IdleTimeout,
    /// It reached its absolute deadline.
    Expired,
    /// An operator ended it.
    Revoked,
    /// All sessions of the user were ended.
    UserRevoked,
    /// All sessions of the tenant were ended.
    TenantRevoked,
    /// The organisation was deleted.
    OrgDeleted,
    /// The organisation was marked as deleted.
    OrgSoftDeleted,
    /// All other sessions of the user were ended.
    UserOthersRevoked,
    /// The user had too many sessions.
    Limit,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Logout,
        Self::LogoutAll,
        Self::Replaced,
        Self::IdleTimeout,
        Self::Expired,
        Self::Revoked,
        Self::UserRevoked,
        Self::TenantRevoked,
        Self::OrgDeleted,
        Self::OrgSoftDeleted,
        Self::UserOthersRevoked,
        Self::Limit,
    ];

    /// The name in audit lines, metrics and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::Replaced => "replaced",
            Self::IdleTimeout => "idle_timeout",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UserRevoked => "user_revoked",
            Self::TenantRevoked => "tenant_revoked",
            Self::OrgDeleted => "org_deleted",
            Self::OrgSoftDeleted => "org_soft_deleted",
            Self::UserOthersRevoked => "user_others_revoked",
            Self::Limit => "limit",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str().as_bytes() == text)
    }
}

/// The end of a session, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// From when on, where that is not at once: a rotation leaves the old token a moment for what is in flight.
    pub at: Option<StoreTime>,
}

impl End {
    /// An end at once.
    #[must_use]
    pub const fn now(reason: EndReason) -> Self {
        Self { reason, at: None }
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(self, now: StoreTime) -> bool {
        self.at.is_none_or(|at| now >= at)
    }

    /// The text that is kept: the reason, then `@` and the time (µs) where there is one.
    #[must_use]
    pub fn encode(self) -> String {
        let reason = self.reason.as_str();
        self.at.map_or_else(|| reason.to_owned(), |at| format!("{reason}@{}", at.as_micros()))
    }

    /// Reads what [`encode`](Self::encode) wrote.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (reason, at) = match text.split_once('@') {
            None => (text, None),
            Some((reason, at)) => (reason, Some(StoreTime::from_micros(at.parse().ok()?))),
        };
        Some(Self { reason: EndReason::parse(reason.as_bytes())?, at })
    }
}

/// How many sessions a user may have, and what happens to one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// How many.
    pub count: NonZeroU16,
    /// What happens to one more.
    pub action: LimitAction,
}

/// What happens when a user would have too many sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// The oldest end.
    RevokeOldest,
    /// The login is refused.
    Deny,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_survives_the_store_and_garbage_is_none() {
        for at in [None, Some(StoreTime::from_micros(17))] {
            let end = End { reason: EndReason::Replaced, at };
            assert_eq!(End::decode(end.encode().as_bytes()), Some(end));
        }
        for garbage in ["", "boredom", "replaced@", "replaced@x", "@5", "replaced@5@6"] {
            assert_eq!(End::decode(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn an_end_at_a_time_comes_with_it() {
        let end = End { reason: EndReason::Replaced, at: Some(StoreTime::from_micros(17)) };
        assert!(!end.has_come(StoreTime::from_micros(16)) && end.has_come(StoreTime::from_micros(17)));
        assert!(End::now(EndReason::Logout).has_come(StoreTime::from_micros(0)));
    }
}
