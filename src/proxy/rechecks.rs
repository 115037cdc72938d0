//! When the backend is asked again about whom (`tenants.recheck`): each once in an interval, never all at once, and a few at a
//! time. Knows nothing of what is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::clock::Monotonic;
use crate::entropy::anywhere_in;

/// Of so many users or tenants in use it is known when they are asked about. Of more, some are not.
const MOST_KNOWN: usize = 1 << 17;
/// So many are asked about at once, those included that are asked about once more after a pause. More come to it by a later
/// request.
const MOST_UNDER_WAY: usize = 256;
/// So many of the backend's workers it takes at most.
const MOST_QUESTIONS: usize = 8;
/// When the backend is asked again about whom.
pub(super) struct Rechecks {
    /// A subject, to when (µs) that is due.
    due: Cache<Box<str>, Arc<AtomicU64>>,
    under_way: Arc<Semaphore>,
    questions: Semaphore,
}

impl Default for Rechecks {
    fn default() -> Self {
        Self {
            due: Cache::new(MOST_KNOWN),
            under_way: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
            questions: Semaphore::new(MOST_QUESTIONS),
        }
    }
}

impl Rechecks {
    /// Whether it is time to ask about this one, which then it is not for another interval. Those that are seen for the first
    /// time, as all are after a start, are due anywhere within one.
    pub(super) fn is_due(&self, subject: &str, now: Monotonic, every: Duration) -> Option<OwnedSemaphorePermit> {
        let first = || now.after(anywhere_in(every)).as_micros();
        let Some(due) = self.due.get(subject) else {
            self.due.insert(subject.into(), Arc::new(AtomicU64::new(first())));
            return None;
        };
        let at = due.load(Ordering::Relaxed);
        if at > now.after(longest(every)).as_micros() {
            // The interval was longer when that was said.
            due.store(first(), Ordering::Relaxed);
        }
        if now.as_micros() < at {
            return None;
        }
        let place = self.under_way.clone().try_acquire_owned().ok()?;
        let next = now.after(every + anywhere_in(longest(every) - every)).as_micros();
        due.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok().then_some(place)
    }

    /// A place among those who ask the backend, once there is one.
    pub(super) async fn question(&self) -> Option<SemaphorePermit<'_>> {
        self.questions.acquire().await.ok()
    }
}

/// The longest that an interval becomes, so that those who were due at once are not for ever.
fn longest(every: Duration) -> Duration {
    every + every / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_micros(seconds * 1_000_000)
    }

    /// At which of these seconds a subject is due that is seen at each.
    fn due(rechecks: &Rechecks, subject: &str, seconds: std::ops::Range<u64>, every: Duration) -> Vec<u64> {
        seconds.filter(|second| rechecks.is_due(subject, at(*second), every).is_some()).collect()
    }

    #[test]
    fn each_is_due_once_an_interval_and_all_of_them_never_at_once() {
        let rechecks = Rechecks::default();
        let mut firsts = Vec::new();
        for subject in 0..1000 {
            let due = due(&rechecks, &subject.to_string(), 0..3000, EVERY);
            assert!((9..=10).contains(&due.len()), "{due:?}");
            assert!(due[0] <= 301, "{due:?}");
            assert!(due.windows(2).all(|two| (300..=331).contains(&(two[1] - two[0]))), "{due:?}");
            firsts.push(due[0]);
        }
        for minute in 0..5 {
            let within = firsts.iter().filter(|first| (minute * 60..(minute + 1) * 60).contains(*first)).count();
            assert!((120..280).contains(&within), "{within} of 1000 in minute {minute}");
        }
    }

    #[test]
    fn an_interval_that_a_reload_shortens_holds_at_once() {
        let rechecks = Rechecks::default();
        assert_eq!(due(&rechecks, "acme", 0..1, Duration::from_secs(86_400)), [0; 0]);
        let due = due(&rechecks, "acme", 1..100, Duration::from_secs(30));
        assert!(due.len() >= 2 || due.first().is_none_or(|first| *first < 31), "{due:?}");
        assert!(!due.is_empty(), "{due:?}");
    }

    #[test]
    fn no_more_are_under_way_than_have_a_place_and_the_others_stay_due() {
        let rechecks = Rechecks::default();
        let subjects: Vec<String> = (0..MOST_UNDER_WAY + 10).map(|subject| subject.to_string()).collect();
        for subject in &subjects {
            assert!(rechecks.is_due(subject, at(0), EVERY).is_none(), "seen for the first time");
        }
        let is_due = |subject: &String| rechecks.is_due(subject, at(301), EVERY);
        let places: Vec<_> = subjects.iter().map(is_due).collect();
        assert_eq!(places.iter().flatten().count(), MOST_UNDER_WAY);
        drop(places);
        assert_eq!(subjects.iter().map(is_due).filter(Option::is_some).count(), 10);
    }
}
