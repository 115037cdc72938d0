//! The journal: what this gateway ended, on its own disk, so that a server which comes back with older data revives
//! nothing.
//!
//! Every revocation is written here before it is sent, and once more, in passing, with what it came to. One thread
//! commits; revocations that come together share a commit. An entry is kept for as long as what it ended could live; the one
//! that shut a tenant out, until another word about that tenant counts. One whose call failed is *open* until it was carried out late, and that was told. The journal decides nothing: a store
//! asks it what to apply again (see `redis::replay`) and what to carry out late (see `redis::late`).

mod last_word;
mod record;
mod server_time;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::record::Late;
pub(super) use self::record::{Entry, Record, generation_of};

use self::last_word::{LastWord, LastWords};
use self::record::Call;
use self::server_time::ServerTime;
use super::REASON_KEPT;
use super::embedded::{OpenError, OpenErrorKind, open_as};
use crate::clock::{Monotonic, SharedClock, micros};
use crate::session::{By, EndReason, StoreTime};

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
/// Entries that may be open: beyond it ends are not journalled.
const MOST_OPEN: usize = 16_384;
/// How long a revocation waits for the disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// An entry that was written, to be completed with what it came to.
#[derive(Debug)]
pub(super) struct Written {
    sequence: u64,
    record: Record,
    /// Whether it is known to be on disk.
    durable: bool,
}

impl Written {
    pub(super) const fn is_durable(&self) -> bool {
        self.durable
    }
}

/// Hears why the journal cannot be written, and when it can again.
pub type Warn = Box<dyn Fn(Option<String>) + Send>;

/// Tells of a delayed effect; answers whether that is on disk.
pub type Tell = Box<dyn Fn(Late) -> BoxFuture<'static, bool> + Send + Sync>;

struct Job {
    sequence: u64,
    /// `None`: the entry is to be forgotten.
    record: Option<Record>,
    done: Option<oneshot::Sender<()>>,
}

/// An entry that the server is not known to have.
struct Open {
    record: Record,
    stage: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The call goes on.
    InFlight,
    /// It failed, or was cut off: yet to be carried out.
    Failed,
    /// It was carried out late; that is being told.
    Telling,
}

type OpenEntries = Arc<Mutex<BTreeMap<u64, Open>>>;

/// The journal of one gateway.
pub struct Journal {
    database: Arc<Database>,
    clock: SharedClock,
    /// How long an entry about many sessions is kept.
    kept: Duration,
    server_time: ServerTime,
    next: AtomicU64,
    open: OpenEntries,
    /// What came late and was told, and could not be done again where a server lacks it.
    owed: Mutex<Vec<Record>>,
    full: AtomicBool,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    tell: Tell,
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
    pub fn open(
        path: &Path,
        clock: SharedClock,
        lifetime: Duration,
        warn: Warn,
        tell: Tell,
    ) -> Result<Arc<Self>, OpenError> {
        let found = open_as(path, recognise).inspect_err(|error| warn(Some(error.to_string())))?;
        let (database, last, mut open) = found;
        let (kept, now) = (lifetime + REASON_KEPT, clock.wall().as_micros());
        let failed = open.len();
        open.retain(|_, open| until(&open.record, kept) >= now);
        if open.len() < failed {
            let calls = failed - open.len();
            tracing::warn!(calls, "calls that failed are too long ago to have an effect now");
        }
        let (database, open) = (Arc::new(database), Arc::new(Mutex::new(open)));
        let (jobs, waiting) = sync_channel(WAITING);
        let writer = Writer {
            database: Arc::clone(&database),
            clock: clock.clone(),
            kept,
            open: Arc::clone(&open),
            warn,
            failing: false,
        };
        let writer = std::thread::Builder::new()
            .name(String::from("store-journal"))
            .spawn(move || writer.run(&waiting))
            .map_err(|error| OpenErrorKind::Thread(error).at(path))?;
        Ok(Arc::new(Self {
            database,
            clock,
            kept,
            server_time: ServerTime::default(),
            next: AtomicU64::new(last + 1),
            open,
            owed: Mutex::default(),
            full: AtomicBool::new(false),
            jobs: Some(jobs),
            writer: Some(writer),
            tell,
        }))
    }

