//! What this gateway knows of the server's clock without asking: for what is written down before the server is asked.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Monotonic;
use crate::session::StoreTime;

/// By how much in a thousand two clocks that both keep time may come apart.
const DRIFT: u32 = 1;

/// The last time that the server told.
#[derive(Default)]
pub(super) struct ServerTime(Mutex<Option<Seen>>);

struct Seen {
    asked: Monotonic,
    told: StoreTime,
}

impl ServerTime {
    /// The server told its time when asked at `asked`.
    pub(super) fn saw(&self, asked: Monotonic, told: StoreTime) {
        *self.0.lock() = Some(Seen { asked, told });
    }

    /// The latest that it can be on the server's clock; `None` if it never told. It is no later than that by as long as
    /// its last answer took, and by the drift since: in doubt a session that was made in this moment ends.
    pub(super) fn latest(&self, now: Monotonic) -> Option<StoreTime> {
        let seen = self.0.lock();
        let Seen { asked, told } = seen.as_ref()?;
        let since = now.since(*asked);
        Some(told.after(since).after(since / 1000 * DRIFT).after(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock, WallTime};

    #[test]
    fn the_servers_clock_goes_on_from_what_it_told_last() {
        let clock = ManualClock::starting_at(WallTime::from_micros(5));
        let time = ServerTime::default();
        assert_eq!(time.latest(clock.monotonic()), None);
        let told = StoreTime::from_micros(1_700_000_000_000_000);
        time.saw(clock.monotonic(), told);
        assert_eq!(time.latest(clock.monotonic()), Some(told.after(Duration::from_millis(1))));
        clock.advance(Duration::from_secs(1000));
        // A step of the wall clock is nothing to it.
        clock.step_wall(WallTime::from_micros(1));
        let latest = time.latest(clock.monotonic()).expect("it told");
        assert_eq!(latest, told.after(Duration::from_millis(1_001_001)));
        time.saw(clock.monotonic(), told);
        assert_eq!(
            time.latest(clock.monotonic()),
            Some(told.after(Duration::from_millis(1))),
            "its clock was set back"
        );
    }
}
