//! How many sessions a user may have, also when logins race on several gateways.
//!
//! A login first reserves a place in the user's index, by one script that counts. Sessions that it displaces stay in the
//! index until they are ended, so that none is lost sight of should the gateway die in between; the next login then
//! displaces them. A place that is reserved and not taken is free again after a moment.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::answers::{end, entries, exactly, record, tenant_standing, time, touch_deadline, user_standing};
use super::connection::Lane;
use super::fault::{Fault, number};
use super::{RedisStore, eval, one_number, scripts};
use crate::session::{
    By, EndReason, LimitAction, Observation, Principal, SessionId, SessionLimit, SessionRecord, Standing, StoreTime,
    judge,
};

/// How long a place is reserved: longer than any creation takes.
const RESERVED: Duration = Duration::from_secs(10);
/// Entries of one user that are looked at. What is beyond them counts.
const LOOKED_AT: usize = 1_000;
/// How often a reservation is tried while other logins of the same user come in.
const TRIES: usize = 8;

/// A reserved place.
pub(super) struct Place {
    /// Who has to go for it.
    displaced: Vec<(SessionId, Arc<SessionRecord>)>,
}

/// The entries of a user's index, by what became of their sessions.
#[derive(Default)]
struct Entries {
    /// With when they were made.
    live: Vec<(SessionId, Arc<SessionRecord>)>,
    over: Vec<SessionId>,
    /// Places of sessions that are being made.
    reserved: Vec<SessionId>,
    /// Entries whose session never came to be, or is about to be replaced.
    uncounted: Vec<SessionId>,
}

impl RedisStore {
    /// Reserves a place. `None` if there is none and none may be made.
    pub(super) async fn reserve(
        &self,
        lane: &Lane,
        id: &SessionId,
        principal: &Principal,
        limit: SessionLimit,
        replaces: Option<SessionId>,
    ) -> Result<Option<Place>, Fault> {
        let index = self.keys().user_index(&principal.tenant, &principal.user);
        for _ in 0..TRIES {
            let (now, mut entries) = self.entries_of(lane, &index, principal, replaces).await?;
            let (mut displaced, mut taken) = (Vec::new(), Vec::new());
            if limit.action == LimitAction::RevokeOldest {
                let count = usize::from(limit.count.get());
                let many = (entries.live.len() + entries.reserved.len() + 1).saturating_sub(count);
                entries.live.sort_by_key(|(id, record)| (record.created, *id));
                displaced.extend(entries.live.drain(..many.min(entries.live.len())));
                taken.extend(entries.reserved.drain(..(many - displaced.len()).min(entries.reserved.len())));
            }
            let ending: Vec<SessionId> =
                entries.uncounted.iter().copied().chain(displaced.iter().map(|of| of.0)).collect();
            let mut reserve = eval(scripts::RESERVE, std::slice::from_ref(&index));
            reserve.arg(id.as_str()).arg(limit.count.get());
            reserve.arg(now.after(RESERVED).as_millis_rounded_up()).arg(now.as_micros() / 1000);
            for list in [&entries.over, &ending, &taken] {
                reserve.arg(list.len());
                for id in list {
                    reserve.arg(id.as_str());
                }
            }
            if one_number(lane, reserve).await? == 1 {
                return Ok(Some(Place { displaced }));
            }
            if limit.action == LimitAction::Deny {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn entries_of(
        &self,
        lane: &Lane,
        index: &String,
        principal: &Principal,
        replaces: Option<SessionId>,
    ) -> Result<(StoreTime, Entries), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        let mut page = eval(scripts::PAGE, std::slice::from_ref(index));
        page.arg(0).arg("").arg(LOOKED_AT);
        pipeline.add_command(page);
        self.add_current(&mut pipeline, principal);
        let [now, page, tenant, user] = exactly(lane.ask(&pipeline).await?)?;
        let (now, page) = (time(now)?, entries(page)?);
        let (tenant, user) = (tenant_standing(tenant)?, user_standing(user)?);
        let mut found = Entries::default();
        if page.is_empty() {
            return Ok((now, found));
        }
        let mut pipeline = redis::pipe();
        for (_, id) in &page {
            pipeline.cmd("GET").arg(self.keys().record(id));
            pipeline.cmd("PEXPIRETIME").arg(self.keys().touch(id));
            pipeline.cmd("GET").arg(self.keys().ended(id));
        }
        let mut answers = lane.ask_each(&mut pipeline).await?.into_iter();
        let mut answer = || answers.next().unwrap_or(Value::Nil);
        let reserved_at_most = now.after(RESERVED).as_millis_rounded_up();
        for (score, id) in page {
            let (kept, touch, ended) = (record(answer()), touch_deadline(&answer()), end(answer()));
            // One that cannot be read counts: it may be a newer gateway's.
            let (Ok(kept), Ok(touch_deadline), Ok(ended)) = (kept, touch, ended) else { continue };
            match kept {
                _ if Some(id) == replaces => found.uncounted.push(id),
                None if score <= reserved_at_most => found.reserved.push(id),
                None => found.uncounted.push(id),
                Some(record) => {
                    let record = Some(record);
                    match judge(Observation { id, record, touch_deadline, ended, tenant, user, now }) {
                        Standing::Live(live) => found.live.push((id, live.record)),
                        Standing::Absent | Standing::Ended(_) => found.over.push(id),
                    }
                }
            }
        }
        Ok((now, found))
    }

    /// Takes a reserved place for a session that is stored, and ends whom it displaces. Answers who ended by it.
    pub(super) async fn take_place(
        &self,
        lane: &Lane,
        id: &SessionId,
        record: &SessionRecord,
        place: Place,
    ) -> Result<Vec<(SessionId, Arc<SessionRecord>)>, Fault> {
        let Principal { tenant, user, .. } = &*record.principal;
        let mut take = eval(scripts::TAKE_PLACE, &[self.keys().user_index(tenant, user)]);
        take.arg(id.as_str()).arg(record.deadline.as_millis_rounded_up());
        let mut candidates = place.displaced;
        if one_number(lane, take).await? == 0 {
            // Later logins took it: this session was the oldest.
            candidates.push((*id, Arc::new(record.clone())));
        }
        let mut displaced = Vec::with_capacity(candidates.len());
        for (id, record) in candidates {
            let mut pipeline = redis::pipe();
            pipeline.add_command(self.end_script(&id, &record, EndReason::Limit));
            self.add_unindex(&mut pipeline, &id, &record.principal);
            let kept = self.keep_end(id, &record, EndReason::Limit, &By::Gateway).await;
            let [ended, _, _] = exactly(lane.ask_each(&mut pipeline).await?)?;
            kept.complete(None);
            if number(&ended)? == 1 {
                displaced.push((id, record));
            }
        }
        Ok(displaced)
    }
}
