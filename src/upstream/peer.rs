//! One peer of an upstream: its address, its idle connections, and whether it failed just now.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::yield_now;

use super::address::PeerAddress;
use super::dial::{Connection, dial};
use super::pool::Pool;
use super::resolve::Addresses;
use crate::clock::{Monotonic, SharedClock, micros};

/// How long a peer that could not be connected is tried last.
const REST: Duration = Duration::from_secs(1);

/// One peer.
pub(super) struct Peer {
    address: PeerAddress,
    clock: SharedClock,
    /// Microseconds on the clock until which it is tried last; 0 when it never failed.
    rests_until: AtomicU64,
    origin: Monotonic,
    names: Addresses,
    pool: Option<Arc<Pool>>,
}

impl Peer {
    pub(super) fn new(address: PeerAddress, keepalive: Option<Duration>, clock: SharedClock) -> Self {
        let pool = keepalive.map(|keepalive| Arc::new(Pool::new(keepalive, Arc::clone(&clock))));
        Self {
            address,
            origin: clock.monotonic(),
            names: Addresses::new(Arc::clone(&clock)),
            clock,
            rests_until: AtomicU64::new(0),
            pool,
        }
    }

    pub(super) const fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Where its connections go when they are done; `None` when none is kept.
    pub(super) const fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// Whether it could not be connected just now.
    pub(super) fn rests(&self) -> bool {
        self.now() < self.rests_until.load(Ordering::Relaxed)
    }

    /// An idle connection, if there is one. For a request that must not be repeated a closing that the kernel knows
    /// of is looked for first: one turn of the runtime lets the connections' tasks see it, and costs less than an
    /// order that may or may not have arrived.
    pub(super) async fn idle_connection(&self, repeatable: bool) -> Option<Connection> {
        let pool = self.pool.as_ref()?;
        loop {
            let connection = pool.take()?;
            if repeatable {
                return Some(connection);
            }
            yield_now().await;
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    pub(super) async fn fresh_connection(&self, limit: Duration) -> io::Result<Connection> {
        let dialled = dial(&self.address, &self.names, limit).await;
        let rests_until = if dialled.is_ok() { 0 } else { self.now() + micros(REST) };
        self.rests_until.store(rests_until, Ordering::Relaxed);
        dialled
    }

    fn now(&self) -> u64 {
        micros(self.clock.monotonic().since(self.origin))
    }
}
