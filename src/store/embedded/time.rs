//! The embedded store's own clock.
//!
//! Anchored once, at opening, to the later of the wall time and the last time that was written down; from there it runs
//! on the monotonic clock. So it never steps back: not with the wall clock, and not across restarts. Logins and revocations
//! have an order of their own, so that two in one microsecond are not at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Monotonic, SharedClock};
use crate::session::StoreTime;

pub(super) struct StoreClock {
    clock: SharedClock,
    opened: Monotonic,
    anchor: StoreTime,
    /// The last moment (µs) in the order of logins and revocations.
    last: AtomicU64,
}

impl StoreClock {
    /// Starts where the last run stopped, or now, whichever is later.
    pub(super) fn starting_after(last: StoreTime, clock: SharedClock) -> Self {
        let wall = StoreTime::from_micros(clock.wall().as_micros());
        if last > wall {
            tracing::warn!(
                ahead_seconds = last.since(wall).as_secs(),
                "the wall clock is behind the session store's: the store goes on with its own time"
            );
        }
        Self { opened: clock.monotonic(), anchor: last.max(wall), clock, last: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> StoreTime {
        self.anchor.after(self.clock.monotonic().since(self.opened))
    }

    /// A moment for a login to begin at.
    pub(super) fn begin(&self) -> StoreTime {
        self.next(0)
    }

    /// A moment for a revocation: after every login that has begun.
    pub(super) fn revoke(&self) -> StoreTime {
        self.next(1)
    }

    fn next(&self, by: u64) -> StoreTime {
        let now = self.now().as_micros();
        let next = |last: u64| now.max(last.saturating_add(by));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        StoreTime::from_micros(last.map_or(now, next))
    }
}
