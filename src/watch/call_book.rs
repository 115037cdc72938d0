//! Calls that are counted at this gateway, and what the others told of theirs.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::monitor::{CallCount, CallTable, CallTerms, Called, Minute};
use crate::store::acts::{MOST_TOLD, ToldCalls};

/// So many locks, so that requests do not wait for each other at one. Together the tables have room for 100,000 users, whose
/// calls are counted; of one more nothing is known.
const SHARDS: usize = 28;
/// As many as a table of 4096 places takes, which is the smallest for these.
const USERS_OF_A_SHARD: usize = 3584;

/// Calls that are counted.
pub(super) struct CallBook {
    shards: [Mutex<CallTable>; SHARDS],
    /// From how many calls of a user on the others are told.
    told_from: AtomicU32,
    /// Somebody makes that many.
    heated: Notify,
    /// What the last exchange showed.
    last: Mutex<Exchanged>,
}

/// What an exchange showed.
#[derive(Default)]
struct Exchanged {
    /// In which minute it was; before the first nobody knows.
    at: Option<Minute>,
    /// Whether there are other gateways.
    has_others: bool,
    /// Whether they are to be told of somebody, or told of somebody.
    is_awake: bool,
    /// Of whom they told.
    asked: Vec<u64>,
}

impl Default for CallBook {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(CallTable::for_users(USERS_OF_A_SHARD))),
            told_from: AtomicU32::new(1),
            heated: Notify::new(),
            last: Mutex::default(),
        }
    }
}

impl CallBook {
    fn shard(&self, user: u64) -> &Mutex<CallTable> {
        // A table places what is in it by other bits.
        let number = usize::try_from(user >> 32).unwrap_or_default() % SHARDS;
        // There is one for each number.
        self.shards.get(number).unwrap_or(&self.shards[0])
    }

    /// Counts a call of a user.
    pub(super) fn call(&self, user: u64, minute: Minute, most: u32, refuses: bool) -> Called {
        let terms = CallTerms { most, told_from: self.told_from.load(Ordering::Relaxed), refuses };
        let called = self.shard(user).lock().call(user, minute, terms);
        if called == (Called::Within { heated: true }) {
            self.heated.notify_one();
        }
        called
    }

    /// Whether nothing need be exchanged yet.
    pub(super) fn may_rest(&self) -> bool {
        let last = self.last.lock();
        last.at.is_some() && !last.is_awake
    }

