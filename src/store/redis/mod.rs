//! Sessions in Redis: several gateways share one server and agree.
//!
//! Which key means what is in `docs/redis.md`. The rules that make it safe:
//!
//! - One key holds a session. Its time to live is the touch deadline and an hour, which nothing but a use before that
//!   deadline moves. So no touch, late or lost, revives a session.
//! - The end is a key of its own, written before the session's goes: it decides, and whoever wrote it counts it.
//! - What a login, a use and a logout do are commands and scripts of one key each.
//! - Time is the server's. Deadlines are absolute, so that latency neither lengthens nor shortens a session.
//! - An answer in a shape that was never written is an outage, never an absent session.

mod answers;
mod audit;
mod connection;
mod create;
mod end;
mod entry;
mod fault;
mod fitness;
mod index;
mod kept;
mod keys;
mod known;
mod lane;
mod late;
mod listing;
mod order;
mod read;
mod replay;
mod revoke;
mod scripts;
mod settings;
mod tracker;
mod unfinished;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use self::settings::{RedisSettings, SharedWarn};

use self::answers::{exactly, tenant_standing, time, touch_deadline};
use self::connection::{CALL_TIMEOUT, Link};
use self::create::From;
use self::fault::{Fault, number};
use self::fitness::Missing;
use self::index::Index;
use self::kept::Kept;
use self::keys::Keys;
use self::known::KnownTenants;
use self::lane::{Lane, Lanes};
use self::tracker::Tracker;
use self::unfinished::Unfinished;
use super::cache::Cache;
use super::journal::Entry;
use super::observe::SharedObserver;
use super::{
    Condition, Creation, Cursor, Known, NewSession, Page, REASON_KEPT, Revoked, SessionStore, SessionView, SessionsOf,
    StoreResult, TenantView, Touch, Unavailable, codec,
};
use crate::session::{
    By, End, EndReason, IdleLimit, Principal, Revocation, SessionId, SessionRecord, Standing, StoreTime, TenantChange,
    TenantId, TenantStatus,
};

