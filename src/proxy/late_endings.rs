//! The endings that the store did not take yet: how many wait, and whether there is room for more. `events` tries them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Endings that may wait before no further event begins. Each holds its request's facts, a head at most.
const MOST_WAITING: usize = 1024;

/// The endings that the store did not take, and does not take up by itself: they are tried again.
#[derive(Debug, Default)]
pub(super) struct Endings {
    waiting: AtomicUsize,
    refusing: AtomicBool,
}

/// One of them.
pub(super) struct Waiting(Arc<Endings>);

impl Endings {
    /// Whether a further event may begin; says it when that changes.
    pub(super) fn has_room(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let full = waiting >= MOST_WAITING;
        if self.refusing.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(waiting, "so many endings wait for the store that no event begins");
            } else {
                tracing::info!(waiting, "events begin again");
            }
        }
        !full
    }

    /// Counts one more, until what is answered is dropped.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_begins_while_too_many_endings_wait() {
        let endings = Arc::new(Endings::default());
        let mut waiting: Vec<_> = (1..MOST_WAITING).map(|_| endings.wait()).collect();
        assert!(endings.has_room());
        waiting.push(endings.wait());
        assert!(!endings.has_room());
        waiting.pop();
        assert!(endings.has_room(), "one of them was taken");
    }
}
