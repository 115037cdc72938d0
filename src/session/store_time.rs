//! The store's clock: the only time that decides about sessions.

use std::time::Duration;

use crate::clock::{micros, rfc3339};

/// A point on the store's clock, in microseconds since the Unix epoch. The only time that decides about sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTime(u64);

impl StoreTime {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded up: a deadline in milliseconds is never early.
    #[must_use]
    pub const fn as_millis_rounded_up(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// `self` moved on by `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// `self` moved back by `by`.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        rfc3339(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_milliseconds_is_never_early() {
        assert_eq!(StoreTime::from_micros(1_001).as_millis_rounded_up(), 2);
        assert_eq!(StoreTime::from_micros(1_000).as_millis_rounded_up(), 1);
    }
}
