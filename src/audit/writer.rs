//! The audit log at work: a bounded queue, and one thread that writes, confirms and follows rotation.
//!
//! [`AuditLog::record`] never waits for the disk. [`AuditLog::record_durably`] does: its line is on disk when it
//! returns. Nothing is lost silently: what does not fit the queue is counted, and the count is logged. A disk that
//! refuses is said once when it starts and once when it ends, and what it refused is kept and tried again.
//!
//! Events that anyone can cause are counted before the queue, so that a flood of them never pushes out the line of a
//! session.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::aggregate::{Aggregator, is_repeatable};
use super::event::AuditEvent;
use super::file::Output;
use crate::clock::SharedClock;
use crate::queue::{Queue, Urgency};
use crate::telemetry::metrics::AuditMetrics;

/// How many events may wait for the disk.
const MOST_WAITING: usize = 65_536;
/// The least time between two confirmations by the disk, unless somebody waits for one.
const BATCH: Duration = Duration::from_millis(100);
/// How often an idle writer looks for finished minutes and rotation, and how long it waits after an error.
const TICK: Duration = Duration::from_secs(1);
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
    repeats: Mutex<Aggregator>,
    clock: SharedClock,
    metrics: AuditMetrics,
    unsaid_drops: AtomicU64,
    failing: AtomicBool,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuditLog").field("failing", &self.is_failing()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be made, read or appended to.
    pub fn open(target: AuditTarget, clock: SharedClock, metrics: AuditMetrics) -> Result<Self, AuditOpenError> {
        let output = match target {
            AuditTarget::Stdout => Output::to_stdout(),
            AuditTarget::File(path) => Output::to_file(path.clone(), clock.monotonic())
                .map_err(|source| AuditOpenError::File { path, source })?,
        };
        let shared = Arc::new(Shared::new(clock, metrics, MOST_WAITING));
        let writer = Writer { shared: Arc::clone(&shared), output };
        std::thread::Builder::new().name("audit".into()).spawn(|| writer.run()).map_err(AuditOpenError::Thread)?;
        Ok(Self { shared })
    }

    /// Records an event without waiting. An event that anyone can cause is counted by minute (see
    /// [`super::aggregate`]).
    pub fn record(&self, event: AuditEvent) {
        let event = if is_repeatable(&event) {
            let now = self.shared.clock.wall();
            let admitted = self.shared.repeats.lock().admit(event, now);
            let Some(event) = admitted else { return };
            event
        } else {
            event
        };
        // Whatever was lost is counted where it is lost.
        let _ = self.shared.push(Entry { event, confirmed: None }, Urgency::Batched);
    }

    /// Records an event, a line of its own, and waits until it is on disk.
    ///
    /// # Errors
    /// When that cannot be confirmed within 5 s, or the disk is refusing. The line is written once the disk takes lines
    /// again, unless the queue was full.
    pub async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditUnavailable> {
        if self.is_failing() {
            self.shared.push(Entry { event, confirmed: None }, Urgency::Batched)?;
            return Err(AuditUnavailable);
        }
        let (confirm, confirmed) = oneshot::channel();
        self.shared.push(Entry { event, confirmed: Some(confirm) }, Urgency::Now)?;
        match tokio::time::timeout(DURABLE_WITHIN, confirmed).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(AuditUnavailable),
        }
    }

    /// Whether the disk is refusing lines now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
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
    fn new(clock: SharedClock, metrics: AuditMetrics, most_waiting: usize) -> Self {
        Self {
            queue: Queue::new(most_waiting),
            repeats: Mutex::default(),
            clock,
            metrics,
            unsaid_drops: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    fn push(&self, entry: Entry, urgency: Urgency) -> Result<(), AuditUnavailable> {
        self.queue.push(entry, 1, urgency).map_err(|_| {
            self.metrics.dropped(1);
            self.unsaid_drops.fetch_add(1, Ordering::Relaxed);
            AuditUnavailable
        })
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

struct Writer {
    shared: Arc<Shared>,
    output: Output,
}

impl Writer {
    fn run(mut self) {
        let mut entries = Vec::new();
        loop {
            let open = self.shared.queue.take(&mut entries, TICK);
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
        for event in entries.iter().map(|entry| &entry.event).chain(&repeats) {
            event.write_line(self.output.lines());
        }
        let outcome = self.output.flush(self.shared.clock.monotonic());
        self.shared.note(&outcome);
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

    /// Tries again each second. Meanwhile nothing more is taken from the queue: what is kept stays bounded.
    fn retry_until_written(&mut self) {
        loop {
            self.shared.queue.hold(TICK);
            if self.shared.queue.is_closed() {
                return;
            }
            let outcome = self.output.flush(self.shared.clock.monotonic());
            self.shared.note(&outcome);
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
        AuditLog::open(AuditTarget::File(path.to_path_buf()), clock(), metrics.audit()).expect("opens")
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

    #[test]
    fn what_the_queue_cannot_hold_is_counted_and_never_waited_for() {
        let metrics = Metrics::new();
        // No writer: as if the disk hung.
        let log = AuditLog { shared: Arc::new(Shared::new(clock(), metrics.audit(), 2)) };
        for _ in 0..5 {
            log.record(event(AuditType::SessionCreated));
        }
        assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 3\n"));
        assert!(!log.shutdown(Duration::ZERO), "what hangs is given up after its time");
    }
}
