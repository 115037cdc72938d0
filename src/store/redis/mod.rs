//! Sessions in Redis: several gateways share one server and agree.
//!
//! Which key means what is in `docs/redis.md`. The rules that make it safe:
//!
//! - A session is live only while its touch key exists, and nothing but [`create`](SessionStore::create) ever sets a
//!   touch key. So no touch, late or lost, revives a session.
//! - The unlinking of the touch key decides who ended a session, and thus who counts it.
//! - Time is the server's. Deadlines are absolute, so that latency neither lengthens nor shortens a session.
//! - An answer in a shape that was never written is an outage, never an absent session.

mod answers;
mod audit;
mod connection;
mod fault;
mod fitness;
mod kept;
mod keys;
mod known;
mod late;
mod limit;
mod listing;
mod order;
mod replay;
mod revoke;
mod scripts;
mod settings;
mod tracker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use self::settings::{RedisSettings, SettingsError, SharedWarn};

use self::answers::{end, exactly, record, tenant_standing, time, touch_deadline, user_standing};
use self::connection::{CALL_TIMEOUT, Lane, Lanes, Link};
use self::fault::{Fault, number, unexpected};
use self::fitness::Missing;
use self::kept::Kept;
use self::keys::Keys;
use self::known::KnownTenants;
use self::tracker::Tracker;
use super::cache::{Cache, Reading};
use super::journal::Entry;
use super::observe::SharedObserver;
use super::{
    Condition, Creation, Cursor, Known, NewSession, Page, REASON_KEPT, Revoked, SessionStore, SessionView, SessionsOf,
    StoreResult, TenantView, Touch, Unavailable, codec,
};
use crate::session::{
    By, EndReason, Generations, IdleLimit, Observation, Principal, Revocation, SessionId, SessionRecord, Standing,
    StoreTime, TenantChange, TenantId, TenantStanding, TenantStatus, UserStanding, judge,
};

/// For a page of a listing, which may take many steps.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);
/// Walks after revocations that run at once; more wait their turn.
const WALKS: usize = 8;
/// Touches sent in one step.
const TOUCHES: usize = 500;

/// The server must not be used: it is too old, or evicts what ends sessions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

/// The store on one Redis or Valkey server.
pub struct RedisStore {
    link: Arc<Link>,
    known: KnownTenants,
    walks: Arc<Semaphore>,
    cache: Option<Arc<Cache>>,
    watchdog: JoinHandle<()>,
    tracker: Option<JoinHandle<()>>,
}

