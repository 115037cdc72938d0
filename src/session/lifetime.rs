//! Lifetime arithmetic: idle time-out, absolute deadline, and when a use must be written down (docs/behaviour.md,
//! "Time-outs, exactly"; ADR 0005).
//!
//! The store keeps one *touch deadline* D per session: the recorded touch plus idle limit I plus granularity g. From D
//! the recorded touch can be read back, so a use at time `a` knows its *age* (the time since the recorded touch):
//!
//! | age of the recorded touch | what is done |
//! |---|---|
//! | up to g/2 | nothing: D is still at least a + I + g/2 |
//! | up to g − δ | the touch is queued; should it be lost, D is still at least a + I + δ |
//! | more | the touch is written before the request is answered |
//!
//! So a request is never refused within I of the last accepted one, and never accepted more than I + g after it, on
//! any instance, whatever crashes.

use std::time::Duration;

use super::StoreTime;

/// An idle time-out and the granularity that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdleLimit(Duration);

impl IdleLimit {
    /// An idle time-out of `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self(limit)
    }

    /// The idle time-out, I.
    #[must_use]
    pub const fn limit(self) -> Duration {
        self.0
    }

    /// How much later than I an idle session may still be accepted: g = min(60 s, I/30).
    #[must_use]
    pub fn granularity(self) -> Duration {
        (self.0 / 30).min(Duration::from_secs(60))
    }

    /// δ: what is kept in hand for the latency between the request and the store, and for not knowing the store's time
    /// exactly.
    #[must_use]
    pub fn margin(self) -> Duration {
        (self.granularity() / 4).min(Duration::from_secs(1))
    }

    /// The touch deadline that a use at `used` writes: `used + I + g`.
    #[must_use]
    pub fn deadline_of_use_at(self, used: StoreTime) -> StoreTime {
        used.after(self.0 + self.granularity())
    }

    /// The use that a touch deadline records.
    #[must_use]
    pub fn use_recorded_by(self, touch_deadline: StoreTime) -> StoreTime {
        touch_deadline.before(self.0 + self.granularity())
    }

    /// What a use at `now` must do, given the recorded touch deadline.
    #[must_use]
    pub fn plan(self, touch_deadline: StoreTime, now: StoreTime) -> TouchPlan {
        let age = now.since(self.use_recorded_by(touch_deadline));
        if age <= self.granularity() / 2 {
            TouchPlan::Nothing
        } else if age <= self.granularity().saturating_sub(self.margin()) {
            TouchPlan::Queue(self.deadline_of_use_at(now))
        } else {
            TouchPlan::Now(self.deadline_of_use_at(now))
        }
    }
}

/// What a use must write down, and how urgently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPlan {
    /// The recorded touch is recent enough.
    Nothing,
    /// Write this touch deadline soon; nothing is wrong should it be lost.
    Queue(StoreTime),
    /// Write this touch deadline before answering.
    Now(StoreTime),
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

    #[test]
    fn the_granularity_is_a_thirtieth_and_at_most_a_minute() {
        for (idle, granularity) in [(30, 1), (900, 30), (1800, 60), (86_400, 60)] {
            let limit = IdleLimit::new(Duration::from_secs(idle));
            assert_eq!(limit.granularity(), Duration::from_secs(granularity), "idle {idle} s");
        }
    }

    #[test]
    fn a_touch_deadline_gives_back_the_use_it_records() {
        let limit = IdleLimit::new(Duration::from_secs(1800));
        assert_eq!(limit.use_recorded_by(limit.deadline_of_use_at(START)), START);
    }

    #[test]
    fn a_use_is_written_the_more_urgently_the_older_the_recorded_one() {
        let limit = IdleLimit::new(Duration::from_secs(1800));
        let recorded = limit.deadline_of_use_at(START);
        let at = |seconds| START.after(Duration::from_secs(seconds));
        assert_eq!(limit.plan(recorded, at(30)), TouchPlan::Nothing);
        assert_eq!(limit.plan(recorded, at(31)), TouchPlan::Queue(limit.deadline_of_use_at(at(31))));
        assert_eq!(limit.plan(recorded, at(59)), TouchPlan::Queue(limit.deadline_of_use_at(at(59))));
        assert_eq!(limit.plan(recorded, at(60)), TouchPlan::Now(limit.deadline_of_use_at(at(60))));
        assert_eq!(limit.plan(recorded, at(1859)), TouchPlan::Now(limit.deadline_of_use_at(at(1859))));
    }
}
