//! The embedded store's own clock.
//!
//! Anchored once, at opening, to the later of the wall time and the last time that was written down; from there it runs
//! on the monotonic clock. So it never steps back: not with the wall clock, and not across restarts.

use crate::clock::{Monotonic, SharedClock};
use crate::session::StoreTime;

pub(super) struct StoreClock {
    clock: SharedClock,
    opened: Monotonic,
    anchor: StoreTime,
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
        Self { opened: clock.monotonic(), anchor: last.max(wall), clock }
    }

    pub(super) fn now(&self) -> StoreTime {
        self.anchor.after(self.clock.monotonic().since(self.opened))
    }
}
