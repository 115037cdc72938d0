//! The journal: what this gateway ended, on its own disk, so that a server which comes back with older data revives
//! nothing.
//!
//! Every revocation is written here before it is sent, and once more, in passing, with what it came to. One thread
//! commits; revocations that come together share a commit. An entry is kept for as long as what it ended could live. The
//! journal decides nothing: a store asks it what to apply again (see `redis::replay`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::REASON_KEPT;
use super::embedded::{OpenError, OpenErrorKind, open_as};
use crate::clock::{SharedClock, micros};

/// Sequence number to entry.
const ENTRIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("journal_entries");
/// Until when (µs) an entry is kept.
const EXPIRY: TableDefinition<'static, (u64, u64), ()> = TableDefinition::new("journal_expiry");
/// The server that all entries were applied to.
const SERVER: TableDefinition<'static, &str, &str> = TableDefinition::new("journal_server");
const SERVER_KEY: &str = "server";

/// Writes that may wait. More are not journalled: the disk is too slow.
const WAITING: usize = 4096;
/// Writes in one commit.
const MOST: usize = 256;
/// Entries that are forgotten in one commit.
const MOST_FORGOTTEN: usize = 512;
/// How long a revocation waits for the disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was ended. `floor` is the server's time just before; `standing` is what the server made of it, once known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// One session, which would have lived until `deadline` (µs).
    Session { id: String, reason: String, deadline: u64, applied: bool },
    /// A user's sessions.
    User { tenant: String, user: String, floor: u64, standing: Option<String> },
    /// A tenant's sessions; with a change of its status, if `status` is one.
    Tenant { tenant: String, floor: u64, status: String, note: String, standing: Option<String> },
}

impl Entry {
    /// Whether the server is known to have it.
    pub(super) const fn is_applied(&self) -> bool {
        match self {
            Self::Session { applied, .. } => *applied,
            Self::User { standing, .. } | Self::Tenant { standing, .. } => standing.is_some(),
        }
    }
}

/// An entry that was written, to be completed with what it came to.
#[derive(Debug)]
pub(super) struct Written {
    sequence: u64,
    entry: Entry,
}

/// Hears why the journal cannot be written, and when it can again.
pub type Warn = Box<dyn Fn(Option<String>) + Send>;

struct Job {
    sequence: u64,
    entry: Entry,
    done: Option<oneshot::Sender<()>>,
}

/// The journal of one gateway.
pub struct Journal {
    database: Arc<Database>,
    next: AtomicU64,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the file, or makes it (mode 0600) with its folders. `lifetime` is how long the longest session lives.
    ///
    /// # Errors
    /// When the file is in use by another gateway, damaged, or something else. It is then left as it is.
    pub fn open(path: &Path, clock: SharedClock, lifetime: Duration, warn: Warn) -> Result<Arc<Self>, OpenError> {
        let (database, last) = open_as(path, recognise).inspect_err(|error| warn(Some(error.to_string())))?;
        let database = Arc::new(database);
        let (jobs, waiting) = sync_channel(WAITING);
        let writer =
            Writer { database: Arc::clone(&database), clock, kept: lifetime + REASON_KEPT, warn, failing: false };
        let writer = std::thread::Builder::new()
            .name(String::from("store-journal"))
            .spawn(move || writer.run(&waiting))
            .map_err(|error| OpenErrorKind::Thread(error).at(path))?;
        Ok(Arc::new(Self { database, next: AtomicU64::new(last + 1), jobs: Some(jobs), writer: Some(writer) }))
    }

