//! Idle connections to one peer: last in, first out, few, and not for long.
//!
//! An idle connection may be closed by the backend at any moment; one that was seen closed, which is looked for when it
//! is taken, is never handed out. What happens when it closes just as a request is written is decided in `send`.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::connection::Connection;
use crate::clock::{Monotonic, SharedClock};

/// The most idle connections kept to one peer.
pub(super) const MAX_IDLE: usize = 128;

/// The idle connections to one peer.
pub(super) struct Pool {
    keepalive: Duration,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    idle: Vec<Idle>,
    /// A task drops what has been idle for too long; it lives only while there is something to drop.
    reaping: bool,
}

struct Idle {
    until: Monotonic,
    connection: Box<Connection>,
}

impl Pool {
    pub(super) fn new(keepalive: Duration, clock: SharedClock) -> Self {
        Self { keepalive, clock, state: Mutex::default() }
    }

    /// The connection that was used last, if it can take a request now.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let mut last = self.state.lock().idle.pop()?;
            if self.clock.monotonic() < last.until && last.connection.is_ready() {
                return Some(last.connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        connection.rest();
        let mut state = self.state.lock();
        if state.idle.len() >= MAX_IDLE {
            state.idle.remove(0);
        }
        state.idle.push(Idle { until: self.clock.monotonic().after(self.keepalive), connection });
        if !state.reaping {
            state.reaping = true;
            tokio::spawn(reap(Arc::downgrade(self), self.keepalive));
        }
    }

    /// Drops what has been idle for too long; the time until there may be more to drop, `None` when the pool is empty.
    fn reap_once(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        state.idle.retain(|idle| now < idle.until);
        let next = state.idle.first().map(|oldest| oldest.until.since(now));
        state.reaping = next.is_some();
        next
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("keepalive", &self.keepalive).finish_non_exhaustive()
    }
}

async fn reap(pool: Weak<Pool>, keepalive: Duration) {
    let mut wait = keepalive;
    loop {
        sleep(wait).await;
        let Some(next) = pool.upgrade().and_then(|pool| pool.reap_once()) else { return };
        wait = next;
    }
}
