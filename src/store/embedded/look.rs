//! What a session is, as it stands in some tables.

use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata as _};

use super::super::codec;
use super::schema::{
    ENDS, Fault, HOLDS, SEALED_TOKENS, SESSIONS, TENANTS, TOUCHES, USERS, end_of, last_word_of, standing_of, user_of,
};
use crate::session::{
    End, EndReason, Ended, LastWord, Observation, SessionId, SessionRecord, Standing, StoreTime, TenantId,
    TenantStanding, TokenObservation, TokenStanding, UserId, UserStanding, judge, judge_outlived, judge_token,
};

/// How many ends are written down. The table knows it.
pub(super) fn count_ended(transaction: &ReadTransaction) -> Result<u64, Fault> {
    Ok(transaction.open_table(ENDS)?.len()?)
}

/// All that says what a session is, at one moment.
pub(super) struct Snapshot {
    sessions: ReadOnlyTable<&'static str, &'static [u8]>,
    touches: ReadOnlyTable<&'static str, u64>,
    ends: ReadOnlyTable<&'static str, (&'static str, u64)>,
    holds: ReadOnlyTable<&'static str, (&'static str, u64)>,
    tenants: ReadOnlyTable<&'static str, &'static str>,
    users: ReadOnlyTable<(&'static str, &'static str), &'static str>,
}

impl Snapshot {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            touches: transaction.open_table(TOUCHES)?,
            ends: transaction.open_table(ENDS)?,
            holds: transaction.open_table(HOLDS)?,
            tenants: transaction.open_table(TENANTS)?,
            users: transaction.open_table(USERS)?,
        })
    }

    pub(super) fn tenant(&self, tenant: &TenantId) -> Result<TenantStanding, Fault> {
        self.standing(tenant)
    }
}

/// The app's token that is kept for a session.
pub(super) fn sealed_token(transaction: &ReadTransaction, id: SessionId) -> Result<Option<Vec<u8>>, Fault> {
    Ok(transaction.open_table(SEALED_TOKENS)?.get(id.as_str())?.map(|sealed| sealed.value().to_vec()))
}

/// All that says what a session is, as it stands in some tables.
pub(super) trait Look {
    fn record(&self, id: SessionId) -> Result<Option<SessionRecord>, Fault>;
    fn touch_deadline(&self, id: SessionId) -> Result<Option<StoreTime>, Fault>;
    /// The end that is written down, and until when (µs).
    fn ended(&self, id: SessionId) -> Result<Option<(End, u64)>, Fault>;
    /// The last word about whether the session of this first token is held.
    fn last_word(&self, first: SessionId) -> Result<Option<LastWord>, Fault>;
    fn standing(&self, tenant: &TenantId) -> Result<TenantStanding, Fault>;
    fn user_standing(&self, tenant: &TenantId, user: &UserId) -> Result<UserStanding, Fault>;

    /// What a session is.
    fn session(&self, id: SessionId, now: StoreTime) -> Result<Standing, Fault> {
        let (standing, next) = self.judged(id, now)?;
        let (Some(live), Some(next)) = (standing.not_over(), next) else { return Ok(standing) };
        // Its moment is worth no more than the session that goes on. What holds one of its tokens holds all.
        let reason = match self.judged(next, now)?.0 {
            Standing::Live(_) | Standing::Held(_) => return Ok(standing),
            Standing::Ended(ended) => ended.reason,
            Standing::Absent => EndReason::Replaced,
        };
        let record = Some(live.record.clone());
        Ok(Standing::Ended(Ended { reason, record, noted: true, next: Some(next) }))
    }

    /// What a verified token is worth that says this of itself.
    fn token(&self, id: SessionId, record: Arc<SessionRecord>, now: StoreTime) -> Result<TokenStanding, Fault> {
        let principal = &record.principal;
        let tenant = self.standing(&principal.tenant)?;
        let user = self.user_standing(&principal.tenant, &principal.user)?;
        let denied = self.ended(id)?.map(|(end, _)| end);
        Ok(judge_token(TokenObservation { id, record, denied, tenant, user, now }))
    }

