//! The audit log, for those who record: a bounded queue in front of the one thread that writes.
//!
//! [`AuditLog::record`] never waits. [`AuditLog::written`] does, for all that was recorded before it: those lines are in
//! the file, and no end of this process loses them. [`AuditLog::record_durably`] waits for the disk: its line outlives the
//! machine's end. Nothing is lost silently: what does not fit the queue is counted, and the count is logged. A disk that
//! refuses is said once when it starts and once when it ends, and what it refused is kept and tried again.
//!
//! Events that a client can cause at will are counted before the queue and have a part of its room, so that a flood of
//! them never pushes out the line of a session.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::aggregate::is_repeatable;
use super::chain::ChainKey;
use super::event::AuditEvent;
use super::file::Output;
use super::key;
use super::outbox::Outbox;
use super::waiting::{AuditUnavailable, Entry, Waiting};
use super::writer::{Writer, fresh_chain};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::queue::Class;
use crate::secret::Secret;
use crate::telemetry::metrics::AuditMetrics;

/// How many events may wait for the disk.
const MOST_WAITING: usize = 65_536;
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
    #[error("the key of the audit log, {}, cannot be used: {source}; have the user of the gateway write to its folder, or set secrets.key (`session-gateway keygen`)", path.display())]
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

/// The audit log. Dropping it lets the writer finish on its own; [`shutdown`](Self::shutdown) waits for that.
pub struct AuditLog {
    shared: Arc<Waiting>,
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
        let shared = Arc::new(Waiting::new(clock, metrics, outbox, MOST_WAITING));
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
        self.shared.is_failing()
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

#[cfg(test)]
mod tests;