    /// How long an entry about many sessions is kept: longer than any session lives.
    pub(super) const fn kept(&self) -> Duration {
        self.kept
    }

    /// How long any session lives at most.
    pub(super) const fn longest(&self) -> Duration {
        self.kept.saturating_sub(REASON_KEPT)
    }

    /// A moment, for [`saw`](Self::saw).
    pub(super) fn moment(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// The server told its time when asked at that moment.
    pub(super) fn saw(&self, asked: Monotonic, told: StoreTime) {
        self.server_time.saw(asked, told);
    }

    /// The latest that it can be on the server's clock; `None` if it never told.
    pub(super) fn server_time(&self) -> Option<StoreTime> {
        self.server_time.latest(self.clock.monotonic())
    }

    /// Writes down what is about to be ended. `None` if it is not written; one that is not known to be durable in time
    /// may be lost. It is to be ended all the same, and would come back with older data.
    pub(super) async fn write(&self, entry: Entry, reason: EndReason, by: &By) -> Option<Written> {
        let record = Record::new(entry, Call::new(self.clock.wall(), reason, by));
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, committed) = oneshot::channel();
        {
            let mut open = self.open.lock();
            if !self.has_room(open.len()) {
                return None;
            }
            let job = Job { sequence, record: Some(record.clone()), done: Some(done) };
            self.jobs.as_ref()?.try_send(job).ok()?;
            open.insert(sequence, Open { record: record.clone(), stage: Progress::InFlight });
        }
        // Kept before the wait: whoever asked for it may hang up.
        let mut written = Guard { journal: self, written: Some(Written { sequence, record, durable: false }) };
        let durable = matches!(timeout(PATIENCE, committed).await, Ok(Ok(())));
        let mut written = written.written.take()?;
        written.durable = durable;
        Some(written)
    }

