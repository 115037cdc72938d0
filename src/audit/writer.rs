//! The audit log at work: a bounded queue, and one thread that writes, confirms and follows rotation.
//!
//! [`AuditLog::record`] never waits. [`AuditLog::written`] does, for all that was recorded before it: those lines are in
//! the file, and no end of this process loses them. [`AuditLog::record_durably`] waits for the disk: its line outlives the
//! machine's end. Nothing is lost silently: what does not fit the queue is counted, and the count is logged. A disk that
//! refuses is said once when it starts and once when it ends, and what it refused is kept and tried again.
//!
//! What the disk has confirmed goes to the [`Outbox`] as well, from where [`super::share`] takes it to the store.
//!
//! Events that a client can cause at will are counted before the queue and have a part of its room, so that a flood of
//! them never pushes out the line of a session.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::aggregate::{Aggregator, is_repeatable};
use super::chain::{ChainKey, Head, InstanceId};
use super::event::AuditEvent;
use super::file::Output;
use super::key;
use super::outbox::Outbox;
use crate::clock::{Monotonic, SharedClock};
use crate::entropy::SharedEntropy;
use crate::queue::{Class, Queue, Refused, Urgency};
use crate::secret::Secret;
use crate::telemetry::metrics::AuditMetrics;

/// How many events may wait for the disk.
const MOST_WAITING: usize = 65_536;
/// The least time between two confirmations by the disk, unless somebody waits for one.
const BATCH: Duration = Duration::from_millis(100);
/// How often an idle writer looks for finished minutes and rotation, and how long it waits after an error.
const TICK: Duration = Duration::from_secs(1);
/// How long [`AuditLog::written`] waits for a disk that hangs: once, and then no longer until it writes again.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// How long [`AuditLog::record_durably`] waits for the disk.
const DURABLE_WITHIN: Duration = Duration::from_secs(5);

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file, made where it is missing, its folders too.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// What an audit log is made of.
pub struct AuditSettings {
    /// Where its lines go.
    pub target: AuditTarget,
    /// `secrets.key`.
    pub key: Option<Secret>,
    /// For the name of a chain, and for a key where none is configured.
    pub entropy: SharedEntropy,
    /// Whether the lines go to other gateways as well.
    pub shared: bool,
}

