//! What the store keeps of a session.

use std::net::IpAddr;

use super::{Generations, IdleLimit, Principal, StoreTime, UserAgent};

/// A session as the store keeps it. Changed only by [`super::Limits::tighten`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Whose session it is.
    pub principal: Principal,
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

/// Why a session ended (contract §11).
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
