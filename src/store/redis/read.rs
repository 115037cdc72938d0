//! Reading sessions: what is asked of one, and what the answers say.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::answers::{end, exactly, hold, record, tenant_standing, time, touch_deadline, user_standing};
use super::fault::Fault;
use super::keys::Keys;
use super::lane::Lanes;
use super::store::RedisStore;
use crate::session::{
    End, EndReason, Ended, Hold, Observation, SessionId, SessionRecord, Standing, StoreTime, TenantId, TenantStanding,
    UserStanding, judge, judge_outlived,
};
use crate::store::cache::{Origin, Reading};

/// After a master is used that followed another one, for every gateway to have applied its journal to it.
const RAISED_AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// What stands under a session's own keys.
pub(super) struct Seen {
    pub(super) record: Option<SessionRecord>,
    pub(super) touch_deadline: Option<StoreTime>,
    pub(super) ended: Option<End>,
}

/// Asks for what stands under a session's own keys.
pub(super) fn observe(pipeline: &mut Pipeline, keys: &Keys, id: &SessionId) {
    pipeline.cmd("GET").arg(keys.record(id));
    pipeline.cmd("PEXPIRETIME").arg(keys.record(id));
    // Last, so that an end that comes in between is seen.
    pipeline.cmd("GET").arg(keys.ended(id));
}

/// The next answers as what stands under a session's own keys.
pub(super) fn observed(answers: &mut impl Iterator<Item = Value>) -> Result<Seen, Fault> {
    let mut next = || answers.next().unwrap_or(Value::Nil);
    // All are taken, so that what follows is of the next session.
    let (kept, touch, ended): (_, _, _) = (next(), next(), next());
    Ok(Seen { record: record(kept)?, touch_deadline: touch_deadline(&touch)?, ended: end(ended)? })
}

/// What a session of a record depends on beside its own keys.
#[derive(Clone, Default)]
pub(super) struct Around {
    pub(super) tenant: TenantStanding,
    pub(super) user: UserStanding,
    line_ended: Option<End>,
    hold: Option<Hold>,
    left: UserStanding,
    elsewhere: Vec<UserStanding>,
}

/// Asks for it.
pub(super) fn ask_around(pipeline: &mut Pipeline, keys: &Keys, id: &SessionId, record: &SessionRecord) {
    let principal = &record.principal;
    pipeline.cmd("GET").arg(keys.tenant(&principal.tenant));
    pipeline.cmd("GET").arg(keys.user(&principal.tenant, &principal.user));
    for choosable in record.choices.iter().flat_map(|choices| choices.as_slice()) {
        pipeline.cmd("GET").arg(keys.user(&choosable.tenant, &principal.user));
    }
    pipeline.cmd("GET").arg(keys.hold(&record.decided_by(*id)));
    let Some(line) = &record.line else { return };
    if line.first != *id {
        pipeline.cmd("GET").arg(keys.ended(&line.first));
    }
    if let Some(left) = &line.left {
        pipeline.cmd("GET").arg(keys.user(&left.tenant, &left.user));
    }
}

/// The next answers as what a session of a record depends on.
pub(super) fn around(
    answers: &mut impl Iterator<Item = Value>,
    id: &SessionId,
    record: &SessionRecord,
) -> Result<Around, Fault> {
    let mut next = || answers.next().unwrap_or(Value::Nil);
    let (tenant, user) = (next(), next());
    let chosen = record.choices.as_ref().map_or(0, |choices| choices.as_slice().len());
    // All are taken, so that what follows is of the next session.
    let elsewhere: Vec<Value> = (0..chosen).map(|_| next()).collect();
    let word = next();
    let line = record.line.as_deref();
    let line_ended = line.filter(|line| line.first != *id).map(|_| next());
    let left = line.and_then(|line| line.left.as_ref()).map(|_| next());
    Ok(Around {
        tenant: tenant_standing(tenant)?,
        user: user_standing(user)?,
        line_ended: line_ended.map(end).transpose()?.flatten(),
        hold: hold(word)?,
        left: left.map(user_standing).transpose()?.unwrap_or_default(),
        elsewhere: elsewhere.into_iter().map(user_standing).collect::<Result<_, _>>()?,
    })
}

impl Seen {
    /// What the session is, but for what follows from the one that replaces it.
    pub(super) fn judged(self, id: SessionId, around: Around, now: StoreTime) -> Standing {
        judge(self.observation(id, around, now))
    }

    fn observation(self, id: SessionId, around: Around, now: StoreTime) -> Observation {
        let Self { record, touch_deadline, ended } = self;
        let Around { tenant, user, line_ended, hold, left, elsewhere } = around;
        Observation { id, record, touch_deadline, ended, line_ended, hold, tenant, user, left, elsewhere, now }
    }
}

impl RedisStore {
    /// What a session is. `reading` announced it to the cache, and keeps it.
    pub(super) async fn read_from(
        &self,
        lanes: &Lanes,
        id: SessionId,
        reading: Option<Reading<'_>>,
    ) -> Result<Standing, Fault> {
        let (standing, next) = self.judged(lanes, id, reading).await?;
        let (Some(live), Some(next)) = (standing.not_over(), next) else { return Ok(standing) };
        // Its moment is worth no more than the session that goes on. What holds one of its tokens holds all.
        let (reason, record) = match self.judged(lanes, next, None).await?.0 {
            Standing::Live(_) | Standing::Held(_) => return Ok(standing),
            Standing::Ended(ended) => (ended.reason, Some(live.record.clone())),
            Standing::Absent => (EndReason::Replaced, Some(live.record.clone())),
        };
        Ok(Standing::Ended(Ended { reason, record, noted: true, next: Some(next) }))
    }

