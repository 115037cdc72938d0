//! Sessions in one file: a single machine, no server.
//!
//! Same trait and same contract as Redis. Reads come straight from a snapshot; whatever changes goes through one
//! thread, which commits durably before anybody is answered. So what was answered survives `kill -9`.

mod acts;
mod alerts;
mod audit;
mod calls;
mod claims;
mod commit;
mod contacts;
mod end_notes;
mod expiring;
mod file;
mod findings;
mod guard;
mod leases;
mod listing;
mod lists;
mod look;
mod maintenance;
mod membership;
mod places;
mod reports;
mod schema;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod there;
mod time;
mod told_calls;
mod turns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use redb::{ReadTransaction, ReadableDatabase as _};
use tokio::time::timeout;

pub(super) use self::file::open_as;
pub use self::file::{OpenError, OpenErrorKind};

use self::claims::Claims;
use self::commit::{Committer, Job, Opener};
use self::leases::Leases;
use self::lists::{IndexOf, Place};
use self::look::Look as _;
use self::schema::Fault;
use self::shared::Shared;
use self::tables::{Tables, Walk};
use self::time::StoreClock;
use self::told_calls::ToldInMemory;
use self::turns::Turns;
use super::Claim;
use super::observe::{CallOutcome, SharedObserver};
use super::walk::{STEP, Tally, counted};
use super::{
    Condition, Creation, Cursor, NewSession, Page, Revoked, Said, SessionStore, SessionView, SessionsOf, StoreResult,
    TenantView, Touch, Unavailable,
};
use crate::clock::SharedClock;
use crate::session::{
    By, EndReason, HoldWord, Principal, Revocation, Scope, SessionId, SessionRecord, Standing, StoreTime, TenantChange,
    TenantId, TenantStanding, TenantStatus, TokenDenial, TokenStanding,
};

/// Jobs that may wait for the commit thread. More are refused at once: the disk is too slow for what is asked of it.
const WAITING_JOBS: usize = 4096;
/// How long a caller waits for its commit.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(900);
/// How often, and after which pauses, it is tried to take back a session that nobody has.
const TAKE_BACK_TRIES: usize = 600;
const TAKE_BACK_AGAIN: Duration = Duration::from_secs(1);

/// The store in one file.
pub struct EmbeddedStore {
    /// For walks, which go on after their caller was answered but not after the store is closed.
    me: Weak<Self>,
    shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    committer: Option<JoinHandle<()>>,
    turns: Turns,
    calls: ToldInMemory,
    claims: Claims,
    leases: Leases,
}

impl EmbeddedStore {
    /// Opens the file, or makes it (mode 0600) with its folders. Blocks while a file that was not closed is checked.
    ///
    /// # Errors
    /// When the file is in use, damaged, or something else. It is then left as it is.
    pub fn open(path: &Path, clock: SharedClock, observer: SharedObserver) -> Result<Arc<Self>, OpenError> {
        let again = path.to_owned();
        Self::open_with(path, Box::new(move || file::open(&again)), clock, observer)
    }

    /// Says which app its sessions are of.
    ///
    /// # Errors
    /// When another app has sessions in it that still live.
    pub fn claim(&self, path: &Path, claim: &Claim) -> Result<(), OpenError> {
        let storage = |why: String| OpenErrorKind::Storage(why).at(path);
        let database = self.shared.database.load_full().ok_or_else(|| storage(String::from("it is closed")))?;
        match tables::claim(&database, claim, self.shared.clock.now()) {
            Ok(None) => Ok(()),
            Ok(Some(other)) => Err(OpenErrorKind::OtherApp(Claim::refused("the file", &other)).at(path)),
            Err(error) => Err(storage(error.to_string())),
        }
    }

