//! The absolute limit of what is open: by this machine's clock, also while the store cannot say.
//!
//! Looks at everything from time to time, and when the next is due. Whoever registers something that is due before the next
//! look rings. The clock runs on while the machine sleeps; the look after it finds what was due meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::{OpenStreams, Times};
use crate::clock::Monotonic;
use crate::session::{Barred, EndReason, SessionId};

/// Between two looks, where nothing is due before.
const EVERY: Duration = Duration::from_millis(400);
const EXPIRED: Barred = Barred::Ended(EndReason::Expired);

impl OpenStreams {
    /// Cuts what is past its absolute limit, for as long as it is polled.
    pub async fn cut_overdue(&self) {
        loop {
            let now = self.clock.monotonic();
            let latest = now.after(EVERY);
            // Before the look: what is registered while it goes on may be on either side of it.
            self.next_look.store(latest.as_micros(), Ordering::SeqCst);
            let next = self.cut_due(now).map_or(latest, |next| next.min(latest));
            tokio::select! {
                () = sleep(next.since(self.clock.monotonic())) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Something is due then.
    pub(super) fn ring_for(&self, due: Monotonic) {
        if due.as_micros() < self.next_look.load(Ordering::SeqCst) {
            self.sooner.notify_one();
        }
    }

    /// The store says anew when a session is over at the latest.
    pub fn is_over_at(&self, id: SessionId, over_at: Monotonic) {
        let mut soonest = None;
        for kill in self.shard(id).lock().get(&id).into_iter().flatten() {
            let mut times = kill.times.lock();
            // One that was opened after it has its own moment.
            if times.since <= over_at {
                *times = Times::of(times.since, over_at);
                soonest = Some(times.due);
            }
        }
        if let Some(due) = soonest {
            self.ring_for(due);
        }
    }

    /// Cuts what is due. Answers when the next is.
    fn cut_due(&self, now: Monotonic) -> Option<Monotonic> {
        let mut next: Option<Monotonic> = None;
        for shard in &self.shards {
            let shard = shard.lock();
            for (id, kills) in &*shard {
                let mut cut = 0_usize;
                for kill in kills.iter().filter(|kill| kill.reason.get().is_none() && kill.is_cut_by(EXPIRED)) {
                    let due = kill.times.lock().due;
                    if due > now {
                        next = Some(next.map_or(due, |next| next.min(due)));
                    } else if kill.reason.set(EXPIRED).is_ok() {
                        cut += 1;
                    }
                }
                if cut > 0 {
                    // First all are told, then all are woken: who sees one cut sees them all cut.
                    kills.iter().for_each(|kill| kill.waker.wake());
                    tracing::info!(
                        session_id = id.as_str(),
                        streams = cut,
                        "the session reached its absolute limit: cut"
                    );
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{held, id, streams};
    use super::super::{Cuts, LEEWAY, YOUNG};
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn what_is_open_is_cut_at_its_absolute_limit_by_this_machines_clock() {
        let (streams, clock) = streams();
        let over_at = |seconds| clock.monotonic().after(Duration::from_secs(seconds));
        let first = streams.register(held('a'), Cuts::Always, over_at(6));
        let second = streams.register(held('b'), Cuts::Always, over_at(8));
        let observed = streams.register(held('a'), Cuts::OnPurpose, over_at(6));
        let upload = first.another();
        clock.advance(Duration::from_secs(6));
        assert_eq!(streams.cut_due(clock.monotonic()), Some(clock.monotonic().after(LEEWAY)));
        assert_eq!(first.reason(), None, "not before it");
        clock.advance(LEEWAY);
        assert_eq!(streams.cut_due(clock.monotonic()), Some(clock.monotonic().after(Duration::from_secs(2))));
        for cut in [&first, &upload] {
            assert_eq!(cut.reason(), Some(EXPIRED));
        }
        assert_eq!((second.reason(), observed.reason()), (None, None));
    }

    #[test]
    fn the_answer_to_a_request_that_was_accepted_in_time_has_a_moment_of_its_own() {
        let (streams, clock) = streams();
        let over_at = clock.monotonic().after(Duration::from_secs(1));
        let open = streams.register(held('a'), Cuts::Always, over_at);
        clock.advance(Duration::from_millis(1040));
        let answer = open.begun_anew();
        clock.advance(YOUNG - Duration::from_millis(1));
        streams.cut_due(clock.monotonic());
        assert_eq!(answer.reason(), None);
        clock.advance(Duration::from_millis(1));
        streams.cut_due(clock.monotonic());
        assert_eq!(answer.reason(), Some(EXPIRED));
    }

    #[test]
    fn a_limit_that_the_store_says_anew_counts() {
        let (streams, clock) = streams();
        let open = streams.register(held('a'), Cuts::Always, clock.monotonic().after(Duration::from_secs(8)));
        streams.is_over_at(id('a'), clock.monotonic().after(Duration::from_secs(3)));
        clock.advance(Duration::from_secs(4));
        streams.cut_due(clock.monotonic());
        assert_eq!(open.reason(), Some(EXPIRED));
    }

    #[tokio::test]
    async fn nothing_that_is_registered_is_cut_later_than_a_tenth_of_a_second_after_its_limit() {
        let streams = Arc::new(OpenStreams::new(Arc::new(SystemClock)));
        let cutting = tokio::spawn({
            let streams = streams.clone();
            async move { streams.cut_overdue().await }
        });
        // Also what is due before the next look that was planned when it came.
        for millis in [700, 1, 30, 90, 0] {
            let over_at = SystemClock.monotonic().after(Duration::from_millis(millis));
            let open = streams.register(held('a'), Cuts::Always, over_at);
            assert_eq!(open.ended().await, EXPIRED);
            let late = SystemClock.monotonic().since(over_at);
            assert!(late >= LEEWAY && late < Duration::from_millis(300), "{millis}: {late:?}");
        }
        cutting.abort();
    }
}
