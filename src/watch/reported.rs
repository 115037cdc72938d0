//! What front ends report, while it waits for the store, and who reported how much of late: both bounded.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Monotonic;
use crate::session::{SessionId, TenantId};
use crate::store::activities::Activity;

/// What waits at most, and so what the store gets in a second.
const MOST_WAITING: usize = 1000;
/// What is taken at once.
const AT_ONCE: usize = 20;
/// The sessions of which is known how much they reported in a minute.
const MOST_SESSIONS: usize = 100_000;
const MINUTE: Duration = Duration::from_secs(60);
/// What a session may report in a minute, in single reports; a batch stands for ten, however much is in it.
const MOST_A_MINUTE: u32 = 600;
/// What a batch stands for.
pub const OF_A_BATCH: u32 = 10;

/// What waits, and who reported how much.
#[derive(Default)]
pub(super) struct Reported {
    waiting: Mutex<Vec<(TenantId, Activity)>>,
    lately: Mutex<Lately>,
}

/// Which sessions asked for how much.
#[derive(Default)]
pub(super) struct Asked(Mutex<Lately>);

impl Asked {
    /// Counts something that a session asks for. Who has asked for too much is told when it may again.
    pub(super) fn count(&self, session: SessionId, weight: u32, now: Monotonic) -> Result<(), Duration> {
        self.0.lock().count(session, weight, now)
    }
}

/// Who reported how much in a minute.
#[derive(Default)]
struct Lately {
    /// When it began.
    began: Option<Monotonic>,
    counts: HashMap<SessionId, u32>,
}

impl Lately {
    /// Counts a report. Who has reported too much is told when the minute is over, and so is everybody who finds no room.
    fn count(&mut self, session: SessionId, weight: u32, now: Monotonic) -> Result<(), Duration> {
        let began = match self.began {
            Some(began) if now.since(began) < MINUTE => began,
            _ => {
                self.began = Some(now);
                self.counts.clear();
                now
            }
        };
        let left = MINUTE.saturating_sub(now.since(began));
        if self.counts.len() >= MOST_SESSIONS && !self.counts.contains_key(&session) {
            return Err(left);
        }
        let count = self.counts.entry(session).or_default();
        if count.saturating_add(weight) > MOST_A_MINUTE {
            return Err(left);
        }
        *count += weight;
        Ok(())
    }
}

impl Reported {
    /// Counts a report of a session. Who has reported too much is told when it may again.
    pub(super) fn count(&self, session: SessionId, weight: u32, now: Monotonic) -> Result<(), Duration> {
        self.lately.lock().count(session, weight, now)
    }

    /// For how much more there is room.
    pub(super) fn room(&self) -> usize {
        MOST_WAITING.saturating_sub(self.waiting.lock().len())
    }

    /// Puts in what there is room for. Answers how much there was none for.
    pub(super) fn put(&self, tenant: &TenantId, activities: Vec<Activity>) -> usize {
        let mut waiting = self.waiting.lock();
        let room = MOST_WAITING - waiting.len().min(MOST_WAITING);
        let left = activities.len().saturating_sub(room);
        waiting.extend(activities.into_iter().take(room).map(|activity| (tenant.clone(), activity)));
        left
    }

    /// Takes out some of what waits, the oldest first, by tenant.
    pub(super) fn take(&self) -> HashMap<TenantId, Vec<Activity>> {
        let waiting: Vec<(TenantId, Activity)> = {
            let mut waiting = self.waiting.lock();
            let some = waiting.len().min(AT_ONCE);
            waiting.drain(..some).collect()
        };
        let mut of_tenants: HashMap<TenantId, Vec<Activity>> = HashMap::new();
        for (tenant, activity) in waiting {
            of_tenants.entry(tenant).or_default().push(activity);
        }
        of_tenants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::session::SessionToken;

    fn session() -> SessionId {
        SessionToken::generate(&SystemEntropy).expect("randomness").id()
    }

    #[test]
    fn a_session_reports_sixty_batches_or_six_hundred_things_a_minute() {
        let (mut lately, begin, one) = (Lately::default(), Monotonic::from_micros(7), session());
        for _ in 0..60 {
            assert_eq!(lately.count(one, OF_A_BATCH, begin), Ok(()));
        }
        assert_eq!(lately.count(one, OF_A_BATCH, begin.after(Duration::from_secs(20))), Err(Duration::from_secs(40)));
        assert_eq!(lately.count(session(), 1, begin), Ok(()), "somebody else");
        assert_eq!(lately.count(one, 1, begin.after(MINUTE)), Ok(()));
        for _ in 1..MOST_A_MINUTE {
            assert_eq!(lately.count(one, 1, begin.after(MINUTE)), Ok(()));
        }
        assert!(lately.count(one, 1, begin.after(MINUTE)).is_err());
    }

    #[test]
    fn of_very_many_sessions_some_wait_and_none_is_kept_for_longer_than_a_minute() {
        let (mut lately, begin) = (Lately::default(), Monotonic::from_micros(7));
        let first = session();
        assert_eq!(lately.count(first, 1, begin), Ok(()));
        while lately.counts.len() < MOST_SESSIONS {
            let _ = lately.count(session(), 1, begin);
        }
        assert_eq!(lately.count(session(), 1, begin), Err(MINUTE));
        assert_eq!(lately.count(first, 1, begin), Ok(()), "who is known goes on");
        assert_eq!(lately.count(session(), 1, begin.after(MINUTE)), Ok(()));
        assert_eq!(lately.counts.len(), 1);
    }
}