    fn open_with(
        path: &Path,
        opener: Opener,
        clock: SharedClock,
        observer: SharedObserver,
    ) -> Result<Arc<Self>, OpenError> {
        let (database, last) = opener()?;
        let clock = StoreClock::starting_after(last, clock);
        let last_sweep = clock.now();
        observer.state(true);
        let (database, latest) = (ArcSwapOption::from_pointee(database), ArcSwapOption::empty());
        let shared = Arc::new(Shared { database, latest, clock, observer, remembers_ends: AtomicBool::new(false) });
        shared.refresh().map_err(|error| OpenErrorKind::Storage(error.to_string()).at(path))?;
        let (jobs, waiting) = sync_channel(WAITING_JOBS);
        let committer = Committer { shared: Arc::clone(&shared), jobs: waiting, opener, last_sweep };
        let committer = std::thread::Builder::new()
            .name(String::from("store-commit"))
            .spawn(move || committer.run())
            .map_err(|error| OpenErrorKind::Thread(error).at(path))?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            shared,
            jobs: Some(jobs),
            committer: Some(committer),
            turns: Turns::default(),
            calls: ToldInMemory::default(),
            claims: Claims::default(),
            leases: Leases::default(),
        }))
    }

    /// Runs `work` in the next transaction and answers once that is committed.
    async fn write<T: Send + 'static>(
        &self,
        command: &'static str,
        work: impl FnOnce(&mut Tables<'_>, StoreTime) -> Result<T, Fault> + Send + 'static,
    ) -> StoreResult<T> {
        let (outcome, result) = self.committed(work).await;
        self.shared.observer.command(command, outcome);
        result
    }

    async fn committed<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>, StoreTime) -> Result<T, Fault> + Send + 'static,
    ) -> (CallOutcome, StoreResult<T>) {
        let refused = |outcome, cause: &str| (outcome, Err(Unavailable::because(cause)));
        if self.shared.database.load().is_none() {
            return refused(CallOutcome::Down, "the storage has failed");
        }
        let (job, answer) = Job::new(work);
        if self.jobs.as_ref().is_none_or(|jobs| jobs.try_send(job).is_err()) {
            return refused(CallOutcome::Down, "too much is waiting for the disk");
        }
        match timeout(COMMIT_TIMEOUT, answer).await {
            Ok(Ok(Ok(value))) => (CallOutcome::Ok, Ok(value)),
            Ok(Ok(Err(unavailable))) => (CallOutcome::Refused, Err(unavailable)),
            Ok(Err(_)) => refused(CallOutcome::Lost, "the commit failed"),
            Err(_) => refused(CallOutcome::Timeout, "the disk did not answer in time"),
        }
    }

    /// Has it notice that the storage failed, and open the file anew.
    fn wake_committer(&self) {
        if let Some(jobs) = &self.jobs {
            // A full queue wakes it just as well.
            let _ = jobs.try_send(Job::new(|_, _| Ok(())).0);
        }
    }

    fn read_now(&self, id: SessionId) -> (CallOutcome, StoreResult<Standing>) {
        match &*self.shared.latest.load() {
            Some(latest) => self.seen(|now| latest.session(id, now)),
            None => Self::failed(),
        }
    }

    /// Looks at all tables as the last commit left them.
    fn look<T>(
        &self,
        at: impl FnOnce(&ReadTransaction, StoreTime) -> Result<T, Fault>,
    ) -> (CallOutcome, StoreResult<T>) {
        match self.shared.database.load_full() {
            Some(database) => self.seen(|now| at(&database.begin_read().map_err(redb::Error::from)?, now)),
            None => Self::failed(),
        }
    }

    fn failed<T>() -> (CallOutcome, StoreResult<T>) {
        (CallOutcome::Down, Err(Unavailable::because("the storage has failed")))
    }

    fn seen<T>(&self, look: impl FnOnce(StoreTime) -> Result<T, Fault>) -> (CallOutcome, StoreResult<T>) {
        // See the commit thread: damage must give an error.
        match catch_unwind(AssertUnwindSafe(|| look(self.shared.clock.now()))) {
            Ok(Ok(seen)) => (CallOutcome::Ok, Ok(seen)),
            Ok(Err(fault @ (Fault::Garbled(_) | Fault::Unreadable(_)))) => (CallOutcome::Garbled, Err(fault.into())),
            Ok(Err(fault)) => {
                self.wake_committer();
                (CallOutcome::Lost, Err(fault.into()))
            }
            Err(_) => (CallOutcome::Garbled, Err(Unavailable::because("the file is damaged"))),
        }
    }

    /// Looks at a snapshot for longer than an asynchronous task may.
    async fn look_long<T: Send + 'static>(
        &self,
        command: &'static str,
        at: impl FnOnce(&ReadTransaction, StoreTime) -> Result<T, Fault> + Send + 'static,
    ) -> StoreResult<T> {
        let store = self.me.upgrade().ok_or_else(|| Unavailable::because("the store is closed"))?;
        let looked = tokio::task::spawn_blocking(move || store.look(at)).await;
        let (outcome, seen) = looked.unwrap_or_else(|error| (CallOutcome::Lost, Err(Unavailable::because(error))));
        self.shared.observer.command(command, outcome);
        seen
    }

    /// Counts and tidies up what a revocation ended, from where its own transaction stopped.
    async fn walk(&self, walk: Walk, ended: u64, next: Option<Place>) -> Revoked {
        let tally = Tally::default();
        tally.add(ended);
        let (me, counts) = (self.me.clone(), tally.clone());
        let rest = async move {
            let mut next = next;
            while let Some(after) = next.take() {
                let store = me.upgrade().ok_or_else(|| Unavailable::because("the store is closed"))?;
                let walk = walk.clone();
                let step = move |tables: &mut Tables<'_>, now| tables.end_outdated(&walk, &after, STEP, now);
                let (ended, more) = store.write("revoke_walk", step).await?;
                counts.add(ended);
                next = more;
            }
            Ok(())
        };
        counted(rest, tally, true).await
    }
}

