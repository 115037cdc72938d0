//! What a session is, given everything that the store knows of it: absent, ended (and why), or live.

use super::{EndReason, SessionId, SessionRecord, StoreTime, TenantStanding, TenantStatus, UserStanding};

/// Everything the store knows of one session id, read at `now`.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The session id.
    pub id: SessionId,
    /// The record, kept until an hour after the absolute deadline.
    pub record: Option<SessionRecord>,
    /// The touch deadline; `None` when it has passed or the session was ended.
    pub touch_deadline: Option<StoreTime>,
    /// Why the session was ended, where that was written down.
    pub ended: Option<EndReason>,
    /// What the store knows of the record's tenant.
    pub tenant: TenantStanding,
    /// What the store knows of the record's user.
    pub user: UserStanding,
    /// The store's time of the observation.
    pub now: StoreTime,
}

/// What a session is. An unavailable store is not among these: it is the error beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never made, or forgotten.
    Absent,
    /// Made once, and over.
    Ended(Ended),
    /// Usable, as far as the store knows.
    Live(LiveSession),
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// Whose it was, where that is still known.
    pub record: Option<SessionRecord>,
    /// Whether the end was written down when it happened. An end by time is first noticed at the next use.
    pub noted: bool,
}

/// A session that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The record.
    pub record: SessionRecord,
    /// The recorded touch deadline.
    pub touch_deadline: StoreTime,
    /// The store's time when it was read.
    pub now: StoreTime,
}

/// Decides what a session is. Every doubt ends it: a record alone is never enough to be live.
#[must_use]
pub fn judge(observation: Observation) -> Standing {
    let Observation { id, record, touch_deadline, ended, tenant, user, now } = observation;
    let Some(record) = record else {
        return ended.map_or(Standing::Absent, |reason| Standing::Ended(Ended { reason, record: None, noted: true }));
    };
    let over = if let Some(reason) = ended {
        Some((reason, true))
    } else if tenant.status != TenantStatus::Active || record.generations.tenant != tenant.generation {
        Some((EndReason::TenantRevoked, true))
    } else if !user.admits(id, record.generations.user) {
        Some((EndReason::UserRevoked, true))
    } else if now >= record.deadline {
        Some((EndReason::Expired, false))
    } else if touch_deadline.is_none_or(|deadline| now >= deadline) {
        Some((EndReason::IdleTimeout, false))
    } else {
        None
    };
    match (over, touch_deadline) {
        (None, Some(touch_deadline)) => Standing::Live(LiveSession { record, touch_deadline, now }),
        (None, None) => Standing::Ended(Ended { reason: EndReason::IdleTimeout, record: Some(record), noted: false }),
        (Some((reason, noted)), _) => Standing::Ended(Ended { reason, record: Some(record), noted }),
    }
}