    /// Whether a further entry may be open; says it when that changes.
    fn has_room(&self, open: usize) -> bool {
        let full = open >= MOST_OPEN;
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(open, "so many ends wait for the store that no more are journalled");
            } else {
                tracing::info!(open, "ends are journalled again");
            }
        }
        !full
    }

    /// Completes an entry with what the server made of it. Nobody waits: should that be lost, it is applied once more.
    pub(super) fn complete(&self, written: Written, standing: Option<&str>) {
        let Written { sequence, record, .. } = written;
        let mut open = self.open.lock();
        open.remove(&sequence);
        if let Some((tenant, _)) = record.status() {
            self.supersede(&mut open, tenant, sequence);
        }
        drop(open);
        self.put(sequence, Some(record.applied(standing)));
    }

    /// A later word about the tenant's status counts. What an earlier one was to end is still to end.
    fn supersede(&self, open: &mut BTreeMap<u64, Open>, tenant: &str, by: u64) {
        let earlier = |record: &Record| record.status().filter(|(of, _)| *of == tenant).map(|(_, ends)| ends);
        let earlier: Vec<(u64, bool)> = open
            .range(..by)
            .filter(|(_, open)| open.stage != Progress::Telling)
            .filter_map(|(sequence, open)| Some((*sequence, earlier(&open.record)?)))
            .collect();
        for (sequence, ends) in earlier {
            tracing::warn!(tenant, "an earlier change of the tenant's status, which failed, is superseded");
            let Some(superseded) = open.get_mut(&sequence) else { continue };
            if ends {
                superseded.record = superseded.record.clone().without_status();
                self.put(sequence, Some(superseded.record.clone()));
            } else {
                open.remove(&sequence);
                self.put(sequence, None);
            }
        }
    }

    /// The call failed or was cut off: it is yet to be carried out.
    pub(super) fn failed(&self, written: &Written) {
        if let Some(open) = self.open.lock().get_mut(&written.sequence) {
            open.stage = Progress::Failed;
        }
    }

    /// Whether anything is yet to be carried out, or done again.
    pub(super) fn has_failed(&self) -> bool {
        self.open.lock().values().any(|open| open.stage == Progress::Failed) || !self.owed.lock().is_empty()
    }

    /// Something that was told is yet to be done again.
    pub(super) fn owe(&self, record: Record) {
        let mut owed = self.owed.lock();
        if !owed.contains(&record) {
            owed.push(record);
        }
    }

    /// What is yet to be done again.
    pub(super) fn owed(&self) -> Vec<Record> {
        self.owed.lock().clone()
    }

    /// It was done again.
    pub(super) fn is_done(&self, record: &Record) {
        self.owed.lock().retain(|owed| owed != record);
    }

    /// The first entries after a sequence number that are yet to be carried out.
    pub(super) fn failed_ones(&self, after: u64, most: usize) -> Vec<(u64, Record)> {
        let open = self.open.lock();
        let failed = open.range(after.saturating_add(1)..).filter(|(_, open)| open.stage == Progress::Failed);
        failed.take(most).map(|(sequence, open)| (*sequence, open.record.clone())).collect()
    }

    /// The entry was carried out late, and the server made this of it. It is closed once that is told.
    pub(super) fn tell(self: &Arc<Self>, sequence: u64, standing: Option<&str>, late: Late) {
        let record = match self.open.lock().get_mut(&sequence) {
            Some(open) => {
                open.stage = Progress::Telling;
                let record = open.record.clone();
                // A later word counts: no server is to hear of this one again.
                let record = if late.status.is_none() { record.without_status() } else { record };
                // One session or token has no standing, and is over as it is written.
                open.record = record.applied(standing);
                open.record.clone()
            }
            // Superseded meanwhile, or nothing of it can be left.
            None => return,
        };
        let at = self.server_time().unwrap_or(StoreTime::from_micros(self.clock.wall().as_micros()));
        let (journal, telling) = (Arc::clone(self), (self.tell)(late));
        tokio::spawn(async move {
            // Where it cannot be told it stays open on disk, and is told by the next run.
            if telling.await {
                journal.open.lock().remove(&sequence);
                journal.put(sequence, Some(record.told(at)));
            }
        });
    }

    /// There is nothing in an entry to carry out, or to tell.
    pub(super) fn forget(&self, sequence: u64) {
        self.open.lock().remove(&sequence);
        self.put(sequence, None);
    }

    fn put(&self, sequence: u64, record: Option<Record>) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Job { sequence, record, done: None });
        }
    }

    /// The first entries after a sequence number that a server has had, in the order in which they were written; and the
    /// last sequence number that was looked at, if there was one.
    pub(super) fn carried_out(&self, after: u64, most: usize) -> Result<(Vec<Record>, Option<u64>), String> {
        let now = self.clock.wall().as_micros();
        let entries = self.look(|transaction| {
            let mut entries = Vec::new();
            for entry in transaction.open_table(ENTRIES)?.range(after.saturating_add(1)..)?.take(most) {
                let (sequence, bytes) = entry?;
                let (sequence, record) = (sequence.value(), Record::decode(bytes.value()));
                // What is too old is forgotten with the next write.
                let counts = match &record {
                    Ok(record) => until(record, self.kept) >= now || last_word::counts(transaction, sequence, record)?,
                    Err(_) => true,
                };
                entries.push((sequence, record, counts));
            }
            Ok(entries)
        })?;
        let last = entries.last().map(|(sequence, ..)| *sequence);
        let open = self.open.lock();
        let mut records = Vec::with_capacity(entries.len());
        for (sequence, record, counts) in entries {
            match open.get(&sequence) {
                _ if !counts => {}
                Some(Open { record, stage: Progress::Telling }) => records.push(record.clone()),
                Some(_) => {}
                None => records.push(record.map_err(|why| unreadable(sequence, &why))?),
            }
        }
        Ok((records, last))
    }

    /// The first words about tenants, after one in the order of their names, that are so old that they alone are left of
    /// their entries.
    pub(super) fn old_words(&self, after: &str, most: usize) -> Result<Vec<LastWord>, String> {
        let oldest = self.clock.wall().as_micros().saturating_sub(micros(self.kept));
        self.look(|transaction| last_word::older_than(transaction, oldest, after, most))
    }

    fn look<T>(&self, at: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, String> {
        match catch_unwind(AssertUnwindSafe(|| at(&self.database.begin_read()?))) {
            Ok(seen) => seen.map_err(|error| format!("the journal cannot be read: {error}")),
            Err(_) => Err(String::from("the journal is damaged")),
        }
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

fn unreadable(sequence: u64, why: &str) -> String {
    format!("entry {sequence} of the journal cannot be read: {why}")
}

/// An entry that is being written: whoever asked for it may hang up meanwhile.
struct Guard<'a> {
    journal: &'a Journal,
    written: Option<Written>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(written) = &self.written {
            self.journal.failed(written);
        }
    }
}