    /// What a session is by itself, and the one that is about to replace it.
    async fn judged(
        &self,
        lanes: &Lanes,
        id: SessionId,
        mut reading: Option<Reading<'_>>,
    ) -> Result<(Standing, Option<SessionId>), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        observe(&mut pipeline, self.keys(), &id);
        // What a key of another type answers is this session's trouble alone.
        let (answers, origins) = lanes.ask_each_whom(&lanes.quick, &mut pipeline).await?;
        let mut answers = answers.into_iter();
        let now = time(answers.next().unwrap_or(Value::Nil))?;
        let seen = observed(&mut answers)?;
        if let Some(reading) = &mut reading {
            reading.came_from(&origins);
        }
        let next = seen.ended.and_then(|end| end.goes_on).map(|on| on.next);
        let around = match &seen.record {
            Some(record) => {
                if let Some(reading) = &mut reading {
                    let (tenant, user) = (&record.principal.tenant, &record.principal.user);
                    let of_user = if record.ends_with_its_tenant() {
                        self.keys().user(tenant, user)
                    } else {
                        self.keys().user_anywhere(user)
                    };
                    let left = record.line.as_ref().and_then(|line| line.left.as_ref());
                    let left = left.map(|left| self.keys().user(&left.tenant, &left.user));
                    reading.depends_on(&self.keys().tenant(tenant), &of_user, left.as_deref(), record);
                }
                let (around, origins) = self.around(lanes, &id, record).await?;
                if let Some(reading) = &mut reading {
                    reading.came_from(&origins);
                }
                self.is_not_behind(lanes, record, &around)?;
                around
            }
            None => Around::default(),
        };
        let standing = seen.judged(id, around, now);
        match (&standing, next) {
            // Nothing tells of the end of what replaces it.
            (Standing::Live(_) | Standing::Held(_), Some(_)) => {}
            _ => {
                if let Some(reading) = reading {
                    reading.keep(&standing);
                }
            }
        }
        Ok((standing, next))
    }

    /// On a cluster a session may be made on one master under what was raised on another, which is then followed by a replica
    /// that did not have it. Nobody is logged out for that until the gateway that raised it has had time to do so again.
    fn is_not_behind(&self, lanes: &Lanes, record: &SessionRecord, around: &Around) -> Result<(), Fault> {
        let (kept, now) = (record.generations, around.tenant.generation);
        if kept.tenant <= now && kept.user <= around.user.generation {
            return Ok(());
        }
        let key = self.keys().tenant(&record.principal.tenant);
        if lanes.quick.may_be_new(&key, self.link.now(), RAISED_AGAIN_WITHIN) {
            return Err(Fault::Shard(String::from(
                "the master of a tenant may lack what was revoked before another failed",
            )));
        }
        Ok(())
    }

    /// Why a session of this record is over, which time has ended.
    pub(super) async fn read_outlived_on(
        &self,
        lanes: &Lanes,
        id: SessionId,
        record: &Arc<SessionRecord>,
    ) -> Result<EndReason, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("GET").arg(self.keys().ended(&id));
        ask_around(&mut pipeline, self.keys(), &id, record);
        // A server that was emptied knows of no revocation, which is not to say that there was none.
        let mut answers = lanes.ask_same_data(&lanes.quick, self.keys(), pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let (now, ended) = (time(next())?, end(next())?);
        let seen = Seen { record: Some(SessionRecord::clone(record)), touch_deadline: None, ended };
        Ok(judge_outlived(seen.observation(id, around(&mut answers, &id, record)?, now)))
    }

    /// A tenant's standing, which the cache keeps.
    pub(super) async fn tenant_standing_on(&self, lanes: &Lanes, tenant: &TenantId) -> Result<TenantStanding, Fault> {
        let key = self.keys().tenant(tenant);
        let place = self.keys().place(&key);
        let kept = self.cache.as_ref().and_then(|cache| Some((cache, cache.begin_tenant(&key, place)?)));
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(key);
        // On a server that was emptied nobody is shut out, which is not to say that nobody was.
        let (answers, origins) = lanes.ask_same_data_whom(&lanes.quick, self.keys(), pipeline).await?;
        let [standing] = exactly(answers)?;
        let standing = tenant_standing(standing)?;
        if let Some((cache, reading)) = kept {
            cache.keep_tenant(tenant, reading, standing, &origins);
        }
        Ok(standing)
    }

    /// What a session of this record depends on, now, and where that came from.
    async fn around(
        &self,
        lanes: &Lanes,
        id: &SessionId,
        record: &SessionRecord,
    ) -> Result<(Around, Vec<Origin>), Fault> {
        let mut pipeline = redis::pipe();
        ask_around(&mut pipeline, self.keys(), id, record);
        let (answers, origins) = lanes.ask_whom(&lanes.quick, &mut pipeline).await?;
        Ok((around(&mut answers.into_iter(), id, record)?, origins))
    }
}