    /// Writes down what is about to be ended. `None` if that cannot be made durable in time: it is to be ended all the
    /// same, and would come back with older data.
    pub(super) async fn write(&self, entry: Entry) -> Option<Written> {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, committed) = oneshot::channel();
        let job = Job { sequence, entry: entry.clone(), done: Some(done) };
        self.jobs.as_ref()?.try_send(job).ok()?;
        timeout(PATIENCE, committed).await.ok()?.ok()?;
        Some(Written { sequence, entry })
    }

    /// Completes an entry with what the server made of it. Nobody waits: should that be lost, it is applied once more.
    pub(super) fn complete(&self, written: Written, standing: Option<&str>) {
        let Written { sequence, mut entry } = written;
        match &mut entry {
            Entry::Session { applied, .. } => *applied = true,
            Entry::User { standing: known, .. } | Entry::Tenant { standing: known, .. } => {
                *known = standing.map(str::to_owned);
            }
        }
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Job { sequence, entry, done: None });
        }
    }

    /// The first entries after a sequence number, in the order in which they were written.
    pub(super) fn entries(&self, after: u64, most: usize) -> Result<Vec<(u64, Entry)>, String> {
        let read = catch_unwind(AssertUnwindSafe(|| -> Result<Vec<(u64, Entry)>, redb::Error> {
            let mut entries = Vec::new();
            let transaction = self.database.begin_read()?;
            for entry in transaction.open_table(ENTRIES)?.range(after.saturating_add(1)..)?.take(most) {
                let (sequence, bytes) = entry?;
                // One that cannot be read was never written whole.
                if let Ok(entry) = rmp_serde::from_slice(bytes.value()) {
                    entries.push((sequence.value(), entry));
                }
            }
            Ok(entries)
        }));
        match read {
            Ok(entries) => entries.map_err(|error| format!("the journal cannot be read: {error}")),
            Err(_) => Err(String::from("the journal is damaged")),
        }
    }

    /// Completes an entry that was applied again.
    pub(super) fn applied(&self, sequence: u64, entry: Entry, standing: Option<&str>) {
        self.complete(Written { sequence, entry }, standing);
    }

    /// The server that all entries were applied to.
    pub(super) fn server(&self) -> Option<String> {
        let transaction = self.database.begin_read().ok()?;
        let server = transaction.open_table(SERVER).ok()?.get(SERVER_KEY).ok()??.value().to_owned();
        Some(server)
    }

    /// Notes the server that all entries were applied to.
    pub(super) fn note_server(&self, server: &str) {
        let noted = catch_unwind(AssertUnwindSafe(|| -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(SERVER)?.insert(SERVER_KEY, server)?;
            transaction.commit()?;
            Ok(())
        }));
        // Then all is applied once more.
        if !matches!(noted, Ok(Ok(()))) {
            tracing::warn!("the journal could not note which server it was applied to");
        }
    }
}

