//! What waits for the disk, and how the disk does: what those who record and the one who writes share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::aggregate::Aggregator;
use super::event::AuditEvent;
use super::outbox::Outbox;
use crate::clock::SharedClock;
use crate::queue::{Class, Queue, Refused, Urgency};
use crate::telemetry::metrics::AuditMetrics;

/// A line is not known to be on disk. It may still be written later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log could not confirm the line")]
pub struct AuditUnavailable;

/// An event on its way, and who waits for it.
pub(super) struct Entry {
    pub(super) event: AuditEvent,
    pub(super) confirmed: Option<oneshot::Sender<Result<(), AuditUnavailable>>>,
}

/// It.
pub(super) struct Waiting {
    pub(super) queue: Queue<Entry>,
    /// Rung when the queue was emptied.
    pub(super) room: Notify,
    pub(super) outbox: Arc<Outbox>,
    pub(super) repeats: Mutex<Aggregator>,
    pub(super) clock: SharedClock,
    pub(super) metrics: AuditMetrics,
    unsaid_drops: AtomicU64,
    /// How many of the events that were ever queued are in the file.
    pub(super) written: watch::Sender<u64>,
    /// The disk refuses.
    failing: AtomicBool,
    /// The disk hangs.
    hanging: AtomicBool,
}

impl Waiting {
    pub(super) fn new(clock: SharedClock, metrics: AuditMetrics, outbox: Arc<Outbox>, most_waiting: usize) -> Self {
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

    pub(super) fn push(&self, class: Class, entry: Entry) {
        if self.queue.push_as(class, entry, 1, Urgency::Batched).is_err() {
            self.note_drop();
        }
    }

    /// Says once that a write takes too long.
    pub(super) fn hangs(&self) {
        if !self.hanging.swap(true, Ordering::Relaxed) {
            tracing::error!("the audit log's disk hangs; events are kept, and answers do not wait for them");
        }
    }

    /// So many of the events that were ever queued are in the file.
    pub(super) fn wrote(&self, count: u64) {
        if self.hanging.swap(false, Ordering::Relaxed) {
            tracing::info!("the audit log's disk hangs no longer");
        }
        self.written.send_replace(count);
    }

    pub(super) fn note_drop(&self) {
        self.metrics.dropped(1);
        self.unsaid_drops.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for room as long as it is polled. Answers where the writer's confirmation will come out.
    pub(super) async fn push_when_there_is_room(
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

    pub(super) fn say_drops(&self) {
        let dropped = self.unsaid_drops.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::error!(dropped, "audit events were lost: the audit log was full or closed");
        }
    }

    /// Notes how the last write went; says it when that changed.
    pub(super) fn note(&self, outcome: &io::Result<()>) {
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

    /// Whether the disk is refusing lines now, or hangs.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) || self.hanging.load(Ordering::Relaxed)
    }
}