    /// Waits until somebody makes many calls, of whom others are to be told. Alone, a gateway need not tell anybody.
    pub(super) async fn heated(&self) {
        if self.last.lock().has_others {
            self.heated.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// What the others are to know: of those who make many calls, and of those whom others told of. Whether anybody makes
    /// many.
    pub(super) fn to_tell(&self) -> (Vec<CallCount>, bool) {
        let (at, asked) = {
            let mut last = self.last.lock();
            (last.at, std::mem::take(&mut last.asked))
        };
        let Some(at) = at else { return (Vec::new(), false) };
        let mut counts: Vec<CallCount> = Vec::new();
        for shard in &self.shards {
            counts.extend(shard.lock().hot(at));
        }
        let is_hot = !counts.is_empty();
        counts.extend(asked.into_iter().filter_map(|user| self.shard(user).lock().of(user)));
        counts.sort_unstable_by_key(|count| count.user);
        counts.dedup_by_key(|count| count.user);
        if counts.len() > MOST_TOLD {
            counts.sort_unstable_by_key(|count| Reverse(count.calls.max(count.before)));
            counts.truncate(MOST_TOLD);
        }
        (counts, is_hot)
    }

    /// Takes what others told, while somebody here makes many calls or not. Answers of how many users there was no room to
    /// know.
    pub(super) fn take(&self, told: ToldCalls, most: u32, is_hot: bool) -> usize {
        let ToldCalls { now, others, mut counts } = told;
        let at = Minute::of(now);
        self.told_from.store(CallTerms::told_from(most, others.saturating_add(1)), Ordering::Relaxed);
        counts.retain(|count| count.minute.is_about(at));
        counts.sort_unstable_by_key(|count| count.user);
        let (mut asked, mut dropped) = (Vec::new(), 0);
        for of_user in counts.chunk_by(|one, other| one.user == other.user) {
            let Some(together) = CallCount::together(of_user) else { continue };
            dropped += usize::from(!self.shard(together.user).lock().told(together));
            asked.push(together.user);
        }
        asked.truncate(MOST_TOLD);
        let is_awake = others > 0 && (is_hot || !counts.is_empty());
        *self.last.lock() = Exchanged { at: Some(at), has_others: others > 0, is_awake, asked };
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::StoreTime;

    const NOW: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

    fn told(others: u32, counts: Vec<CallCount>) -> ToldCalls {
        ToldCalls { now: NOW, others, counts }
    }

    /// What stands for users is a keyed hash: spread over all bits.
    fn user(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn call(book: &CallBook, number: u64, most: u32) -> bool {
        matches!(book.call(user(number), Minute::of(NOW), most, true), Called::Within { .. })
    }

    #[test]
    fn nobody_is_refused_for_what_others_call_however_many_they_are() {
        // A sketch of so many calls would over-count by more than the limit.
        let book = CallBook::default();
        for number in 0..95_000 {
            assert!((0..6).all(|_| call(&book, number, 100)), "{number}");
        }
        assert_eq!((0..200).filter(|_| call(&book, 7, 100)).count(), 94);
    }

    #[test]
    fn of_users_beyond_the_room_nothing_is_known_and_nobody_is_refused_for_that() {
        let book = CallBook::default();
        let calls = |number| book.call(user(number), Minute::of(NOW), 1, true);
        let uncounted = (0..150_000).filter(|number| calls(*number) == Called::Uncounted).count();
        assert!((49_000..=55_000).contains(&uncounted), "{uncounted}");
    }

    #[test]
    fn gateways_tell_each_other_of_whoever_one_of_them_was_told_of() {
        let (one, other) = (CallBook::default(), CallBook::default());
        for book in [&one, &other] {
            assert_eq!(book.take(told(1, Vec::new()), 100, false), 0);
        }
        assert!((0..50).all(|_| call(&one, 7, 100)));
        assert!((0..3).all(|_| call(&other, 7, 100)) && call(&other, 8, 100));
        let (counts, is_hot) = one.to_tell();
        assert_eq!((counts.len(), counts[0].calls, is_hot), (1, 50, true));
        assert_eq!(other.to_tell(), (Vec::new(), false), "so few are nobody's business");
        other.take(told(1, counts), 100, false);
        assert!(!other.may_rest(), "somebody makes many calls");
        let (counts, is_hot) = other.to_tell();
        assert_eq!((counts.len(), counts[0].calls, is_hot), (1, 3, false));
        one.take(told(1, counts), 100, true);
        assert_eq!((0..200).filter(|_| call(&one, 7, 100)).count(), 47);
        assert_eq!((0..200).filter(|_| call(&other, 7, 100)).count(), 47, "it has heard of 50 and not of 47 more");
    }

    #[test]
    fn of_more_users_than_can_be_told_of_those_who_call_most_are() {
        let book = CallBook::default();
        book.take(told(1, Vec::new()), 4, false);
        for number in 0..5000 {
            assert!((0..2).all(|_| call(&book, number, 4)));
        }
        assert!(call(&book, 4999, 4));
        let (counts, _) = book.to_tell();
        assert_eq!((counts.len(), counts[0].user, counts[0].calls), (MOST_TOLD, user(4999), 3));
    }

    #[test]
    fn alone_a_gateway_rests_whatever_is_called() {
        let book = CallBook::default();
        assert!(!book.may_rest(), "it looks once who else is there");
        book.take(told(0, Vec::new()), 100, false);
        assert!((0..60).all(|_| call(&book, 7, 100)));
        let (_, is_hot) = book.to_tell();
        book.take(told(0, Vec::new()), 100, is_hot);
        assert!(book.may_rest());
        book.take(told(1, Vec::new()), 100, is_hot);
        assert!(!book.may_rest());
    }
}
