//! What the store keeps of a session.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::{
    Candidate, Choices, Generation, Generations, IdleLimit, MOST_TENANTS, Principal, SessionId, StoreTime, TenantId,
    UserAgent, UserId,
};

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
    /// Where it came from, if it goes on with another token than the login's.
    pub line: Option<Box<Line>>,
    /// The tenants that its user may choose from, beside the principal's.
    pub choices: Option<Box<Choices>>,
}

/// How a session that was rotated hangs together: its tokens are one session, whose end is under the first one's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first of the line, made by the login.
    pub first: SessionId,
    /// The one before this.
    pub before: SessionId,
    /// Until when that one has its moment.
    pub until: StoreTime,
    /// Whose the one before was, where it was another's: the same user's in another tenant, say.
    pub left: Option<Left>,
}

/// The user that a session was of before it was rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The user's tenant, whose own end is nothing to a session that has left it.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The user's generation then.
    pub generation: Generation,
}

impl Line {
    /// The line of a session that goes on from `before`, which has a moment until then.
    #[must_use]
    pub fn from(before: SessionId, record: &SessionRecord, until: StoreTime, to: &Principal) -> Self {
        let Principal { tenant, user, .. } = &*record.principal;
        let left = (*tenant != to.tenant || *user != to.user).then(|| Left {
            tenant: tenant.clone(),
            user: user.clone(),
            generation: record.generations.user,
        });
        Self { first: record.decided_by(before), before, until, left }
    }
}

impl SessionRecord {
    /// Its tenants, the login's own first, with the generations that it was made under there.
    pub fn tenants(&self) -> impl Iterator<Item = (&TenantId, Generations)> {
        let chosen = self.choices.iter().flat_map(|choices| choices.as_slice());
        let chosen = chosen.map(|choosable| (&choosable.tenant, choosable.generations));
        std::iter::once((&self.principal.tenant, self.generations)).chain(chosen)
    }

    /// The generations that it was made under in a tenant, if that is one of its own.
    #[must_use]
    pub fn generations_in(&self, tenant: &TenantId) -> Option<Generations> {
        self.tenants().find(|(own, _)| *own == tenant).map(|(_, generations)| generations)
    }

    /// Whether it has no other tenant, so that it ends with the login's own.
    #[must_use]
    pub const fn ends_with_its_tenant(&self) -> bool {
        self.choices.is_none()
    }

    /// What it may still choose where it goes on as `to`. What was revoked of that since its login stays so; another user
    /// has nothing of it.
    #[must_use]
    pub fn candidates_for(&self, to: &Principal) -> Vec<Candidate> {
        if self.choices.is_none() || to.user != self.principal.user {
            return Vec::new();
        }
        let others = self.tenants().filter(|(tenant, _)| **tenant != to.tenant && tenant.name().is_some());
        let held =
            |(tenant, under): (&TenantId, Generations)| Candidate { tenant: tenant.clone(), held: Some(under.tenant) };
        others.map(held).take(MOST_TENANTS).collect()
    }

    /// Under which id the end of the session with this id is written down: the first of its line.
    #[must_use]
    pub fn decided_by(&self, id: SessionId) -> SessionId {
        self.line.as_ref().map_or(id, |line| line.first)
    }

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
    /// The app refused to refresh the token that the session has.
    TokenRefused,
    /// The monitoring found something.
    SecurityAnomaly,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
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
        Self::TokenRefused,
        Self::SecurityAnomaly,
    ];

    /// Whether time ended it, and nobody.
    #[must_use]
    pub const fn is_by_time(self) -> bool {
        matches!(self, Self::IdleTimeout | Self::Expired)
    }

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
            Self::TokenRefused => "token_refused",
            Self::SecurityAnomaly => "security_anomaly",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str().as_bytes() == text)
    }
}

/// The end of a session, or of a token that a session had, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// That the session goes on with another token.
    pub goes_on: Option<GoesOn>,
}

/// With which token a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoesOn {
    /// The next of the line.
    pub next: SessionId,
    /// From when on this one is refused: a rotation leaves it a moment for what is in flight.
    pub from: StoreTime,
}

impl End {
    /// An end at once.
    #[must_use]
    pub const fn now(reason: EndReason) -> Self {
        Self { reason, goes_on: None }
    }

    /// The end of a token alone, whose session goes on.
    #[must_use]
    pub const fn replaced(next: SessionId, from: StoreTime) -> Self {
        Self { reason: EndReason::Replaced, goes_on: Some(GoesOn { next, from }) }
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(self, now: StoreTime) -> bool {
        self.goes_on.is_none_or(|on| now >= on.from)
    }

    /// Whether it is the session's own, and so that of all its tokens.
    #[must_use]
    pub const fn is_of_the_line(self) -> bool {
        self.goes_on.is_none()
    }

    /// The text that is kept: the reason; then, where the session goes on, `@`, from when (µs), `>` and the next id.
    #[must_use]
    pub fn encode(self) -> String {
        let reason = self.reason.as_str();
        self.goes_on
            .map_or_else(|| reason.to_owned(), |GoesOn { next, from }| format!("{reason}@{}>{next}", from.as_micros()))
    }

    /// Reads what [`encode`](Self::encode) wrote.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (reason, goes_on) = match text.split_once('@') {
            None => (text, None),
            Some((reason, on)) => {
                let (from, next) = on.split_once('>')?;
                let (from, next) = (StoreTime::from_micros(from.parse().ok()?), SessionId::parse(next.as_bytes())?);
                (reason, Some(GoesOn { next, from }))
            }
        };
        Some(Self { reason: EndReason::parse(reason.as_bytes())?, goes_on })
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
        let next = SessionId::parse(&[b'-'; 22]).expect("22 characters of base64url");
        for end in [End::now(EndReason::Logout), End::replaced(next, StoreTime::from_micros(17))] {
            assert_eq!(End::decode(end.encode().as_bytes()), Some(end));
        }
        for garbage in ["", "boredom", "replaced@", "replaced@x", "@5", "replaced@5", "replaced@5>short", "replaced>"] {
            assert_eq!(End::decode(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn the_end_of_a_token_comes_with_its_time_and_is_not_that_of_its_line() {
        let next = SessionId::parse(&[b'A'; 22]).expect("22 characters of base64url");
        let end = End::replaced(next, StoreTime::from_micros(17));
        assert!(!end.has_come(StoreTime::from_micros(16)) && end.has_come(StoreTime::from_micros(17)));
        assert!(!end.is_of_the_line());
        let end = End::now(EndReason::Logout);
        assert!(end.has_come(StoreTime::from_micros(0)) && end.is_of_the_line());
    }
}
