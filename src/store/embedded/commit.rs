//! Group commit: one thread that writes.
//!
//! It takes what is waiting, runs it in one transaction, commits that durably, and only then answers. A failed commit
//! answers none of them. The thread also sweeps, writes down the time, and opens the file anew after the storage
//! failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::Database;
use tokio::sync::oneshot;

use super::super::{StoreResult, Unavailable};
use super::file::OpenError;
use super::schema::Fault;
use super::shared::Shared;
use super::tables::Tables;
use crate::session::StoreTime;

/// Jobs in one transaction.
const MOST_JOBS: usize = 256;
/// Sessions forgotten in one transaction.
const MOST_SWEPT: usize = 200;
/// Between sweeps, and at most between two times that are written down.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Between attempts to open the file anew.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the database again after the storage failed.
pub(super) type Opener = Box<dyn Fn() -> Result<(Database, StoreTime), OpenError> + Send>;

/// Answers a caller once it is known whether its transaction was committed.
type Answer = Box<dyn FnOnce(&StoreResult<()>) + Send>;

/// A call's part of a transaction. An error ends the whole transaction.
type Work = Box<dyn FnOnce(&mut Tables<'_>, StoreTime) -> Result<Answer, redb::Error> + Send>;

/// A call, waiting for its transaction.
pub(super) struct Job(Work);

impl Job {
    /// A job and where its answer will come out.
    pub(super) fn new<T: Send + 'static>(
        work: impl FnOnce(&mut Tables<'_>, StoreTime) -> Result<T, Fault> + Send + 'static,
    ) -> (Self, oneshot::Receiver<StoreResult<T>>) {
        let (sender, receiver) = oneshot::channel();
        let job = Self(Box::new(move |tables, now| {
            let result = match work(tables, now) {
                Err(Fault::Storage(error)) => return Err(error),
                Err(fault @ (Fault::Garbled(_) | Fault::Unreadable(_))) => Err(Unavailable::from(fault)),
                Ok(answer) => Ok(answer),
            };
            let answer: Answer = Box::new(move |committed| {
                // A caller that has gone away needs no answer.
                let _ = sender.send(committed.clone().and(result));
            });
            Ok(answer)
        }));
        (job, receiver)
    }
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Receiver<Job>,
    pub(super) opener: Opener,
    pub(super) last_sweep: StoreTime,
}

impl Committer {
    /// Runs until every sender of jobs is gone.
    pub(super) fn run(mut self) {
        let mut more_to_sweep = false;
        loop {
            let up = self.shared.database.load().is_some();
            let patience = match (up, more_to_sweep) {
                (true, true) => Duration::ZERO,
                (true, false) => HOUSEKEEPING,
                (false, _) => RETRY,
            };
            let mut batch = Vec::new();
            match self.jobs.recv_timeout(patience) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.transact(Vec::new(), false);
                    self.shared.let_go();
                    return;
                }
            }
            if !up && batch.is_empty() {
                self.reopen();
                continue;
            }
            let room = MOST_JOBS - batch.len();
            batch.extend(self.jobs.try_iter().take(room));
            let due = self.shared.clock.now().since(self.last_sweep) >= HOUSEKEEPING;
            let swept = self.transact(batch, due || more_to_sweep);
            more_to_sweep = swept == MOST_SWEPT;
        }
    }

    /// Runs a batch in one transaction and answers it. Answers how many sessions were swept.
    fn transact(&mut self, batch: Vec<Job>, sweep: bool) -> usize {
        // Callers of a batch that never starts see their channel close, which is "unavailable" to them.
        let Some(database) = self.shared.database.load_full() else { return 0 };
        let now = self.shared.clock.now();
        let mut answers = Vec::with_capacity(batch.len());
        let mut swept = 0;
        // redb checks what it reads by assertions in places: damage must not take the thread along.
        let done = catch_unwind(AssertUnwindSafe(|| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            let mut tables = Tables::open(&transaction)?;
            for Job(work) in batch {
                answers.push(work(&mut tables, now)?);
            }
            if sweep {
                swept = tables.sweep(MOST_SWEPT, now)?;
            }
            tables.note_time(now)?;
            drop(tables);
            transaction.commit()?;
            self.shared.refresh()
        }));
        drop(database);
        let done = match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Unavailable::because(error)),
            Err(_) => Err(Unavailable::because("the file is damaged")),
        };
        for answer in answers {
            answer(&done);
        }
        match done {
            Ok(()) => {
                if sweep {
                    self.last_sweep = now;
                }
                swept
            }
            Err(cause) => {
                self.fail(&cause);
                0
            }
        }
    }

    /// redb asks for a new start after an error of the storage.
    fn fail(&self, cause: &Unavailable) {
        tracing::error!(%cause, "the embedded session store failed, it is opened anew");
        self.shared.let_go();
        self.shared.observer.state(false);
        self.reopen();
    }

    fn reopen(&self) {
        match (self.opener)() {
            Ok((database, _)) => {
                self.shared.database.store(Some(Arc::new(database)));
                if let Err(error) = self.shared.refresh() {
                    self.shared.let_go();
                    tracing::debug!(%error, "the embedded session store cannot be read yet");
                    return;
                }
                self.shared.observer.state(true);
                tracing::info!("the embedded session store is open again");
            }
            Err(error) => tracing::debug!(%error, "the embedded session store cannot be opened yet"),
        }
    }
}
