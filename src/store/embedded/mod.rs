//! Sessions in one file: a single machine, no server.
//!
//! Same trait and same contract as Redis. Reads come straight from a snapshot; whatever changes goes through one
//! thread, which commits durably before anybody is answered. So what was answered survives `kill -9`.

mod audit;
mod commit;
mod file;
mod tables;
#[cfg(test)]
mod tests;
mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _};
use tokio::time::timeout;

pub use self::file::{OpenError, OpenErrorKind};

use self::commit::{Committer, Job, Opener};
use self::tables::{Fault, Tables};
use self::time::StoreClock;
use super::observe::{Outcome, SharedObserver};
use super::{Condition, Creation, NewSession, SessionStore, StoreResult, Touch, Unavailable};
use crate::clock::SharedClock;
use crate::session::{EndReason, SessionId, SessionRecord, Standing, StoreTime, TenantId, UserId};

/// Jobs that may wait for the commit thread. More are refused at once: the disk is too slow for what is asked of it.
const WAITING_JOBS: usize = 4096;
/// How long a caller waits for its commit.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(900);

/// What callers and the commit thread share.
struct Shared {
    /// `None` while the storage has failed.
    database: ArcSwapOption<Database>,
    clock: StoreClock,
    observer: SharedObserver,
}

/// The store in one file.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    committer: Option<JoinHandle<()>>,
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
        let shared = Arc::new(Shared { database: ArcSwapOption::from_pointee(database), clock, observer });
        let (jobs, waiting) = sync_channel(WAITING_JOBS);
        let committer = Committer { shared: Arc::clone(&shared), jobs: waiting, opener, last_sweep };
        let committer = std::thread::Builder::new()
            .name(String::from("store-commit"))
            .spawn(move || committer.run())
            .map_err(|error| OpenErrorKind::Thread(error).at(path))?;
        Ok(Arc::new(Self { shared, jobs: Some(jobs), committer: Some(committer) }))
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
    ) -> (Outcome, StoreResult<T>) {
        let refused = |outcome, cause: &str| (outcome, Err(Unavailable::because(cause)));
        if self.shared.database.load().is_none() {
            return refused(Outcome::Down, "the storage has failed");
        }
        let (job, answer) = Job::new(work);
        if self.jobs.as_ref().is_none_or(|jobs| jobs.try_send(job).is_err()) {
            return refused(Outcome::Down, "too much is waiting for the disk");
        }
        match timeout(COMMIT_TIMEOUT, answer).await {
            Ok(Ok(Ok(value))) => (Outcome::Ok, Ok(value)),
            Ok(Ok(Err(unavailable))) => (Outcome::Refused, Err(unavailable)),
            Ok(Err(_)) => refused(Outcome::Lost, "the commit failed"),
            Err(_) => refused(Outcome::Timeout, "the disk did not answer in time"),
        }
    }

    /// Has it notice that the storage failed, and open the file anew.
    fn wake_committer(&self) {
        if let Some(jobs) = &self.jobs {
            // A full queue wakes it just as well.
            let _ = jobs.try_send(Job::new(|_, _| Ok(())).0);
        }
    }

    fn read_now(&self, id: SessionId) -> (Outcome, StoreResult<Standing>) {
        let Some(database) = self.shared.database.load_full() else {
            return (Outcome::Down, Err(Unavailable::because("the storage has failed")));
        };
        // See the commit thread: damage must give an error.
        let read = catch_unwind(AssertUnwindSafe(|| {
            tables::read(&database.begin_read().map_err(redb::Error::from)?, id, self.shared.clock.now())
        }));
        match read {
            Ok(Ok(standing)) => (Outcome::Ok, Ok(standing)),
            Ok(Err(fault @ Fault::Garbled(_))) => (Outcome::Garbled, Err(fault.into())),
            Ok(Err(fault)) => {
                self.wake_committer();
                (Outcome::Lost, Err(fault.into()))
            }
            Err(_) => (Outcome::Garbled, Err(Unavailable::because("the file is damaged"))),
        }
    }
}

#[async_trait]
impl SessionStore for EmbeddedStore {
    async fn now(&self) -> StoreResult<StoreTime> {
        self.shared.observer.command("now", Outcome::Ok);
        Ok(self.shared.clock.now())
    }

    async fn create(&self, new: NewSession) -> StoreResult<Creation> {
        self.write("create", move |tables, now| tables.create(new, now)).await
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

    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool> {
        let record = record.clone();
        self.write("end", move |tables, now| tables.end(id, &record, reason, now)).await
    }

    async fn note_end(&self, id: SessionId, _: &SessionRecord, reason: EndReason) -> StoreResult<bool> {
        self.write("note_end", move |tables, _| tables.note_end(id, reason)).await
    }

    async fn end_user(&self, tenant: &TenantId, user: &UserId, reason: EndReason) -> StoreResult<u64> {
        let (tenant, user) = (tenant.clone(), user.clone());
        self.write("end_user", move |tables, now| tables.end_user(&tenant, &user, reason, now)).await
    }

    async fn check(&self) -> StoreResult<Condition> {
        self.write("check", |_, _| Ok(Condition::Good)).await
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
