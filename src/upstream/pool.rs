//! Idle connections to one peer: last in, first out, few, and not for long.
//!
//! An idle connection may be closed by the backend at any moment; one that was seen closed, which is looked for when it
//! is taken, is never handed out. What happens when it closes just as a request is written is decided in `send`.
//!
//! A peer that wrote what belongs to no answer does not keep to the ends that it states. That was seen in time once, and
//! may not be the next time: none of its connections is used again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::connection::{Connection, Idle as Found};
use crate::clock::{Monotonic, SharedClock};

/// How long nothing must have come on a connection before it is used again. What a backend writes beyond the length that
/// it stated comes with the answer or right behind it.
const QUIET: Duration = Duration::from_millis(1);

/// How idle connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// For how long.
    pub idle: Duration,
    /// From when on they are used again: so long after an answer, if nothing has come since.
    pub quiet: Duration,
}

impl Keepalive {
    /// Kept for so long.
    #[must_use]
    pub const fn of(idle: Duration) -> Self {
        Self { idle, quiet: QUIET }
    }
}

/// The most idle connections kept to one peer. Each rests for 1 ms ([`Keepalive`]), so that at 60,000 requests a second
/// sixty rest at any time: were fewer kept, there would be none to use again.
pub const MAX_IDLE: usize = 128;

/// The idle connections to one peer.
pub(super) struct Pool {
    /// Whose it is, for the log: the upstream's name and the peer's address.
    upstream: Arc<str>,
    peer: String,
    keepalive: Keepalive,
    clock: SharedClock,
    is_distrusted: AtomicBool,
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
    from: Monotonic,
    until: Monotonic,
    connection: Box<Connection>,
}

impl Pool {
    pub(super) fn new(upstream: Arc<str>, peer: String, keepalive: Keepalive, clock: SharedClock) -> Self {
        Self { upstream, peer, keepalive, clock, is_distrusted: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Whether connections are kept.
    pub(super) fn is_open(&self) -> bool {
        !self.is_distrusted.load(Ordering::Relaxed)
    }

    /// The connection that was used last and has been quiet since, if it can take a request now: nothing must wait between
    /// this and its first byte.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let now = self.clock.monotonic();
            let mut found = {
                let mut state = self.state.lock();
                let last = state.idle.partition_point(|idle| idle.from <= now).checked_sub(1)?;
                state.idle.remove(last)
            };
            if now >= found.until {
                continue;
            }
            match found.connection.look() {
                Found::Quiet => return Some(found.connection),
                Found::Ended => {}
                Found::Spoke => self.distrust(),
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        connection.rest();
        let mut state = self.state.lock();
        // Under the lock: whoever distrusts the peer empties the pool under it afterwards.
        if !self.is_open() {
            return;
        }
        if state.idle.len() >= MAX_IDLE {
            state.idle.remove(0);
        }
        let (now, Keepalive { idle, quiet }) = (self.clock.monotonic(), self.keepalive);
        state.idle.push(Idle { from: now.after(quiet), until: now.after(idle), connection });
        if !state.reaping {
            state.reaping = true;
            tokio::spawn(reap(Arc::downgrade(self), idle));
        }
    }

    /// The peer wrote what belongs to no answer.
    pub(super) fn distrust(&self) {
        if self.is_distrusted.swap(true, Ordering::Relaxed) {
            return;
        }
        self.state.lock().idle.clear();
        tracing::warn!(
            upstream = &*self.upstream,
            peer = self.peer,
            "a backend wrote more than the answers that it was asked for; its connections are not used again until the next start or reload"
        );
    }

    /// Drops what has been idle for too long; the time until there may be more to drop, `None` when the pool is empty.
    fn reap_once(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        // The oldest come first. What they were sent until now is looked at before they go.
        let fresh = state.idle.partition_point(|idle| now >= idle.until);
        let spoke = state.idle.drain(..fresh).any(|mut idle| idle.connection.look() == Found::Spoke);
        let next = state.idle.first().map(|oldest| oldest.until.since(now));
        state.reaping = next.is_some();
        drop(state);
        if spoke {
            self.distrust();
        }
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