#[async_trait]
impl SessionStore for EmbeddedStore {
    async fn now(&self) -> StoreResult<StoreTime> {
        self.shared.observer.command("now", CallOutcome::Ok);
        Ok(self.shared.clock.now())
    }

    async fn begin(&self) -> StoreResult<StoreTime> {
        self.shared.observer.command("begin", CallOutcome::Ok);
        Ok(self.shared.clock.begin())
    }

    async fn create(&self, new: NewSession) -> StoreResult<Creation> {
        let making = Making { store: self, id: Some(new.id) };
        let creation = self.write("create", move |tables, now| tables.create(new, None, now)).await;
        making.known_by(creation)
    }

    async fn rotate(
        &self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
    ) -> StoreResult<Creation> {
        let (old_record, making) = (old_record.clone(), Making { store: self, id: Some(new.id) });
        let rotate = move |tables: &mut Tables<'_>, now| tables.rotate(old, &old_record, new, grace, now);
        let creation = self.write("rotate", rotate).await;
        making.known_by(creation)
    }

    async fn read(&self, id: SessionId) -> StoreResult<Standing> {
        let (outcome, standing) = self.read_now(id);
        self.shared.observer.command("read", outcome);
        standing
    }

    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>> {
        if touches.is_empty() {
            return Ok(Vec::new());
        }
        let touches = touches.to_vec();
        self.write("touch", move |tables, now| tables.touch(&touches, now)).await
    }

    async fn tighten(&self, id: SessionId, record: &SessionRecord, touch_deadline: StoreTime) -> StoreResult<bool> {
        let record = record.clone();
        self.write("tighten", move |tables, now| tables.tighten(id, &record, touch_deadline, now)).await
    }

    fn abandon(&self, id: SessionId, _: &Principal) {
        drop(Making { store: self, id: Some(id) });
    }

    async fn end(&self, id: SessionId, _: &SessionRecord, reason: EndReason, _: &By) -> StoreResult<bool> {
        self.write("end", move |tables, now| tables.end(id, reason, now)).await
    }

    async fn hold(&self, id: SessionId, record: &SessionRecord, word: &HoldWord, _: &By) -> StoreResult<Said> {
        let (first, deadline, word) = (record.decided_by(id), record.deadline, word.clone());
        self.write("hold", move |tables, now| tables.hold(first, word, deadline, now)).await
    }

    async fn end_unreadable(&self, id: SessionId, reason: EndReason, _: &By) -> StoreResult<bool> {
        self.write("end", move |tables, now| tables.end_unreadable(id, reason, now)).await
    }

    async fn note_end(&self, id: SessionId, _: &SessionRecord, reason: EndReason) -> StoreResult<bool> {
        self.write("note_end", move |tables, now| tables.note_end(id, reason, now)).await
    }

