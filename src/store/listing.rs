//! Listings for operators: sessions and tenants, page by page.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use std::sync::Arc;

use crate::session::{
    HeldSession, Hold, LiveSession, SessionId, SessionRecord, Standing, StoreTime, TenantId, TenantNote, TenantStatus,
    UserId,
};

/// Whose sessions are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsOf {
    /// Everybody's.
    All,
    /// A tenant's.
    Tenant(TenantId),
    /// A user's.
    User {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: UserId,
    },
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page goes on; `None` when this is the last.
    pub next: Option<C>,
}

/// A place in a listing of sessions: after which session it goes on. Only the store that made it can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The tenant of the last session that was looked at.
    pub(super) tenant: TenantId,
    /// Where that session stands within its tenant; a time that never changes.
    pub(super) order: u64,
    /// That session; `None`: before the first of the tenant.
    pub(super) id: Option<SessionId>,
}

impl Cursor {
    /// Reads what `Display` wrote. `None` for what was never a cursor.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut parts = std::str::from_utf8(&bytes).ok()?.splitn(3, ' ');
        let order = parts.next()?.parse().ok()?;
        let id = match parts.next()? {
            "" => None,
            id => Some(SessionId::parse(id.as_bytes())?),
        };
        Some(Self { order, id, tenant: TenantId::parse_kept(parts.next()?).ok()? })
    }
}

/// A word for URLs, opaque to all but the store.
impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_ref().map_or("", SessionId::as_str);
        formatter.write_str(&URL_SAFE_NO_PAD.encode(format!("{} {id} {}", self.order, self.tenant.kept())))
    }
}

/// A session that is not over, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Its record.
    pub record: Arc<SessionRecord>,
    /// The recorded use, which is at most a granularity older than the last; `None` where none is recorded, because the
    /// idle time-out is off.
    pub last_seen: Option<StoreTime>,
    /// When it times out if it is not used; `None` when the idle time-out is off.
    pub idle_expiry: Option<StoreTime>,
    /// The hold that is on it, if there is one.
    pub hold: Option<Hold>,
    /// The store's time of all this.
    pub now: StoreTime,
}

impl SessionView {
    /// The view of a session of this standing; `None` where there is none, or it is over.
    #[must_use]
    pub fn of_standing(id: SessionId, standing: Standing) -> Option<Self> {
        match standing {
            Standing::Live(live) => Some(Self::of(id, live)),
            Standing::Held(HeldSession { live, hold }) => Some(Self { hold: Some(hold), ..Self::of(id, live) }),
            Standing::Ended(_) | Standing::Absent => None,
        }
    }

    fn of(id: SessionId, live: LiveSession) -> Self {
        let LiveSession { record, touch_deadline, now } = live;
        let last_seen = record.idle.map(|idle| idle.use_recorded_by(touch_deadline));
        let idle_expiry = record.idle_expiry(touch_deadline, now);
        Self { id, record, last_seen, idle_expiry, hold: None, now }
    }
}

/// A tenant, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantView {
    /// Its id.
    pub tenant: TenantId,
    /// Its status.
    pub status: TenantStatus,
    /// Its last change of status, if there ever was one.
    pub changed: Option<TenantNote>,
    /// Its live sessions.
    pub sessions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_word_for_urls_and_reads_back() {
        let tenant = TenantId::parse("acme:eu/1!~").expect("visible ASCII");
        for id in [None, SessionId::parse(&[b'-'; 22])] {
            let cursor = Cursor { tenant: tenant.clone(), order: u64::MAX, id };
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            assert_eq!(Cursor::parse(&text), Some(cursor));
        }
        for garbage in ["", "!", "AAAA", &URL_SAFE_NO_PAD.encode("1 short acme"), &URL_SAFE_NO_PAD.encode("x  a")] {
            assert_eq!(Cursor::parse(garbage), None, "{garbage}");
        }
    }
}