/// For a page of a listing, which may take many steps.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);
/// Walks after revocations that run at once; more wait their turn.
const WALKS: usize = 8;
/// Touches sent in one step.
const TOUCHES: usize = 500;
/// By how much a record outlives its touch deadline.
const KEPT_MILLIS: u64 = 3_600_000;
const _: () = assert!(KEPT_MILLIS as u128 == REASON_KEPT.as_millis());

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

    /// A tenant's index, as these connections reach it.
    fn index<'a>(&'a self, lanes: &Lanes, tenant: &'a TenantId) -> Index<'a> {
        Index { keys: self.keys(), splits: self.link.splits(), tenant, epoch: lanes.epoch }
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

    /// Has the journal keep that a session ends, or its token alone.
    async fn keep_end(&self, id: SessionId, record: &SessionRecord, end: End, by: &By) -> Kept<'_> {
        let Principal { tenant, user, .. } = &*record.principal;
        let reason = end.reason;
        let entry = Entry::Session {
            // All tokens of a session end under the first of them.
            id: if end.is_of_the_line() { record.decided_by(id) } else { id }.to_string(),
            reason: end.encode(),
            deadline: record.deadline.as_micros(),
            applied: false,
            owner: Some((tenant.to_string(), user.to_string())),
        };
        Kept::write(self.link.journal(), entry, reason, by).await
    }

    async fn touch_on(&self, lanes: &Lanes, touches: &[Touch]) -> Result<Vec<bool>, Fault> {
        let mut moved = Vec::with_capacity(touches.len());
        for step in touches.chunks(TOUCHES) {
            // What timed out stays as it is, although its record is still there to say so.
            let known = self.touch_deadlines(&lanes.quick, step.iter()).await?;
            let due =
                step.iter().zip(&known).filter(|(touch, known)| known.is_some_and(|known| known < touch.deadline));
            let due: Vec<&Touch> = due.map(|(touch, _)| touch).collect();
            let mut unmoved = Vec::new();
            if !due.is_empty() {
                let mut pipeline = redis::pipe();
                for touch in &due {
                    let move_to = pipeline.cmd("PEXPIREAT").arg(self.keys().record(&touch.id));
                    move_to.arg(expires(touch.deadline)).arg("GT");
                }
                for (touch, answer) in due.iter().zip(lanes.quick.ask(&pipeline).await?) {
                    if number(&answer)? != 1 {
                        unmoved.push(*touch);
                    }
                }
            }
            // Not moved: the session is over, or somebody else moved it on.
            let mut again = Vec::new();
            if !unmoved.is_empty() {
                let now = self.touch_deadlines(&lanes.quick, unmoved.iter().copied()).await?;
                again.extend(unmoved.iter().zip(now).filter(|(_, now)| now.is_none()).map(|(touch, _)| touch.id));
            }
            moved.extend(step.iter().zip(known).map(|(touch, known)| known.is_some() && !again.contains(&touch.id)));
        }
        Ok(moved)
    }

    /// The touch deadlines of some sessions; `None` where that has passed, or there is no session.
    async fn touch_deadlines(
        &self,
        lane: &Lane,
        touches: impl Iterator<Item = &Touch>,
    ) -> Result<Vec<Option<StoreTime>>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for touch in touches {
            pipeline.cmd("PEXPIRETIME").arg(self.keys().record(&touch.id));
        }
        let mut answers = lane.ask(&pipeline).await?.into_iter();
        let now = time(answers.next().unwrap_or(redis::Value::Nil))?;
        answers.map(|answer| Ok(touch_deadline(&answer)?.filter(|deadline| now < *deadline))).collect()
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
        let id = new.id;
        let work = |lanes: Arc<Lanes>| async move {
            let from = From { id: old, record: old_record, grace };
            self.create_on(&lanes, new, Some(from)).await
        };
        let creation = self.link.call("rotate", CALL_TIMEOUT, work).await;
        self.forget(old);
        self.forget_displaced(&creation);
        if let Ok(Creation::Stored { record, .. }) = &creation
            && let Some(line) = &record.line
        {
            let end = End::replaced(id, line.until);
            self.keep_end(old, old_record, end, &By::User).await.complete(None);
        }
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
        let keys = [self.keys().record(&id), self.keys().ended(&id), self.keys().changed_record(&id)];
        let mut tighten = eval(scripts::TIGHTEN, &keys);
        tighten.arg(bytes).arg(expires(touch_deadline)).arg(KEPT_MILLIS);
        let work = |lanes: Arc<Lanes>| async move { one_number(&lanes.careful, tighten).await };
        let tightened = self.link.call("tighten", CALL_TIMEOUT, work).await;
        self.forget(id);
        tightened.map(|tightened| tightened == 1)
    }

    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason, by: &By) -> StoreResult<bool> {
        let work = |lanes: Arc<Lanes>| async move { self.end_on(&lanes, id, reason).await };
        let kept = self.keep_end(id, record, End::now(reason), by).await;
        let ended = self.link.call("end", CALL_TIMEOUT, work).await;
        // Whatever was answered: it may have been done.
        self.forget(id);
        self.forget(record.decided_by(id));
        let ended = match ended {
            Ok(ended) => ended,
            Err(unavailable) => return Err(kept.fail(unavailable)),
        };
        kept.complete(None);
        Ok(ended)
    }

    fn abandon(&self, id: SessionId, principal: &Principal) {
        Unfinished::abandon(&self.link, id, principal);
    }

    async fn end_unreadable(&self, id: SessionId, reason: EndReason, by: &By) -> StoreResult<bool> {
        let keys = [self.keys().ended(&id), self.keys().record(&id)];
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
        let work = |lanes: Arc<Lanes>| async move { self.note_on(&lanes, id, record, reason).await };
        let noted = self.link.call("note_end", CALL_TIMEOUT, work).await;
        self.forget(id);
        noted
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

/// Until when the reason of an end on purpose is kept, in milliseconds.
fn kept_until(record: &SessionRecord) -> u64 {
    expires(record.deadline)
}

/// The same by the absolute deadline (ms).
const fn kept_after(deadline: u64) -> u64 {
    deadline.saturating_add(KEPT_MILLIS)
}

/// When the record of this touch deadline expires, in milliseconds.
fn expires(touch_deadline: StoreTime) -> u64 {
    touch_deadline.after(REASON_KEPT).as_millis_rounded_up()
}