impl RedisStore {
    /// What an operator should know of the server, as it was when the connection was made.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.link.warnings()
    }

    /// Connects, and keeps connecting for as long as the store lives. A server that cannot be reached now is no error:
    /// the store is unavailable until it can.
    ///
    /// # Errors
    /// When the server was reached and must not be used. Should that turn out later, the store stays unavailable with
    /// that cause.
    pub async fn connect(settings: RedisSettings, observer: SharedObserver) -> Result<Arc<Self>, Unfit> {
        let with_cache = settings.cache.clone();
        let link = Arc::new(Link::new(settings, observer));
        if let Err(Fault::Unfit(cause)) = link.connect().await {
            return Err(Unfit(cause));
        }
        let watched = Arc::clone(&link);
        let watchdog = tokio::spawn(async move { watched.watch().await });
        let (mut cache, mut tracker) = (None, None);
        if let Some(settings) = with_cache {
            let kept = Arc::new(Cache::new(settings.entries, settings.clock.clone()));
            tracker = Some(tokio::spawn(Tracker::new(Arc::clone(&link), Arc::clone(&kept), settings).run()));
            cache = Some(kept);
        }
        let (known, walks) = (KnownTenants::default(), Arc::new(Semaphore::new(WALKS)));
        Ok(Arc::new(Self { link, known, walks, cache, watchdog, tracker }))
    }

    fn keys(&self) -> &Keys {
        self.link.keys()
    }

    /// Reads a session. `reading` announced it to the cache, and keeps it.
    async fn read_from(
        &self,
        lanes: &Lanes,
        id: SessionId,
        mut reading: Option<Reading<'_>>,
    ) -> Result<Standing, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("GET").arg(self.keys().record(&id));
        pipeline.cmd("PEXPIRETIME").arg(self.keys().touch(&id));
        // Last, so that an end that comes in between is seen.
        pipeline.cmd("GET").arg(self.keys().ended(&id));
        let [now, kept, touch, ended] = exactly(lanes.quick.ask_each(&mut pipeline).await?)?;
        let (now, record) = (time(now)?, record(kept)?);
        let (touch_deadline, ended) = (touch_deadline(&touch)?, end(ended)?);
        let (tenant, user) = match &record {
            Some(SessionRecord { principal, .. }) => {
                if let Some(reading) = &mut reading {
                    let Principal { tenant, user, .. } = &**principal;
                    reading.depends_on(&self.keys().tenant(tenant), &self.keys().user(tenant, user));
                }
                self.current(&lanes.quick, principal).await?
            }
            None => Default::default(),
        };
        let standing = judge(Observation { id, record, touch_deadline, ended, tenant, user, now });
        if let Some(reading) = reading {
            reading.keep(&standing, ended.and_then(|end| end.at));
        }
        Ok(standing)
    }

    /// What is known of a principal's tenant and user now.
    async fn current(&self, lane: &Lane, principal: &Principal) -> Result<(TenantStanding, UserStanding), Fault> {
        let mut pipeline = redis::pipe();
        self.add_current(&mut pipeline, principal);
        let [tenant, user] = exactly(lane.ask(&pipeline).await?)?;
        Ok((tenant_standing(tenant)?, user_standing(user)?))
    }

    fn add_current(&self, pipeline: &mut Pipeline, principal: &Principal) {
        pipeline.cmd("GET").arg(self.keys().tenant(&principal.tenant));
        pipeline.cmd("GET").arg(self.keys().user(&principal.tenant, &principal.user));
    }

    /// Makes a session, which ends at `not_after` at the latest.
    async fn create_on(&self, lanes: &Lanes, new: NewSession, not_after: Option<StoreTime>) -> Result<Creation, Fault> {
        let lane = &lanes.careful;
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        self.add_current(&mut pipeline, &new.principal);
        // Last, so that a server that was emptied before is seen.
        pipeline.cmd("GET").arg(self.keys().birth());
        let [now, tenant, user, birth] = exactly(lane.ask(&pipeline).await?)?;
        lanes.is_same_data(birth)?;
        let (now, tenant, user) = (time(now)?, tenant_standing(tenant)?, user_standing(user)?);
        let generations = Generations { tenant: tenant.generation, user: user.generation };
        if tenant.status != TenantStatus::Active {
            return Ok(Creation::TenantRefused(tenant.status));
        }
        if generations.newer_than(new.began) {
            // Should the order have lost it, the next login is not to fail as well.
            let newest = generations.tenant.max(generations.user).as_micros();
            order::reach(lane, self.keys(), StoreTime::from_micros(newest)).await?;
            return Ok(Creation::Superseded);
        }
        let (id, limit, replaces) = (new.id, new.limit, new.replaces);
        let mut record = new.record(now, generations);
        record.deadline = not_after.map_or(record.deadline, |latest| latest.min(record.deadline));
        let place = match limit {
            Some(limit) => match self.reserve(lane, &id, &record.principal, limit, replaces).await? {
                Some(place) => Some(place),
                None => return Ok(Creation::LimitReached),
            },
            None => None,
        };
        self.index(lanes, &id, &record, limit.is_some()).await?;
        let (tenant_after, user_after) = self.store(lane, &id, &record).await?;
        if tenant_after == tenant && user_after == user {
            let displaced = match place {
                Some(place) => self.take_place(lane, &id, &record, place).await?,
                None => Vec::new(),
            };
            return Ok(Creation::Stored { record, displaced });
        }
        // Revoked while it was made. If the revocation already found, ended and counted it, it did exist for a moment:
        // then it is stored, and dead. Either way each session is counted by one call only.
        match (self.discard(lane, &id, &record.principal).await?, tenant_after.status) {
            (false, _) => Ok(Creation::Stored { record, displaced: Vec::new() }),
            (true, TenantStatus::Active) => Ok(Creation::Superseded),
            (true, refused) => Ok(Creation::TenantRefused(refused)),
        }
    }

    /// Takes back a session that must not come to be. `false` if somebody else ended it first.
    async fn discard(&self, lane: &Lane, id: &SessionId, principal: &Principal) -> Result<bool, Fault> {
        let mut discard = redis::pipe();
        discard.add_command(eval(scripts::DISCARD, &[self.keys().touch(id), self.keys().record(id)]));
        self.add_unindex(&mut discard, id, principal);
        let [discarded, _, _] = exactly(lane.ask_each(&mut discard).await?)?;
        Ok(number(&discarded)? == 1)
    }

    async fn rotate_on(
        &self,
        lanes: &Lanes,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
    ) -> Result<Creation, Fault> {
        let (id, principal) = (new.id, new.principal.clone());
        let creation = self.create_on(lanes, new, Some(old_record.deadline)).await?;
        if !matches!(creation, Creation::Stored { .. }) {
            return Ok(creation);
        }
        let mut later = eval(scripts::END_LATER, &[self.keys().touch(&old), self.keys().ended(&old)]);
        later.arg(EndReason::Replaced.as_str()).arg(crate::clock::micros(grace)).arg(kept_until(old_record));
        // Read after it: a revocation from here on comes after the rotation, and one before it wins. The new session
        // may be of another tenant, whose generation says nothing about the old one's.
        if one_number(&lanes.careful, later).await? == 1
            && matches!(self.read_from(lanes, old, None).await?, Standing::Live(_))
        {
            self.keep_end(old, old_record, EndReason::Replaced, &By::User).await.complete(None);
            return Ok(creation);
        }
        self.discard(&lanes.careful, &id, &principal).await?;
        Ok(Creation::Superseded)
    }

    /// Before the session itself: an entry without a session is harmless, a session without an entry could not be
    /// found.
    async fn index(&self, lanes: &Lanes, id: &SessionId, record: &SessionRecord, has_place: bool) -> Result<(), Fault> {
        let principal = &record.principal;
        let unknown = self.known.unknown(&principal.tenant, record, lanes.epoch);
        let mut pipeline = redis::pipe();
        let of_user = (!has_place).then(|| self.keys().user_index(&principal.tenant, &principal.user));
        for index in of_user.into_iter().chain([self.keys().tenant_index(&principal.tenant)]) {
            let mut add = eval(scripts::INDEX, &[index]);
            add.arg(id.as_str()).arg(record.deadline.as_millis_rounded_up()).arg(record.created.as_micros() / 1000);
            pipeline.add_command(add);
        }
        if let Some(until) = unknown {
            pipeline.add_command(self.know(
                &principal.tenant,
                &until.as_millis_rounded_up().to_string(),
                record.created,
            ));
        }
        lanes.careful.ask(&pipeline).await?;
        if let Some(until) = unknown {
            self.known.wrote(&principal.tenant, until, record.created, lanes.epoch);
        }
        Ok(())
    }

    /// Stores record and touch key in one step, and reads tenant and user again after it.
    async fn store(
        &self,
        lane: &Lane,
        id: &SessionId,
        record: &SessionRecord,
    ) -> Result<(TenantStanding, UserStanding), Fault> {
        let bytes = codec::encode(record).map_err(Fault::garbled)?;
        let touch = first_touch_deadline(record);
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        pipeline.cmd("SET").arg(self.keys().record(id)).arg(bytes).arg("PXAT").arg(kept_until(record));
        pipeline.cmd("SET").arg(self.keys().touch(id)).arg("1").arg("PXAT").arg(touch.as_millis_rounded_up());
        pipeline.cmd("EXEC");
        self.add_current(&mut pipeline, &record.principal);
        let [_, _, _, done, tenant, user] = exactly(lane.ask(&pipeline).await?)?;
        match done {
            Value::Array(both) if both.as_slice() == [Value::Okay, Value::Okay] => {}
            other => return Err(unexpected("a stored session", &other)),
        }
        Ok((tenant_standing(tenant)?, user_standing(user)?))
    }

    fn add_unindex(&self, pipeline: &mut Pipeline, id: &SessionId, principal: &Principal) {
        pipeline.cmd("ZREM").arg(self.keys().user_index(&principal.tenant, &principal.user)).arg(id.as_str());
        pipeline.cmd("ZREM").arg(self.keys().tenant_index(&principal.tenant)).arg(id.as_str());
    }

    fn end_script(&self, id: &SessionId, record: &SessionRecord, reason: EndReason) -> Cmd {
        let mut end = eval(scripts::END, &[self.keys().touch(id), self.keys().ended(id)]);
        end.arg(reason.as_str()).arg(kept_until(record)).arg(record.deadline.as_micros());
        end
    }

    /// This instance changed a session: it does not wait for the news of it.
    fn forget(&self, id: SessionId) {
        if let Some(cache) = &self.cache {
            cache.forget(id);
        }
    }

    fn forget_displaced(&self, creation: &StoreResult<Creation>) {
        if let Ok(Creation::Stored { displaced, .. }) = creation {
            displaced.iter().for_each(|(id, _)| self.forget(*id));
        }
    }

    /// This instance changed the standing of a user or tenant.
    fn outdate(&self, standing: &str) {
        if let Some(cache) = &self.cache {
            cache.outdate(standing.as_bytes());
        }
    }

    /// Has the journal keep that a session ends.
    async fn keep_end(&self, id: SessionId, record: &SessionRecord, reason: EndReason, by: &By) -> Kept<'_> {
        let Principal { tenant, user, .. } = &*record.principal;
        let entry = Entry::Session {
            id: id.to_string(),
            reason: reason.as_str().to_owned(),
            deadline: record.deadline.as_micros(),
            applied: false,
            owner: Some((tenant.to_string(), user.to_string())),
        };
        Kept::write(self.link.journal(), entry, reason, by).await
    }

    async fn touch_on(&self, lanes: &Lanes, touches: &[Touch]) -> Result<Vec<bool>, Fault> {
        let mut moved = Vec::with_capacity(touches.len());
        for step in touches.chunks(TOUCHES) {
            let mut pipeline = redis::pipe();
            for touch in step {
                let deadline = touch.deadline.as_millis_rounded_up();
                pipeline.cmd("PEXPIREAT").arg(self.keys().touch(&touch.id)).arg(deadline).arg("GT");
            }
            for answer in lanes.quick.ask(&pipeline).await? {
                moved.push(number(&answer)? == 1);
            }
        }
        // Not moved: the session is over, or has a later deadline already.
        let unmoved: Vec<usize> = (0..moved.len()).filter(|at| !moved[*at]).collect();
        for step in unmoved.chunks(TOUCHES) {
            let mut pipeline = redis::pipe();
            for at in step {
                pipeline.cmd("EXISTS").arg(self.keys().touch(&touches[*at].id));
            }
            for (at, answer) in step.iter().zip(lanes.quick.ask(&pipeline).await?) {
                moved[*at] = number(&answer)? == 1;
            }
        }
        Ok(moved)
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn now(&self) -> StoreResult<StoreTime> {
        let work = |lanes: Arc<Lanes>| async move {
            let mut pipeline = redis::pipe();
            pipeline.cmd("TIME");
            let [now] = exactly(lanes.quick.ask(&pipeline).await?)?;
            time(now)
        };
        self.link.call("now", CALL_TIMEOUT, work).await
    }

    async fn begin(&self) -> StoreResult<StoreTime> {
        let work = |lanes: Arc<Lanes>| async move { order::begin(&lanes.careful, self.keys()).await };
        self.link.call("begin", CALL_TIMEOUT, work).await
    }

    async fn create(&self, new: NewSession) -> StoreResult<Creation> {
        let work = |lanes: Arc<Lanes>| async move { self.create_on(&lanes, new, None).await };
        let creation = self.link.call("create", CALL_TIMEOUT, work).await;
        self.forget_displaced(&creation);
        creation
    }

    async fn rotate(
        &self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
    ) -> StoreResult<Creation> {
        let work = |lanes: Arc<Lanes>| async move { self.rotate_on(&lanes, old, old_record, new, grace).await };
        let creation = self.link.call("rotate", CALL_TIMEOUT, work).await;
        self.forget(old);
        self.forget_displaced(&creation);
        creation
    }

    fn known(&self, id: SessionId, within: Duration) -> Option<Known> {
        let known = self.cache.as_ref()?.known(id, within)?;
        self.link.observer().looked_up(true);
        Some(known)
    }

    async fn read(&self, id: SessionId) -> StoreResult<Standing> {
        self.link.observer().looked_up(false);
        let work = |lanes: Arc<Lanes>| async move {
            let reading = self.cache.as_ref().and_then(|cache| cache.begin(id, lanes.epoch));
            self.read_from(&lanes, id, reading).await
        };
        self.link.call("read", CALL_TIMEOUT, work).await
    }

    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>> {
        if touches.is_empty() {
            return Ok(Vec::new());
        }
        let work = |lanes: Arc<Lanes>| async move { self.touch_on(&lanes, touches).await };
        let Some(cache) = &self.cache else { return self.link.call("touch", CALL_TIMEOUT, work).await };
        let entries: Vec<_> = touches.iter().map(|touch| cache.touching(touch.id)).collect();
        let moved = self.link.call("touch", CALL_TIMEOUT, work).await?;
        for ((touch, entry), moved) in touches.iter().zip(entries).zip(&moved) {
            if *moved {
                entry.moved_to(touch.deadline);
            } else {
                cache.forget(touch.id);
            }
        }
        Ok(moved)
    }

    async fn tighten(&self, id: SessionId, record: &SessionRecord, touch_deadline: StoreTime) -> StoreResult<bool> {
        let bytes = codec::encode(record).map_err(Unavailable::because)?;
        let keys = [self.keys().record(&id), self.keys().touch(&id), self.keys().ended(&id)];
        let mut tighten = eval(scripts::TIGHTEN, &keys);
        tighten.arg(bytes).arg(kept_until(record)).arg(touch_deadline.as_millis_rounded_up());
        let work = |lanes: Arc<Lanes>| async move { one_number(&lanes.careful, tighten).await };
        let tightened = self.link.call("tighten", CALL_TIMEOUT, work).await;
        self.forget(id);
        tightened.map(|tightened| tightened == 1)
    }

    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason, by: &By) -> StoreResult<bool> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(self.end_script(&id, record, reason));
        self.add_unindex(&mut pipeline, &id, &record.principal);
        let work = |lanes: Arc<Lanes>| async move {
            // The entries of the indexes are in other slots; that they could not be removed ends no less.
            let [ended, _, _] = exactly(lanes.careful.ask_each(&mut pipeline).await?)?;
            number(&ended)
        };
        let kept = self.keep_end(id, record, reason, by).await;
        let ended = self.link.call("end", CALL_TIMEOUT, work).await;
        // Whatever was answered: it may have been done.
        self.forget(id);
        let ended = match ended {
            Ok(ended) => ended,
            Err(unavailable) => return Err(kept.fail(unavailable)),
        };
        kept.complete(None);
        Ok(ended == 1)
    }

    async fn end_unreadable(&self, id: SessionId, reason: EndReason, by: &By) -> StoreResult<bool> {
        let keys = [self.keys().touch(&id), self.keys().ended(&id), self.keys().record(&id)];
        let mut end = eval(scripts::END_UNREADABLE, &keys);
        end.arg(reason.as_str()).arg(REASON_KEPT.as_millis());
        let journal = self.link.journal();
        let entry = |now: StoreTime| Entry::Session {
            id: id.to_string(),
            reason: reason.as_str().to_owned(),
            // As if it were made just now: until then it could live.
            deadline: now.after(journal.map_or(REASON_KEPT, |journal| journal.kept())).as_micros(),
            applied: false,
            owner: None,
        };
        let kept = Kept::write_many(journal, entry, reason, by).await;
        let work = |lanes: Arc<Lanes>| async move { one_number(&lanes.careful, end).await };
        let ended = self.link.call("end", CALL_TIMEOUT, work).await;
        self.forget(id);
        match ended {
            Ok(ended) => {
                kept.complete(None);
                Ok(ended == 1)
            }
            Err(unavailable) => Err(kept.fail(unavailable)),
        }
    }

    async fn note_end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool> {
        let mut note = eval(scripts::NOTE_END, &[self.keys().record(&id), self.keys().ended(&id)]);
        note.arg(reason.as_str()).arg(kept_until(record));
        let work = |lanes: Arc<Lanes>| async move { one_number(&lanes.careful, note).await };
        let noted = self.link.call("note_end", CALL_TIMEOUT, work).await;
        self.forget(id);
        noted.map(|first| first == 1)
    }

    async fn revoke(&self, revocation: &Revocation) -> StoreResult<Revoked> {
        self.revoke_all(revocation).await
    }

    async fn change_tenant(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked> {
        self.change_status(tenant, change).await
    }

    async fn tenant_status(&self, tenant: &TenantId) -> StoreResult<TenantStatus> {
        let work = |lanes: Arc<Lanes>| async move {
            let mut pipeline = redis::pipe();
            pipeline.cmd("GET").arg(self.keys().tenant(tenant));
            pipeline.cmd("GET").arg(self.keys().birth());
            let [standing, birth] = exactly(lanes.quick.ask(&pipeline).await?)?;
            lanes.is_same_data(birth)?;
            Ok(tenant_standing(standing)?.status)
        };
        self.link.call("tenant_status", CALL_TIMEOUT, work).await
    }

    async fn tenant(&self, tenant: &TenantId) -> StoreResult<TenantView> {
        let work = |lanes: Arc<Lanes>| async move { self.tenant_on(&lanes, tenant).await };
        self.link.call("tenant", LISTING_TIMEOUT, work).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> StoreResult<Page<TenantView, TenantId>> {
        let work = |lanes: Arc<Lanes>| async move { self.tenants_on(&lanes, after, limit).await };
        self.link.call("tenants", LISTING_TIMEOUT, work).await
    }

    async fn sessions(
        &self,
        of: &SessionsOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> StoreResult<Page<SessionView, Cursor>> {
        let work = |lanes: Arc<Lanes>| async move { self.sessions_on(&lanes, of, after, limit).await };
        self.link.call("sessions", LISTING_TIMEOUT, work).await
    }

    async fn check(&self) -> StoreResult<Condition> {
        let work = |lanes: Arc<Lanes>| async move {
            match self.link.probe(&lanes).await {
                Ok(()) => {
                    let missing = fitness::missing_rights(&lanes.careful, self.link.keys().probe()).await?;
                    match (missing.for_sessions.is_empty(), missing.for_audit.is_empty()) {
                        (true, true) => Ok(Condition::Good),
                        (true, false) => Ok(Condition::GoodBut(Missing::text(&missing.for_audit))),
                        (false, _) => {
                            let all = [missing.for_sessions, missing.for_audit].concat();
                            Err(Fault::Refused { code: String::from("NOPERM"), text: Missing::text(&all) })
                        }
                    }
                }
                // Touches and ends are still taken. Were this unavailable, a full server would take every gateway out
                // of service at once, and with them everybody who is logged in.
                Err(fault) if fault.is_out_of_memory() => Ok(Condition::TakesNoSessions(fault.to_string())),
                Err(fault) => Err(fault),
            }
        };
        self.link.call("check", CALL_TIMEOUT, work).await
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watchdog.abort();
        if let Some(tracker) = &self.tracker {
            tracker.abort();
        }
    }
}

/// A script with its keys; arguments follow.
fn eval(script: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

async fn one_number(lane: &Lane, command: Cmd) -> Result<i64, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(command);
    let [answer] = exactly(lane.ask(&pipeline).await?)?;
    number(&answer)
}

/// The touch deadline of a session that was just made: not capped by the absolute deadline, which is compared by
/// itself.
fn first_touch_deadline(record: &SessionRecord) -> StoreTime {
    record.idle.map_or(record.deadline, |idle: IdleLimit| idle.deadline_of_use_at(record.created))
}

/// Until when record and reason are kept, in milliseconds.
fn kept_until(record: &SessionRecord) -> u64 {
    record.deadline.after(REASON_KEPT).as_millis_rounded_up()
}