/// The audit log could not be opened: the gateway must not start without one.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    /// The file.
    #[error("the audit file {} cannot be opened for writing: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key that is kept beside the file.
    #[error("the key of the audit log, {}, cannot be used: {source}; set secrets.key instead (`session-gateway keygen`)", path.display())]
    Key {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Randomness.
    #[error("the audit log cannot begin its chain: {0}")]
    Entropy(io::Error),
    /// The writer.
    #[error("the audit writer's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A line is not known to be on disk. It may still be written later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log could not confirm the line")]
pub struct AuditUnavailable;

struct Entry {
    event: AuditEvent,
    confirmed: Option<oneshot::Sender<Result<(), AuditUnavailable>>>,
}

/// The audit log. Dropping it lets the writer finish on its own; [`shutdown`](Self::shutdown) waits for that.
pub struct AuditLog {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Queue<Entry>,
    /// Rung when the queue was emptied.
    room: Notify,
    outbox: Arc<Outbox>,
    repeats: Mutex<Aggregator>,
    clock: SharedClock,
    metrics: AuditMetrics,
    unsaid_drops: AtomicU64,
    /// How many of the events that were ever queued are in the file.
    written: watch::Sender<u64>,
    /// The disk refuses.
    failing: AtomicBool,
    /// The disk hangs.
    hanging: AtomicBool,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuditLog").field("failing", &self.is_failing()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the target, goes on with its chain, and starts the writer.
    ///
    /// # Errors
    /// When the file or its key cannot be made, read or appended to.
    pub fn open(settings: AuditSettings, clock: SharedClock, metrics: AuditMetrics) -> Result<Self, AuditOpenError> {
        let AuditSettings { target, key, entropy, shared } = settings;
        let key = find_key(key.as_ref(), &target, &entropy)?;
        let fresh = fresh_chain(&entropy).map_err(AuditOpenError::Entropy)?;
        let output = match target {
            AuditTarget::Stdout => Output::to_stdout(key, fresh),
            AuditTarget::File(path) => Output::to_file(path.clone(), key, fresh, clock.monotonic())
                .map_err(|source| AuditOpenError::File { path, source })?,
        };
        let outbox = Arc::new(Outbox::at(output.head(), shared, metrics.clone()));
        let shared = Arc::new(Shared::new(clock, metrics, outbox, MOST_WAITING));
        let confirmed = shared.clock.monotonic();
        let writer = Writer { shared: Arc::clone(&shared), output, entropy, taken: 0, confirmed };
        std::thread::Builder::new().name("audit".into()).spawn(|| writer.run()).map_err(AuditOpenError::Thread)?;
        Ok(Self { shared })
    }

    /// Records an event without waiting. An event that anyone can cause is counted by minute (see
    /// [`super::aggregate`]).
    pub fn record(&self, event: AuditEvent) {
        let (class, event) = if is_repeatable(&event) {
            let now = self.shared.clock.wall();
            let admitted = self.shared.repeats.lock().admit(event, now);
            let Some(event) = admitted else { return };
            (Class::Repeatable, event)
        } else {
            (Class::Own, event)
        };
        self.shared.push(class, Entry { event, confirmed: None });
    }

    /// Waits until all that was recorded so far is in the file, whoever recorded it: many wait for one write. Answers
    /// whether it is. A disk that refuses or hangs is waited for no longer than a second, once: nobody is kept from
    /// logging in by it. The lines are kept, and what goes on without them is counted.
    pub async fn written(&self) -> bool {
        let shared = &self.shared;
        let all = shared.queue.hurry();
        let mut written = shared.written.subscribe();
        if *written.borrow_and_update() >= all {
            return true;
        }
        if !self.is_failing() {
            match tokio::time::timeout(WRITTEN_WITHIN, written.wait_for(|written| *written >= all)).await {
                Ok(Ok(_)) => return true,
                Ok(Err(_)) => {}
                Err(_) => shared.hangs(),
            }
        }
        shared.metrics.unwritten();
        false
    }

    /// Records an event, a line of its own, and waits until it is on disk; where the queue is full, until there is room
    /// first.
    ///
    /// # Errors
    /// When that cannot be confirmed within 5 s, or the disk is refusing. The line is written once the disk takes lines
    /// again, unless there was no room for it in that time.
    pub async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditUnavailable> {
        let mut queued = false;
        let outcome = tokio::time::timeout(DURABLE_WITHIN, async {
            let confirmed = self.shared.push_when_there_is_room(event).await?;
            queued = true;
            // It will be written, but nobody knows when.
            if self.is_failing() { Err(AuditUnavailable) } else { confirmed.await.unwrap_or(Err(AuditUnavailable)) }
        });
        let outcome = outcome.await.unwrap_or(Err(AuditUnavailable));
        if !queued {
            self.shared.note_drop();
        }
        outcome
    }

    /// What is on its way to the store.
    #[must_use]
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.shared.outbox)
    }

    /// Whether the disk is refusing lines now, or hangs.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed) || self.shared.hanging.load(Ordering::Relaxed)
    }

    /// Writes what waits, the counts of the current minute too, and ends the writer. Blocks, for at most `within`;
    /// answers whether everything was handled in that time. Later events are counted as dropped.
    #[must_use]
    pub fn shutdown(&self, within: Duration) -> bool {
        self.shared.queue.close();
        self.shared.queue.wait_finished(within)
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Shared {
    fn new(clock: SharedClock, metrics: AuditMetrics, outbox: Arc<Outbox>, most_waiting: usize) -> Self {
        Self {
            queue: Queue::new(most_waiting),
            room: Notify::new(),
            outbox,
            repeats: Mutex::default(),
            clock,
            metrics,
            unsaid_drops: AtomicU64::new(0),
            written: watch::Sender::new(0),
            failing: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
        }
    }

    fn push(&self, class: Class, entry: Entry) {
        if self.queue.push_as(class, entry, 1, Urgency::Batched).is_err() {
            self.note_drop();
        }
    }

    /// Says once that a write takes too long.
    fn hangs(&self) {
        if !self.hanging.swap(true, Ordering::Relaxed) {
            tracing::error!("the audit log's disk hangs; events are kept, and answers do not wait for them");
        }
    }

    /// So many of the events that were ever queued are in the file.
    fn wrote(&self, count: u64) {
        if self.hanging.swap(false, Ordering::Relaxed) {
            tracing::info!("the audit log's disk hangs no longer");
        }
        self.written.send_replace(count);
    }

    fn note_drop(&self) {
        self.metrics.dropped(1);
        self.unsaid_drops.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for room as long as it is polled. Answers where the writer's confirmation will come out.
    async fn push_when_there_is_room(
        &self,
        event: AuditEvent,
    ) -> Result<oneshot::Receiver<Result<(), AuditUnavailable>>, AuditUnavailable> {
        loop {
            // Listens before it looks, or it could miss the moment.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            let (confirm, confirmed) = oneshot::channel();
            let entry = Entry { event: event.clone(), confirmed: Some(confirm) };
            match self.queue.push(entry, 1, Urgency::Now) {
                Ok(()) => return Ok(confirmed),
                Err(Refused::Closed) => return Err(AuditUnavailable),
                Err(Refused::Full) => room.await,
            }
        }
    }

    fn say_drops(&self) {
        let dropped = self.unsaid_drops.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::error!(dropped, "audit events were lost: the audit log was full or closed");
        }
    }

    /// Notes how the last write went; says it when that changed.
    fn note(&self, outcome: &io::Result<()>) {
        let failing = outcome.is_err();
        let before = self.failing.swap(failing, Ordering::Relaxed);
        match outcome {
            Err(error) => {
                self.metrics.write_error();
                if !before {
                    tracing::error!(%error, "the audit log cannot be written; events are kept and tried again");
                }
            }
            Ok(()) if before => tracing::info!("the audit log can be written again"),
            Ok(()) => {}
        }
    }
}

/// The key of the configuration; without one, that which is kept beside the file.
fn find_key(
    configured: Option<&Secret>,
    target: &AuditTarget,
    entropy: &SharedEntropy,
) -> Result<ChainKey, AuditOpenError> {
    match (configured, target) {
        (Some(secret), _) => Ok(ChainKey::derived_from(secret)),
        (None, AuditTarget::File(file)) => {
            let path = key::key_file(file);
            let (key, made) = key::read_or_make(&path, &**entropy)
                .map_err(|source| AuditOpenError::Key { path: path.clone(), source })?;
            tracing::warn!(
                file = %path.display(),
                made,
                "secrets.key is not set: the key of the audit log is kept beside it, so that whoever may read this machine's \
                 files can forge the log; keep a key of `session-gateway keygen` elsewhere and set secrets.key"
            );
            Ok(key)
        }
        (None, AuditTarget::Stdout) => {
            tracing::warn!(
                "secrets.key is not set: the audit lines on standard output have a key of this run alone, and nobody \
                 can verify them; set secrets.key (`session-gateway keygen`)"
            );
            key::ephemeral(&**entropy).map_err(AuditOpenError::Entropy)
        }
    }
}

fn fresh_chain(entropy: &SharedEntropy) -> io::Result<Head> {
    let mut random = [0; 9];
    entropy.fill(&mut random).map_err(io::Error::other)?;
    Ok(Head::start_of(InstanceId::of_random(random)))
}

struct Writer {
    shared: Arc<Shared>,
    output: Output,
    entropy: SharedEntropy,
    /// How many events were ever taken from the queue.
    taken: u64,
    /// When the disk last confirmed what was written.
    confirmed: Monotonic,
}

impl Writer {
    fn run(mut self) {
        let mut entries = Vec::new();
        loop {
            // What was written is confirmed when a batch's time has passed and nothing more came.
            let patience = if self.output.is_confirmed() { TICK } else { Duration::ZERO };
            let (open, taken) = self.shared.queue.take_counted(&mut entries, patience);
            self.taken = taken;
            self.shared.room.notify_waiters();
            let fine = self.write(&mut entries, open);
            self.shared.say_drops();
            if !open {
                break;
            }
            if fine {
                self.shared.queue.gather(BATCH);
            } else {
                self.retry_until_written();
            }
        }
        self.shared.queue.finish();
    }

    /// Writes a batch, and the counts of the minutes that have passed; at the end of the program those of this minute
    /// too. Answers whether the disk took it.
    fn write(&mut self, entries: &mut Vec<Entry>, open: bool) -> bool {
        let now = self.shared.clock.wall();
        let repeats = {
            let mut repeats = self.shared.repeats.lock();
            if open { repeats.take_due(now) } else { repeats.take_all(now) }
        };
        let moment = self.shared.clock.monotonic();
        // What goes wrong with these goes wrong again below.
        if self.output.is_look_due(moment) {
            let _ = self.confirm();
        }
        self.begin_chain_if_asked();
        let _ = self.output.follow_rotation(moment);
        for event in entries.iter().map(|entry| &entry.event).chain(&repeats) {
            self.output.add(event);
        }
        // The disk is asked ten times a second, or when somebody waits for it, or nothing else is to be done.
        let asked = !open || entries.is_empty() || entries.iter().any(|entry| entry.confirmed.is_some());
        let due = asked || moment.since(self.confirmed) >= BATCH;
        let outcome = self.store(due);
        for entry in entries.drain(..) {
            if let Some(confirmed) = entry.confirmed {
                // Who no longer waits needs no answer.
                let _ = confirmed.send(if outcome.is_ok() { Ok(()) } else { Err(AuditUnavailable) });
            }
        }
        if !open && outcome.is_err() {
            tracing::error!(lines = self.output.waiting(), "audit events were lost: the disk refused them at the end");
        }
        outcome.is_ok()
    }

    /// Writes what waits, and has the disk confirm it where that is due.
    fn store(&mut self, confirm: bool) -> io::Result<()> {
        let mut outcome = self.output.write(self.shared.clock.monotonic());
        if outcome.is_ok() {
            self.shared.wrote(self.taken);
            if confirm {
                outcome = self.confirm();
            }
        }
        self.shared.note(&outcome);
        outcome
    }

    /// Has the disk confirm what was written, which is then on its way to the store.
    fn confirm(&mut self) -> io::Result<()> {
        self.output.confirm()?;
        self.confirmed = self.shared.clock.monotonic();
        self.shared.outbox.put(self.output.pending(), self.output.head());
        self.output.forget_flushed();
        Ok(())
    }

    fn begin_chain_if_asked(&mut self) {
        if !self.shared.outbox.is_new_chain_wanted() {
            return;
        }
        match fresh_chain(&self.entropy) {
            Ok(fresh) => {
                if self.output.begin_chain(fresh) {
                    self.shared.outbox.chain_begun(fresh);
                }
            }
            Err(error) => tracing::error!(%error, "the audit log cannot begin a new chain"),
        }
    }

    /// Tries again each second. Meanwhile nothing more is taken from the queue: what is kept stays bounded.
    fn retry_until_written(&mut self) {
        loop {
            self.shared.queue.hold(TICK);
            if self.shared.queue.is_closed() {
                return;
            }
            let outcome = self.store(true);
            self.shared.say_drops();
            if outcome.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::*;
    use crate::audit::event::{Actor, AuditType, Outcome};
    use crate::clock::{ManualClock, WallTime};
    use crate::entropy::SystemEntropy;
    use crate::telemetry::Metrics;

    const LONG: Duration = Duration::from_secs(60);

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)))
    }

    fn event(kind: AuditType) -> AuditEvent {
        AuditEvent::new(WallTime::from_micros(0), kind, Outcome::Success, Actor::User).by_request(
            IpAddr::from([192, 0, 2, 1]),
            None,
            "r",
        )
    }

    fn open(path: &Path, metrics: &Metrics) -> AuditLog {
        let target = AuditTarget::File(path.to_path_buf());
        let key = Some(Secret::new("a key for tests"));
        let settings = AuditSettings { target, key, entropy: Arc::new(SystemEntropy), shared: false };
        AuditLog::open(settings, clock(), metrics.audit()).expect("opens")
    }

    fn types(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("the file is there");
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|line| line["type"].as_str().expect("a type").to_owned())
            .collect()
    }

    #[test]
    fn what_was_recorded_before_the_end_is_written_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = open(&path, &Metrics::new());
        for kind in [AuditType::SessionCreated, AuditType::SessionEnded, AuditType::ConfigReloaded] {
            log.record(event(kind));
        }
        assert!(log.shutdown(LONG));
        assert_eq!(types(&path), ["session.created", "session.ended", "config.reloaded"]);
    }

    #[tokio::test]
    async fn a_durable_line_is_on_disk_when_the_call_returns() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = open(&path, &Metrics::new());
        for expected in 1..=3 {
            log.record_durably(event(AuditType::SessionEnded)).await.expect("on disk");
            assert_eq!(types(&path).len(), expected);
        }
    }

    #[test]
    fn a_flood_is_two_lines_and_its_counts_add_up_even_at_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = open(&path, &Metrics::new());
        for _ in 0..200_000 {
            log.record(event(AuditType::LoginFailed));
        }
        log.record(event(AuditType::SessionCreated));
        assert!(log.shutdown(LONG));
        let text = std::fs::read_to_string(&path).expect("the file is there");
        let counts: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .filter(|line| line["type"] == "login.failed")
            .map(|line| line["details"]["count"].as_u64().expect("a count"))
            .collect();
        assert_eq!(counts, [1, 199_999]);
        assert!(types(&path).contains(&"session.created".to_owned()));
    }

    #[tokio::test]
    async fn a_full_disk_is_said_to_who_waits_and_counted() {
        let metrics = Metrics::new();
        let log = open(Path::new("/dev/full"), &metrics);
        assert_eq!(log.record_durably(event(AuditType::SessionEnded)).await, Err(AuditUnavailable));
        assert!(log.is_failing());
        assert_eq!(log.record_durably(event(AuditType::SessionEnded)).await, Err(AuditUnavailable));
        assert!(log.shutdown(LONG), "a full disk does not hang the end");
        assert!(!metrics.encode().contains("session_gateway_audit_write_errors_total 0\n"));
    }

    /// As if the disk hung.
    fn without_writer(metrics: &Metrics) -> AuditLog {
        without_writer_and_with_room(metrics, 2)
    }

    fn without_writer_and_with_room(metrics: &Metrics, room: usize) -> AuditLog {
        let head = Head::start_of(InstanceId::of_random([0; 9]));
        let outbox = Arc::new(Outbox::at(head, false, metrics.audit()));
        AuditLog { shared: Arc::new(Shared::new(clock(), metrics.audit(), outbox, room)) }
    }

    #[tokio::test]
    async fn what_was_recorded_is_in_the_file_when_it_was_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = Arc::new(open(&path, &Metrics::new()));
        assert!(log.written().await, "nothing is waited for");
        for expected in 1..=50 {
            log.record(event(AuditType::SessionCreated));
            assert!(log.written().await);
            assert_eq!(types(&path).len(), expected);
        }
        let many = (0..200).map(|_| {
            let log = log.clone();
            async move {
                log.record(event(AuditType::SessionEnded));
                log.written().await
            }
        });
        assert!(futures_util::future::join_all(many).await.into_iter().all(|written| written));
        assert_eq!(types(&path).len(), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_once_and_one_that_refuses_never() {
        let metrics = Metrics::new();
        let log = without_writer_and_with_room(&metrics, 8);
        log.record(event(AuditType::SessionCreated));
        let begun = tokio::time::Instant::now();
        assert!(!log.written().await && log.is_failing());
        assert_eq!(begun.elapsed().as_secs(), WRITTEN_WITHIN.as_secs());
        assert!(!log.written().await);
        assert_eq!(begun.elapsed().as_secs(), WRITTEN_WITHIN.as_secs());
        assert!(metrics.encode().contains("session_gateway_audit_answers_unwritten_total 2\n"));
        log.shared.wrote(1);
        assert!(log.written().await && !log.is_failing());
    }

    #[test]
    fn what_a_client_can_repeat_never_pushes_out_what_it_cannot_when_the_disk_is_full() {
        let metrics = Metrics::new();
        let log = open(Path::new("/dev/full"), &metrics);
        let id = |number: u32| crate::session::SessionId::parse(format!("{number:022}").as_bytes()).expect("an id");
        for round in 0..200_000 {
            log.record(event(AuditType::IdentitySpoofed).of_session(id(round % 4)));
        }
        for source in 0..100_000 {
            log.record(event(AuditType::SessionRejected).of_session(id(source)));
        }
        for _ in 0..30_000 {
            log.record(event(AuditType::SessionCreated));
        }
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 0\n"));
        assert!(log.shutdown(LONG));
    }

    #[test]
    fn many_sources_of_what_can_be_repeated_leave_room_for_the_rest() {
        let metrics = Metrics::new();
        let log = without_writer_and_with_room(&metrics, 400);
        for source in 0..1000_u16 {
            let [high, low] = source.to_be_bytes();
            let event =
                AuditEvent { address: Some(IpAddr::from([192, 0, high, low])), ..event(AuditType::LoginFailed) };
            log.record(event);
        }
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 900\n"));
        for _ in 0..300 {
            log.record(event(AuditType::SessionCreated));
        }
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 900\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_action_waits_for_room_in_the_queue() {
        let metrics = Metrics::new();
        let log = without_writer(&metrics);
        for _ in 0..2 {
            log.record(event(AuditType::SessionCreated));
        }
        let action = log.record_durably(event(AuditType::AdminCalled));
        let writer = async {
            let mut entries = Vec::new();
            // Meanwhile the action waits.
            tokio::time::sleep(Duration::from_secs(4)).await;
            log.shared.queue.take(&mut entries, Duration::ZERO);
            assert_eq!(entries.len(), 2);
            log.shared.room.notify_waiters();
            while entries.last().is_none_or(|entry| entry.confirmed.is_none()) {
                tokio::task::yield_now().await;
                log.shared.queue.take(&mut entries, Duration::ZERO);
            }
            for confirmed in entries.drain(..).filter_map(|entry| entry.confirmed) {
                confirmed.send(Ok(())).expect("it waits");
            }
        };
        assert_eq!(tokio::join!(action, writer).0, Ok(()));
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 0\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_action_is_told_when_there_was_no_room_in_time() {
        let metrics = Metrics::new();
        let log = without_writer(&metrics);
        for _ in 0..2 {
            log.record(event(AuditType::SessionCreated));
        }
        assert_eq!(log.record_durably(event(AuditType::AdminCalled)).await, Err(AuditUnavailable));
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 1\n"));
    }

    #[test]
    fn what_the_queue_cannot_hold_is_counted_and_never_waited_for() {
        let metrics = Metrics::new();
        // No writer: as if the disk hung.
        let log = without_writer(&metrics);
        for _ in 0..5 {
            log.record(event(AuditType::SessionCreated));
        }
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 3\n"));
        assert!(!log.shutdown(Duration::ZERO), "what hangs is given up after its time");
    }
}
