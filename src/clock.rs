//! Time as an argument.
//!
//! The only place that reads the machine's clocks (clippy bans them elsewhere). Session lifetimes do not come from
//! here: they are decided by the store's clock ([`crate::session::StoreTime`]). What does come from here are local
//! deadlines (time-outs, leases) and the wall time that logs and audit lines carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point on a clock that never steps and runs on through suspend (Linux: `CLOCK_BOOTTIME`), in microseconds since
/// an arbitrary start. Comparable only within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A point `micros` microseconds after the clock's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved on by `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// `self` moved back by `by`, as far as the clock's start.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// Microseconds since the clock's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

/// Wall time in microseconds since the Unix epoch. For people (logs, audit), never for a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// A wall time given in microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// RFC 3339 in UTC with milliseconds, as in `2026-11-21T08:30:00.123Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        rfc3339(self.0)
    }
}

/// RFC 3339 in UTC with milliseconds of a count of microseconds since the Unix epoch.
#[must_use]
pub fn rfc3339(micros_since_epoch: u64) -> String {
    let millis = i64::try_from(micros_since_epoch / 1000).unwrap_or(i64::MAX);
    let Ok(time) = jiff::Timestamp::from_millisecond(millis) else { return String::from("9999-12-31T23:59:59.999Z") };
    let time = jiff::tz::Offset::UTC.to_datetime(time);
    // Digit by digit: each request's line in the log has a time.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let fields = [
        (0..4, time.year()),
        (5..7, time.month().into()),
        (8..10, time.day().into()),
        (11..13, time.hour().into()),
        (14..16, time.minute().into()),
        (17..19, time.second().into()),
        (20..23, time.millisecond()),
    ];
    for (place, number) in fields {
        let mut rest = number;
        for digit in text.get_mut(place).into_iter().flatten().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    }
    String::from_utf8(text.to_vec()).unwrap_or_default()
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The clock for local deadlines.
    fn monotonic(&self) -> Monotonic;
    /// The clock for people.
    fn wall(&self) -> WallTime;
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(read(ClockId::Boottime))
    }

    fn wall(&self) -> WallTime {
        WallTime(read(ClockId::Realtime))
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall time is `wall` and whose monotonic time starts at zero.
    #[must_use]
    pub const fn starting_at(wall: WallTime) -> Self {
        Self { monotonic: AtomicU64::new(0), wall: AtomicU64::new(wall.0) }
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        self.monotonic.fetch_add(micros(by), Ordering::SeqCst);
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Steps the wall time alone, as an administrator or NTP may.
    pub fn step_wall(&self, to: WallTime) {
        self.wall.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.monotonic.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        WallTime(self.wall.load(Ordering::SeqCst))
    }
}

/// Whole microseconds of a duration, saturating.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_library_for_times_writes_it() {
        for millis in [0, 999, 951_782_399_999, 951_782_400_000, 1_790_000_000_123, 253_402_207_200_000] {
            let written = jiff::Timestamp::from_millisecond(millis).expect("a time");
            assert_eq!(rfc3339(millis.unsigned_abs() * 1000 + 999), format!("{written:.3}"));
        }
    }

    #[test]
    fn what_is_no_time_is_the_last_one() {
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
