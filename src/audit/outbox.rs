//! What the writer hands on to the store: the lines that the disk has confirmed, and where the chain stands with them.
//!
//! Bounded: while the store does not take them, the oldest lines are given up and counted. The file has them all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::chain::{Head, Sealed};
use crate::store::audit::SharedLine;
use crate::telemetry::metrics::AuditMetrics;

/// Lines that wait for the store, and their bytes.
const MOST_LINES: usize = 50_000;
const MOST_BYTES: usize = 32 << 20;

/// Between the writer's thread and the task that talks to the store.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// Whether lines are kept at all.
    shared: bool,
    arrived: Notify,
    new_chain: AtomicBool,
    metrics: AuditMetrics,
}

#[derive(Debug)]
struct State {
    head: Head,
    lines: VecDeque<SharedLine>,
    bytes: usize,
    lost: u64,
}

impl Outbox {
    pub(super) fn at(head: Head, shared: bool, metrics: AuditMetrics) -> Self {
        let state = State { head, lines: VecDeque::new(), bytes: 0, lost: 0 };
        Self { state: Mutex::new(state), shared, arrived: Notify::new(), new_chain: AtomicBool::new(false), metrics }
    }

    /// Takes lines that are on disk, and where the chain stands with them.
    pub(super) fn put(&self, lines: &[u8], head: Head) {
        let mut lost = 0;
        {
            let mut state = self.state.lock();
            state.head = head;
            if !self.shared || lines.is_empty() {
                return;
            }
            for line in lines.split(|byte| *byte == b'\n') {
                let Some(Sealed { head: Head { instance, seq, .. }, .. }) = Sealed::read(line) else { continue };
                state.bytes += line.len();
                state.lines.push_back(SharedLine { instance: instance.to_string(), seq, line: line.into() });
            }
            while state.lines.len() > MOST_LINES || state.bytes > MOST_BYTES {
                let Some(oldest) = state.lines.pop_front() else { break };
                state.bytes -= oldest.line.len();
                lost += 1;
            }
            state.lost += lost;
        }
        if lost > 0 {
            self.metrics.unshared(lost);
        }
        self.arrived.notify_one();
    }

    /// Where the chain stands on disk.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state.lock().head
    }

    /// Up to `count` lines, the oldest first. They stay until [`sent`](Self::sent).
    pub(super) fn next(&self, count: usize) -> Vec<SharedLine> {
        self.state.lock().lines.iter().take(count).cloned().collect()
    }

    /// These need not be kept any longer.
    pub(super) fn sent(&self, lines: &[SharedLine]) {
        let mut state = self.state.lock();
        for line in lines {
            // Some may have been given up meanwhile.
            if state.lines.front().is_some_and(|front| front.seq == line.seq && front.instance == line.instance) {
                state.lines.pop_front();
                state.bytes -= line.line.len();
            }
        }
    }

    /// How many lines wait.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().lines.len()
    }

    /// How many were given up since this was last asked.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.state.lock().lost)
    }

    /// Waits for lines.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// The next line begins a new chain: the store remembers this one otherwise.
    pub(super) fn want_new_chain(&self) {
        self.new_chain.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_new_chain_wanted(&self) -> bool {
        self.new_chain.load(Ordering::Relaxed)
    }

    pub(super) fn chain_begun(&self, fresh: Head) {
        self.state.lock().head = fresh;
        self.new_chain.store(false, Ordering::Relaxed);
    }
}