impl Drop for Journal {
    /// Waits for what was taken on.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Makes the tables of a new file; makes sure that another one is a journal. Answers the last sequence number, too.
fn recognise(database: Database) -> Result<(Database, u64), OpenErrorKind> {
    let last = tables(&database).map_err(|error| OpenErrorKind::Storage(error.to_string()))?;
    Ok((database, last.ok_or(OpenErrorKind::Foreign)?))
}

fn tables(database: &Database) -> Result<Option<u64>, redb::Error> {
    let names: Vec<String> = database.begin_read()?.list_tables()?.map(|table| table.name().to_owned()).collect();
    if !names.is_empty() && !names.iter().any(|name| name == ENTRIES.name()) {
        return Ok(None);
    }
    let transaction = database.begin_write()?;
    let last = transaction.open_table(ENTRIES)?.last()?.map_or(0, |(sequence, _)| sequence.value());
    transaction.open_table(EXPIRY)?;
    transaction.open_table(SERVER)?;
    transaction.commit()?;
    Ok(Some(last))
}

struct Writer {
    database: Arc<Database>,
    clock: SharedClock,
    /// How long an entry about many sessions is kept.
    kept: Duration,
    warn: Warn,
    failing: bool,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(MOST - 1));
            let committed = catch_unwind(AssertUnwindSafe(|| self.commit(&batch)));
            let failure = match committed {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(String::from("the file is damaged")),
            };
            // Callers of a batch that failed see their channel close.
            if failure.is_none() {
                for done in batch.into_iter().filter_map(|job| job.done) {
                    // A caller that has gone away needs no answer.
                    let _ = done.send(());
                }
            }
            self.tell(failure);
        }
    }

    fn tell(&mut self, failure: Option<String>) {
        if failure.is_some() == self.failing {
            return;
        }
        self.failing = failure.is_some();
        match &failure {
            Some(cause) => tracing::error!(%cause, "the journal cannot be written: revocations are not kept"),
            None => tracing::info!("the journal can be written again"),
        }
        let words = |cause| format!("revocations are not journalled, older data would revive sessions: {cause}");
        (self.warn)(failure.map(words));
    }

    fn commit(&self, batch: &[Job]) -> Result<(), redb::Error> {
        let now = self.clock.wall().as_micros();
        let transaction = self.database.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut expiry = transaction.open_table(EXPIRY)?;
            for Job { sequence, entry, .. } in batch {
                let until = match entry {
                    Entry::Session { deadline, .. } => deadline.saturating_add(micros(REASON_KEPT)),
                    Entry::User { floor, .. } | Entry::Tenant { floor, .. } => floor.saturating_add(micros(self.kept)),
                };
                let bytes = rmp_serde::to_vec(entry)
                    .map_err(|error| redb::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
                entries.insert(*sequence, bytes.as_slice())?;
                expiry.insert((until, *sequence), ())?;
            }
            let mut over = Vec::new();
            for entry in expiry.range(..(now, 0))?.take(MOST_FORGOTTEN) {
                over.push(entry?.0.value());
            }
            for (until, sequence) in over {
                expiry.remove((until, sequence))?;
                entries.remove(sequence)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock, WallTime};

    const START: WallTime = WallTime::from_micros(1_700_000_000_000_000);

    fn user(floor: u64) -> Entry {
        Entry::User { tenant: String::from("acme"), user: String::from("7"), floor, standing: None }
    }

    fn open(path: &Path, clock: &Arc<ManualClock>) -> Result<Arc<Journal>, OpenError> {
        Journal::open(path, clock.clone(), Duration::from_secs(8 * 3600), Box::new(|_| ()))
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart_and_gone_when_nothing_of_it_could_live() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data/journal.redb");
        let clock = Arc::new(ManualClock::starting_at(START));
        let journal = open(&path, &clock).expect("a new journal");
        let first = journal.write(user(START.as_micros())).await.expect("written");
        journal.complete(first, Some("17"));
        journal.write(user(START.as_micros() + 1)).await.expect("written");
        assert!(open(&path, &clock).is_err(), "it is in use");
        drop(journal);

        let journal = open(&path, &clock).expect("the journal");
        let entries = journal.entries(0, 10).expect("readable");
        assert_eq!(entries.iter().map(|(_, entry)| entry.is_applied()).collect::<Vec<_>>(), [true, false]);
        assert_eq!(journal.entries(entries[0].0, 10).expect("readable").len(), 1);
        clock.advance(Duration::from_secs(9 * 3600 + 1));
        journal.write(user(clock.wall().as_micros())).await.expect("written");
        assert_eq!(journal.entries(0, 10).expect("readable").len(), 1);
    }

    #[tokio::test]
    async fn the_server_that_it_was_applied_to_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.redb");
        let clock = Arc::new(ManualClock::starting_at(START));
        let journal = open(&path, &clock).expect("a new journal");
        assert_eq!(journal.server(), None);
        journal.note_server("one");
        drop(journal);
        assert_eq!(open(&path, &clock).expect("the journal").server().as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn writes_that_come_together_share_commits_and_keep_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::starting_at(START));
        let journal = open(&folder.path().join("journal.redb"), &clock).expect("a new journal");
        let writes = (0..500).map(|n| journal.write(user(START.as_micros() + n)));
        let written = futures_util::future::join_all(writes).await;
        assert!(written.iter().all(Option::is_some));
        let entries = journal.entries(0, 1000).expect("readable");
        assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0) && entries.len() == 500);
    }
}