    async fn read_outlived(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<EndReason> {
        let (outcome, reason) = match &*self.shared.latest.load() {
            Some(latest) => self.seen(|now| latest.outlived(id, record, now)),
            None => Self::failed(),
        };
        self.shared.observer.command("read_outlived", outcome);
        reason
    }

    async fn read_token(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<TokenStanding> {
        let (outcome, standing) = match &*self.shared.latest.load() {
            Some(latest) => self.seen(|now| latest.token(id, Arc::clone(record), now)),
            None => Self::failed(),
        };
        self.shared.observer.command("read_token", outcome);
        standing
    }

    async fn count_ended(&self) -> StoreResult<Option<u64>> {
        let (outcome, count) = self.look(|transaction, _| look::count_ended(transaction));
        self.shared.observer.command("count_ended", outcome);
        count.map(Some)
    }

    async fn sealed_token(&self, id: SessionId) -> StoreResult<Option<Vec<u8>>> {
        let (outcome, sealed) = self.look(|transaction, _| look::sealed_token(transaction, id));
        self.shared.observer.command("sealed_token", outcome);
        sealed
    }

    async fn replace_sealed_token(&self, id: SessionId, sealed: &[u8]) -> StoreResult<bool> {
        let sealed = sealed.to_vec();
        self.write("replace_sealed_token", move |tables, _| tables.replace_sealed_token(id, &sealed)).await
    }

    async fn take_turn(&self, id: SessionId, holder: &str, lasts: Duration) -> StoreResult<bool> {
        Ok(self.turns.take(id, holder, lasts, self.shared.clock.now()))
    }

    async fn end_turn(&self, id: SessionId, holder: &str) -> StoreResult<()> {
        self.turns.end(id, holder);
        Ok(())
    }

    async fn deny(&self, denial: &TokenDenial, _: &By) -> StoreResult<bool> {
        let TokenDenial { id, until, reason, .. } = *denial;
        self.write("deny", move |tables, now| tables.deny(id, until, reason, now)).await
    }

    async fn revoke(&self, revocation: &Revocation) -> StoreResult<Revoked> {
        let Revocation { scope, reason, .. } = revocation.clone();
        let shared = Arc::clone(&self.shared);
        let revoke = move |tables: &mut Tables<'_>, now| {
            let outdated = tables.raise(&scope, shared.clock.revoke())?;
            let index = match scope {
                Scope::User { tenant, user } | Scope::OtherSessions { tenant, user, .. } => IndexOf::User(tenant, user),
                Scope::Tenant { tenant } => IndexOf::Tenant(tenant),
            };
            let remembers = shared.remembers_ends.load(Ordering::Relaxed);
            let walk = Walk { index, outdated, reason, remembers };
            let (ended, next) = tables.end_outdated(&walk, &Place::default(), STEP, now)?;
            Ok((walk, ended, next))
        };
        let (walk, ended, next) = self.write("revoke", revoke).await?;
        Ok(self.walk(walk, ended, next).await)
    }

    async fn change_tenant(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked> {
        let (tenant, change, shared) = (tenant.clone(), change.clone(), Arc::clone(&self.shared));
        let work = move |tables: &mut Tables<'_>, now| {
            let outdated = tables.change_tenant(&tenant, &change, shared.clock.revoke())?;
            // A restored tenant has no sessions: the status that it had ended them.
            let Some(outdated) = outdated.filter(|_| change.status != TenantStatus::Active) else { return Ok(None) };
            let remembers = shared.remembers_ends.load(Ordering::Relaxed);
            let walk = Walk { index: IndexOf::Tenant(tenant), outdated, reason: change.reason, remembers };
            let (ended, next) = tables.end_outdated(&walk, &Place::default(), STEP, now)?;
            Ok(Some((walk, ended, next)))
        };
        match self.write("change_tenant", work).await? {
            Some((walk, ended, next)) => Ok(self.walk(walk, ended, next).await),
            None => Ok(Revoked { ended: 0, complete: true, journalled: true, replicated: true }),
        }
    }

    async fn tenant_standing(&self, tenant: &TenantId) -> StoreResult<TenantStanding> {
        let (outcome, standing) = match &*self.shared.latest.load() {
            Some(latest) => self.seen(|_| latest.tenant(tenant)),
            None => Self::failed(),
        };
        self.shared.observer.command("tenant_standing", outcome);
        standing
    }

    async fn tenant(&self, tenant: &TenantId) -> StoreResult<TenantView> {
        let tenant = tenant.clone();
        self.look_long("tenant", move |transaction, now| listing::tenant(transaction, tenant, now)).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> StoreResult<Page<TenantView, TenantId>> {
        let after = after.cloned();
        self.look_long("tenants", move |transaction, now| listing::tenants(transaction, after, limit, now)).await
    }

    async fn sessions(
        &self,
        of: &SessionsOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> StoreResult<Page<SessionView, Cursor>> {
        let (of, after) = (of.clone(), after.cloned());
        self.look_long("sessions", move |transaction, now| listing::sessions(transaction, &of, after, limit, now)).await
    }

    async fn check(&self) -> StoreResult<Condition> {
        self.write("check", |_, _| Ok(Condition::Good)).await
    }
}

/// A session that is being made. Dropped before it is known to be, it must not live: nobody was told its token.
struct Making<'a> {
    store: &'a EmbeddedStore,
    id: Option<SessionId>,
}

impl Making<'_> {
    fn known_by(mut self, creation: StoreResult<Creation>) -> StoreResult<Creation> {
        if creation.is_ok() {
            self.id = None;
        }
        creation
    }
}

impl Drop for Making<'_> {
    /// The thread that writes takes one after the other: by then it came to be, or never will.
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let me = self.store.me.clone();
        let later = async move {
            for _ in 0..TAKE_BACK_TRIES {
                let Some(store) = me.upgrade() else { return };
                let taken = store.write("take_back", move |tables, _| tables.take_back(id)).await;
                drop(store);
                match taken {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "a session that nobody has could not be taken back yet"),
                }
                tokio::time::sleep(TAKE_BACK_AGAIN).await;
            }
            tracing::warn!(session_id = id.as_str(), "a session that nobody has is left to time out");
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(later);
        }
    }
}

impl Drop for EmbeddedStore {
    /// Waits for what was taken on, so that the file is free when the store is gone.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
    }
}
