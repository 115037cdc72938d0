//! The one thread that writes: batches, confirmations by the disk, rotation, and a disk that refuses.
//!
//! What the disk has confirmed goes to the [`Outbox`](super::outbox::Outbox) as well, from where [`super::share`] takes
//! it to the store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Head, InstanceId};
use super::file::Output;
use super::waiting::{AuditUnavailable, Entry, Waiting};
use crate::clock::Monotonic;
use crate::entropy::SharedEntropy;

/// The least time between two confirmations by the disk, unless somebody waits for one.
const BATCH: Duration = Duration::from_millis(100);
/// How often an idle writer looks for finished minutes and rotation, and how long it waits after an error.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) shared: Arc<Waiting>,
    pub(super) output: Output,
    pub(super) entropy: SharedEntropy,
    /// How many events were ever taken from the queue.
    pub(super) taken: u64,
    /// When the disk last confirmed what was written.
    pub(super) confirmed: Monotonic,
}

impl Writer {
    /// Until the log is closed and all of it was handled.
    pub(super) fn run(mut self) {
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

/// The beginning of a chain that nobody has begun before.
pub(super) fn fresh_chain(entropy: &SharedEntropy) -> io::Result<Head> {
    let mut random = [0; 9];
    entropy.fill(&mut random).map_err(io::Error::other)?;
    Ok(Head::start_of(InstanceId::of_random(random)))
}