/// What is found in a file: also the last sequence number, and what is yet to be carried out.
type Found = (Database, u64, BTreeMap<u64, Open>);

/// Makes the tables of a new file; makes sure that another one is a journal, and one that can be read.
fn recognise(database: Database) -> Result<Found, OpenErrorKind> {
    let storage = |error: redb::Error| OpenErrorKind::Storage(error.to_string());
    let last = tables(&database).map_err(storage)?.ok_or(OpenErrorKind::Foreign)?;
    let mut open = BTreeMap::new();
    let transaction = database.begin_read().map_err(|error| storage(error.into()))?;
    let entries = transaction.open_table(ENTRIES).map_err(|error| storage(error.into()))?;
    for entry in entries.iter().map_err(|error| storage(error.into()))? {
        let (sequence, bytes) = entry.map_err(|error| storage(error.into()))?;
        let sequence = sequence.value();
        let record = Record::decode(bytes.value()).map_err(|why| OpenErrorKind::Corrupt(unreadable(sequence, &why)))?;
        if record.is_open() {
            open.insert(sequence, Open { record, stage: Progress::Failed });
        }
    }
    drop((entries, transaction));
    Ok((database, last, open))
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
    last_word::make(&transaction)?;
    transaction.commit()?;
    Ok(Some(last))
}

/// Until when an entry is kept, where one about many sessions is kept for so long.
fn until(record: &Record, kept: Duration) -> u64 {
    match &record.entry {
        Entry::Session { deadline, .. } | Entry::Token { deadline, .. } | Entry::Hold { deadline, .. } => {
            deadline.saturating_add(micros(REASON_KEPT))
        }
        Entry::User { floor, .. } | Entry::Tenant { floor, .. } => floor.saturating_add(micros(kept)),
    }
}

struct Writer {
    database: Arc<Database>,
    clock: SharedClock,
    /// How long an entry about many sessions is kept.
    kept: Duration,
    open: OpenEntries,
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
        let mut over = Vec::new();
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut expiry = transaction.open_table(EXPIRY)?;
            let mut words = LastWords::open(&transaction)?;
            for Job { sequence, record, .. } in batch {
                let Some(record) = record else {
                    let forgotten = entries.remove(*sequence)?.map(|bytes| Record::decode(bytes.value()));
                    // Sequence numbers may come again after a restart.
                    if let Some(Ok(forgotten)) = forgotten {
                        expiry.remove((until(&forgotten, self.kept), *sequence))?;
                        words.forget(*sequence, &forgotten)?;
                    }
                    continue;
                };
                let until = until(record, self.kept);
                let bytes = record
                    .encode()
                    .map_err(|error| redb::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
                entries.insert(*sequence, bytes.as_slice())?;
                let spoken = words.take(*sequence, record)?;
                if spoken.counts {
                    expiry.remove((until, *sequence))?;
                } else {
                    expiry.insert((until, *sequence), ())?;
                }
                if let Some(before) = spoken.before {
                    let record = entries.get(before)?.and_then(|bytes| Record::decode(bytes.value()).ok());
                    // One that cannot be read stays, and is told of when it is to be applied.
                    if let Some(record) = record {
                        expiry.insert((self::until(&record, self.kept), before), ())?;
                    }
                }
            }
            for entry in expiry.range(..(now, 0))?.take(MOST_FORGOTTEN) {
                over.push(entry?.0.value());
            }
            for (until, sequence) in &over {
                expiry.remove((*until, *sequence))?;
                entries.remove(*sequence)?;
            }
        }
        transaction.commit()?;
        let mut open = self.open.lock();
        for (_, sequence) in over {
            open.remove(&sequence);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