    /// Why a session of this record is over, which time has ended.
    fn outlived(&self, id: SessionId, record: &SessionRecord, now: StoreTime) -> Result<EndReason, Fault> {
        Ok(judge_outlived(self.observed(id, Some(record.clone()), None, now)?))
    }

    /// What a session is by itself, and the one that is about to replace it.
    fn judged(&self, id: SessionId, now: StoreTime) -> Result<(Standing, Option<SessionId>), Fault> {
        let observation = self.observed(id, self.record(id)?, self.touch_deadline(id)?, now)?;
        let next = observation.ended.and_then(|end| end.goes_on).map(|on| on.next);
        Ok((judge(observation), next))
    }

    /// All that is known of a session of this record.
    fn observed(
        &self,
        id: SessionId,
        record: Option<SessionRecord>,
        touch_deadline: Option<StoreTime>,
        now: StoreTime,
    ) -> Result<Observation, Fault> {
        let ended = self.ended(id)?.map(|(end, _)| end);
        let (mut tenant, mut user) = (TenantStanding::default(), UserStanding::default());
        let (mut line_ended, mut hold, mut left, mut elsewhere) = (None, None, UserStanding::default(), Vec::new());
        if let Some(SessionRecord { principal, line, choices, .. }) = &record {
            let first = line.as_ref().map_or(id, |line| line.first);
            hold = self.last_word(first)?.and_then(LastWord::hold);
            tenant = self.standing(&principal.tenant)?;
            user = self.user_standing(&principal.tenant, &principal.user)?;
            for choosable in choices.iter().flat_map(|choices| choices.as_slice()) {
                elsewhere.push(self.user_standing(&choosable.tenant, &principal.user)?);
            }
            if let Some(line) = line {
                line_ended = self.ended(line.first)?.map(|(end, _)| end).filter(|_| line.first != id);
                if let Some(of) = &line.left {
                    left = self.user_standing(&of.tenant, &of.user)?;
                }
            }
        }
        Ok(Observation { id, record, touch_deadline, ended, line_ended, hold, tenant, user, left, elsewhere, now })
    }
}

/// Looks at tables that have these names, whether they are open for reading or for writing.
macro_rules! look {
    ($tables:ty) => {
        impl Look for $tables {
            fn record(&self, id: SessionId) -> Result<Option<SessionRecord>, Fault> {
                let Some(bytes) = self.sessions.get(id.as_str())? else { return Ok(None) };
                codec::decode(bytes.value()).map(Some).map_err(|error| Fault::Unreadable(error.to_string()))
            }

            fn touch_deadline(&self, id: SessionId) -> Result<Option<StoreTime>, Fault> {
                Ok(self.touches.get(id.as_str())?.map(|at| StoreTime::from_micros(at.value())))
            }

            fn ended(&self, id: SessionId) -> Result<Option<(End, u64)>, Fault> {
                let Some(kept) = self.ends.get(id.as_str())? else { return Ok(None) };
                let (text, until) = kept.value();
                Ok(Some((end_of(text)?, until)))
            }

            fn last_word(&self, first: SessionId) -> Result<Option<LastWord>, Fault> {
                let kept = self.holds.get(first.as_str())?;
                kept.map(|kept| last_word_of(kept.value().0)).transpose()
            }

            fn standing(&self, tenant: &TenantId) -> Result<TenantStanding, Fault> {
                let kept = self.tenants.get(tenant.kept())?;
                kept.map_or(Ok(TenantStanding::default()), |text| standing_of(text.value()))
            }

            fn user_standing(&self, tenant: &TenantId, user: &UserId) -> Result<UserStanding, Fault> {
                let kept = self.users.get((tenant.kept(), user.kept()))?;
                kept.map_or(Ok(UserStanding::default()), |text| user_of(text.value()))
            }
        }
    };
}

pub(super) use look;

look!(Snapshot);
