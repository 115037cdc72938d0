//! Write-behind for touches that may wait ([`TouchPlan::Queue`](crate::session::TouchPlan::Queue)).
//!
//! Only touches whose loss changes nothing come here (see [`crate::session::IdleLimit::plan`]), so a failed write is
//! counted and forgotten. Bounded: what does not fit is for the caller to write at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::observe::{CallOutcome, SharedObserver};
use super::{SharedStore, Touch};
use crate::session::{SessionId, StoreTime};

/// How long touches are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// Touches in one write.
const BATCH: usize = 500;
/// Sessions that may wait by default.
pub const DEFAULT_CAPACITY: usize = 20_000;

/// What became of a touch that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Queued {
    /// It will be written soon.
    Yes,
    /// There is no room: write it before answering.
    Full,
}

/// The queue, with the task that empties it.
pub struct TouchQueue {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    store: SharedStore,
    observer: SharedObserver,
    capacity: usize,
    state: Mutex<State>,
    /// Rung when there is something to write.
    filled: Notify,
    /// Held while a batch is written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The latest deadline of each session.
    waiting: HashMap<SessionId, StoreTime>,
    /// What is being written now.
    in_flight: HashSet<SessionId>,
}

impl TouchQueue {
    /// Starts a queue for up to `capacity` sessions before `store`. Needs a tokio runtime.
    #[must_use]
    pub fn start(store: SharedStore, observer: SharedObserver, capacity: usize) -> Self {
        let inner = Arc::new(Inner {
            store,
            observer,
            capacity,
            state: Mutex::default(),
            filled: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        });
        let emptied = Arc::clone(&inner);
        let task = tokio::spawn(async move { emptied.keep_empty().await });
        Self { inner, task }
    }

    /// Takes a touch, unless there is no room. Of several for one session the latest deadline is kept; while one is
    /// being written, a further one is left out, as if it had been lost: it would be a second write for the same use.
    pub fn push(&self, touch: Touch) -> Queued {
        let mut state = self.inner.state.lock();
        if let Some(deadline) = state.waiting.get_mut(&touch.id) {
            *deadline = touch.deadline.max(*deadline);
            return Queued::Yes;
        }
        if state.in_flight.contains(&touch.id) {
            return Queued::Yes;
        }
        if state.waiting.len() >= self.inner.capacity {
            return Queued::Full;
        }
        state.waiting.insert(touch.id, touch.deadline);
        drop(state);
        self.inner.filled.notify_one();
        Queued::Yes
    }

    /// Drops what waits for a session, and waits out what is being written: after it, no touch that was queued before
    /// reaches the store. For use before [`tighten`](super::SessionStore::tighten), whose deadline a longer one must
    /// not overtake.
    pub async fn forget(&self, id: SessionId) {
        let in_flight = {
            let mut state = self.inner.state.lock();
            state.waiting.remove(&id);
            state.in_flight.contains(&id)
        };
        if in_flight {
            drop(self.inner.writing.lock().await);
        }
    }

    /// Writes all that waits, for the drain.
    pub async fn flush(&self) {
        self.inner.flush().await;
    }

    /// How many sessions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.state.lock().waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for TouchQueue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    /// Flushes a moment after something came in.
    async fn keep_empty(&self) {
        loop {
            self.filled.notified().await;
            sleep(GATHER).await;
            self.flush().await;
        }
    }

    async fn flush(&self) {
        let _writing = self.writing.lock().await;
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let written = self.store.touch(&batch).await;
            self.state.lock().in_flight.clear();
            match written {
                Ok(_) => self.observer.command("touch_flush", CallOutcome::Ok),
                Err(error) => {
                    self.observer.command("touch_flush", CallOutcome::Lost);
                    tracing::debug!(%error, touches = batch.len(), "queued touches were lost, which ends no session");
                }
            }
        }
    }

    fn take(&self) -> Vec<Touch> {
        let mut state = self.state.lock();
        let ids: Vec<SessionId> = state.waiting.keys().take(BATCH).copied().collect();
        let mut batch = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(deadline) = state.waiting.remove(&id) {
                state.in_flight.insert(id);
                batch.push(Touch { id, deadline });
            }
        }
        batch
    }
}
