//! Calls of users, by the calendar minute of the store's clock: those made here, exactly, and as many of those elsewhere as
//! the other gateways told of.
//!
//! A count that another gateway told of is never more than it made: within a minute they only rise. So nobody is ever found
//! to have made more calls than they did.

use std::time::Duration;

use super::tag::{Tag, TagMap};
use crate::session::StoreTime;

/// Below that nobody's calls are worth telling others of, unless the limit itself is about as low.
const FEWEST_TOLD: u32 = 5;

/// A calendar minute of the store's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u32);

impl Minute {
    const MICROS: u64 = 60_000_000;
    /// The last that can be told, two thousand years from now: what else is kept of one fits beside it.
    const LAST: u32 = (1 << 30) - 1;

    /// The one that this moment is in.
    #[must_use]
    pub fn of(time: StoreTime) -> Self {
        Self::numbered(u32::try_from(time.as_micros() / Self::MICROS).unwrap_or(u32::MAX))
    }

    /// The one of this number, the first being that of 1970.
    const fn numbered(number: u32) -> Self {
        Self(if number < Self::LAST { number } else { Self::LAST })
    }

    /// When it begins.
    #[must_use]
    pub fn begins(self) -> StoreTime {
        StoreTime::from_micros(u64::from(self.0) * Self::MICROS)
    }

    /// How long it goes on after this moment.
    #[must_use]
    pub fn left(self, now: StoreTime) -> Duration {
        self.begins().after(Duration::from_micros(Self::MICROS)).since(now)
    }

    /// The one before.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Whether it comes next after another.
    const fn follows(self, other: Self) -> bool {
        self.0 == other.0.wrapping_add(1)
    }

    /// Whether it is another, or next to it.
    #[must_use]
    pub const fn is_about(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= 1
    }
}

/// What a gateway counted of a user in a minute, and in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// What stands for the user.
    pub user: u64,
    /// Which minute.
    pub minute: Minute,
    /// Calls in it.
    pub calls: u32,
    /// Calls in the one before.
    pub before: u32,
}

impl CallCount {
    /// How many bytes one takes.
    pub const BYTES: usize = 20;

    /// Calls in this minute, as far as it says.
    #[must_use]
    pub const fn within(&self, minute: Minute) -> u32 {
        if self.minute.0 == minute.0 {
            self.calls
        } else if self.minute.follows(minute) {
            self.before
        } else {
            0
        }
    }

    /// What several gateways counted of one user, in the last minute that any of them knows.
    #[must_use]
    pub fn together(counts: &[Self]) -> Option<Self> {
        let last = counts.iter().max_by_key(|count| count.minute)?;
        let all = |minute| counts.iter().map(|count| count.within(minute)).fold(0, u32::saturating_add);
        Some(Self { calls: all(last.minute), before: all(last.minute.before()), ..*last })
    }

    /// As gateways tell each other.
    #[must_use]
    pub fn pack(counts: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(counts.len() * Self::BYTES);
        for Self { user, minute, calls, before } in counts {
            bytes.extend(user.to_be_bytes());
            for number in [minute.0, *calls, *before] {
                bytes.extend(number.to_be_bytes());
            }
        }
        bytes
    }

    /// Reads what [`pack`](Self::pack) wrote; of anything else as much as there is of it.
    pub fn unpack(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).filter_map(|entry| {
            let (user, rest) = entry.split_first_chunk()?;
            let (minute, rest) = rest.split_first_chunk()?;
            let (calls, before) = rest.split_first_chunk()?;
            Some(Self {
                user: u64::from_be_bytes(*user),
                minute: Minute::numbered(u32::from_be_bytes(*minute)),
                calls: u32::from_be_bytes(*calls),
                before: u32::from_be_bytes(*before.first_chunk()?),
            })
        })
    }
}

/// How calls are counted.
#[derive(Clone, Copy, Debug)]
pub struct CallTerms {
    /// How many a user may make in a minute.
    pub most: u32,
    /// From how many of them on the others are told.
    pub told_from: u32,
    /// Whether one more is refused, and so is none.
    pub refuses: bool,
}

impl CallTerms {
    /// From how many calls of a user on a gateway tells the others, where so many are at work. By then nobody can have made
    /// as many as there may be without some gateway knowing.
    #[must_use]
    pub fn told_from(most: u32, gateways: u32) -> u32 {
        let share = most / gateways.max(1);
        FEWEST_TOLD.max(share / 4).min(share.max(1))
    }
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// It is one of those that there may be.
    Within {
        /// Whether the others are to be told of the user from now on.
        heated: bool,
    },
    /// It is one more.
    Over {
        /// The first of the minute, as far as is known here.
        first: bool,
        /// Which one of the minute it is.
        calls: u32,
        /// How many of them others told of.
        elsewhere: u32,
    },
    /// There is no room to count it.
    Uncounted,
}

/// Calls in one minute.
#[derive(Clone, Copy, Default)]
struct Tally {
    here: u32,
    elsewhere: u32,
}

/// A user's calls in a minute and the one before. Of 100,000 users the table has one each: 20 bytes, and no gap beside what
/// stands for the user.
struct User {
    /// Which minute, and in its two highest bits what was noted in it.
    marked: u32,
    now: Tally,
    before: Tally,
}

/// It was found that there were too many in this minute.
const FOUND: u32 = 1 << 31;
/// The others are told.
const HOT: u32 = 1 << 30;

impl User {
    const fn since(minute: Minute) -> Self {
        let none = Tally { here: 0, elsewhere: 0 };
        Self { marked: minute.0, now: none, before: none }
    }

    const fn minute(&self) -> Minute {
        Minute(self.marked & Minute::LAST)
    }

    const fn is_hot(&self) -> bool {
        self.marked & HOT != 0
    }

    /// Notes something for the rest of the minute. Whether it is new.
    const fn note(&mut self, what: u32) -> bool {
        let is_new = self.marked & what == 0;
        self.marked |= what;
        is_new
    }

    /// The calls of a minute.
    fn tally(&mut self, minute: Minute) -> &mut Tally {
        if minute == self.minute() {
            return &mut self.now;
        }
        if self.minute().follows(minute) {
            return &mut self.before;
        }
        // The next one; any other, also one long before, as after a clock that was set back, begins anew.
        let before = if minute.follows(self.minute()) { self.now } else { Tally::default() };
        *self = Self { before, ..Self::since(minute) };
        &mut self.now
    }
}

/// Counts the calls of so many users.
pub struct CallTable {
    users: TagMap<User>,
    most_users: usize,
    /// Those whom the others are told of.
    hot: Vec<u64>,
    /// When it was last looked who called lately.
    swept: Minute,
}

impl CallTable {
    /// For so many users at most.
    #[must_use]
    pub fn for_users(most_users: usize) -> Self {
        Self { users: TagMap::default(), most_users, hot: Vec::new(), swept: Minute::default() }
    }

    /// Counts a call.
    pub fn call(&mut self, user: u64, minute: Minute, terms: CallTerms) -> Called {
        let Some(entry) = self.user(user, minute) else { return Called::Uncounted };
        let tally = entry.tally(minute);
        let Tally { here, elsewhere } = *tally;
        let all = here.saturating_add(elsewhere);
        let is_over = all >= terms.most;
        if !is_over || !terms.refuses {
            tally.here = here.saturating_add(1);
        }
        if is_over {
            let first = entry.note(FOUND) && minute == entry.minute();
            return Called::Over { first, calls: all.saturating_add(1), elsewhere };
        }
        let heated = here + 1 >= terms.told_from && minute == entry.minute() && entry.note(HOT);
        if heated {
            self.hot.push(user);
        }
        Called::Within { heated }
    }

    /// Notes what the others told of a user. `false`: there is no room to.
    pub fn told(&mut self, count: CallCount) -> bool {
        let CallCount { user, minute, calls, before } = count;
        let Some(entry) = self.user(user, minute) else { return false };
        if minute < entry.minute() && !entry.minute().follows(minute) {
            // It is old news.
            return true;
        }
        let now = entry.tally(minute);
        now.elsewhere = now.elsewhere.max(calls);
        if entry.minute() == minute {
            entry.before.elsewhere = entry.before.elsewhere.max(before);
        }
        true
    }

    /// Those of whom the others are to know, at this moment.
    pub fn hot(&mut self, at: Minute) -> impl Iterator<Item = CallCount> {
        let users = &self.users;
        self.hot.retain(|user| {
            users.get(&Tag::from(*user)).is_some_and(|entry| entry.is_hot() && entry.minute().is_about(at))
        });
        self.hot.sort_unstable();
        self.hot.dedup();
        self.hot.iter().filter_map(|user| self.of(*user))
    }

    /// What was counted here of a user, if anything was.
    #[must_use]
    pub fn of(&self, user: u64) -> Option<CallCount> {
        let entry = self.users.get(&Tag::from(user))?;
        let count = CallCount { user, minute: entry.minute(), calls: entry.now.here, before: entry.before.here };
        (count.calls > 0 || count.before > 0).then_some(count)
    }

    fn user(&mut self, user: u64, minute: Minute) -> Option<&mut User> {
        if self.users.len() >= self.most_users && !self.users.contains_key(&Tag::from(user)) && !self.make_room(minute)
        {
            return None;
        }
        if self.users.is_empty() {
            // All at once: growing step by step leaves the smaller ones behind, and has a request wait for the copy.
            self.users.reserve(self.most_users);
        }
        Some(self.users.entry(Tag::from(user)).or_insert_with(|| User::since(minute)))
    }

    /// Forgets who has not called lately; looked for once a minute.
    fn make_room(&mut self, minute: Minute) -> bool {
        if std::mem::replace(&mut self.swept, minute) != minute {
            // Anew: what is taken out of a full table leaves marks, for which it would grow some time.
            let mut users = TagMap::default();
            users.reserve(self.most_users);
            users.extend(self.users.drain().filter(|(_, user)| user.minute().is_about(minute)));
            self.users = users;
        }
        self.users.len() < self.most_users
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: CallTerms = CallTerms { most: 3, told_from: 2, refuses: true };
    const NOW: Minute = Minute(28_000_000);

    fn after(minutes: u32) -> Minute {
        Minute(NOW.0 + minutes)
    }

    fn table() -> CallTable {
        CallTable::for_users(100)
    }

    fn passes(called: Called) -> bool {
        matches!(called, Called::Within { .. })
    }

    fn times(table: &mut CallTable, minute: Minute, tries: usize) -> usize {
        (0..tries).filter(|_| passes(table.call(7, minute, TERMS))).count()
    }

    #[test]
    fn as_many_calls_pass_in_each_calendar_minute_as_there_may_be_and_what_is_refused_does_not_count() {
        let mut table = table();
        assert_eq!(times(&mut table, NOW, 10), 3);
        assert_eq!(times(&mut table, after(1), 10), 3);
        assert_eq!(table.of(7), Some(CallCount { user: 7, minute: after(1), calls: 3, before: 3 }));
        assert!(passes(table.call(8, after(1), TERMS)), "another user");
    }

    #[test]
    fn a_call_that_comes_late_counts_in_its_own_minute() {
        let mut table = table();
        times(&mut table, NOW, 2);
        times(&mut table, after(1), 1);
        assert_eq!(times(&mut table, NOW, 5), 1);
        assert_eq!(times(&mut table, after(1), 5), 2);
    }

    #[test]
    fn it_is_found_once_a_minute_by_the_first_call_too_many() {
        let mut table = table();
        let found = |table: &mut CallTable, minute| {
            (0..9).filter(|_| matches!(table.call(7, minute, TERMS), Called::Over { first: true, .. })).count()
        };
        assert_eq!((found(&mut table, NOW), found(&mut table, after(1))), (1, 1));
        let mut observed = CallTable::for_users(1);
        let terms = CallTerms { refuses: false, ..TERMS };
        let calls: Vec<Called> = (0..5).map(|_| observed.call(7, NOW, terms)).collect();
        assert_eq!(calls[3], Called::Over { first: true, calls: 4, elsewhere: 0 });
        assert_eq!(calls[4], Called::Over { first: false, calls: 5, elsewhere: 0 }, "what is only observed goes on");
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut table = table();
        assert_eq!(times(&mut table, after(60), 10), 3);
        assert_eq!(times(&mut table, NOW, 10), 3);
    }

    #[test]
    fn what_others_told_of_counts_once_and_only_in_its_minute() {
        let mut table = table();
        let told = |minute, calls, before| CallCount { user: 7, minute, calls, before };
        assert!(table.told(told(NOW, 2, 0)));
        assert!(table.told(told(NOW, 2, 0)), "the same again");
        assert!(table.told(told(NOW, 1, 0)), "one of them is gone, and its calls were made all the same");
        assert_eq!(times(&mut table, NOW, 5), 1);
        assert_eq!(times(&mut table, after(1), 5), 3);
        table.told(told(after(2), 1, 3));
        assert_eq!(times(&mut table, after(2), 5), 2);
        table.told(told(NOW, 3, 3));
        assert_eq!(times(&mut table, after(2), 5), 0, "old news changes nothing");
        assert_eq!(table.of(8), None, "nothing was counted here");
        table.told(CallCount { user: 8, minute: after(2), calls: 3, before: 0 });
        assert_eq!(table.of(8), None);
        assert_eq!(table.call(8, after(2), TERMS), Called::Over { first: true, calls: 4, elsewhere: 3 });
    }

    #[test]
    fn what_gateways_counted_of_a_user_is_added_up_minute_by_minute() {
        let of = |minute, calls, before| CallCount { user: 7, minute, calls, before };
        let together = CallCount::together(&[of(NOW, 5, 6), of(after(1), 2, 3), of(after(1), 10, 20)]);
        assert_eq!(together, Some(of(after(1), 12, 28)), "one of them has had no call in the new minute");
        assert_eq!(CallCount::together(&[]), None);
    }

    #[test]
    fn others_are_told_of_who_calls_much_for_two_minutes() {
        let mut table = table();
        assert_eq!(table.call(7, NOW, TERMS), Called::Within { heated: false });
        assert_eq!(table.hot(NOW).count(), 0);
        assert_eq!(table.call(7, NOW, TERMS), Called::Within { heated: true });
        assert_eq!(table.call(7, NOW, TERMS), Called::Within { heated: false }, "once");
        let hot = CallCount { user: 7, minute: NOW, calls: 3, before: 0 };
        assert_eq!(table.hot(NOW).collect::<Vec<_>>(), [hot]);
        assert_eq!(table.hot(after(1)).collect::<Vec<_>>(), [hot]);
        assert_eq!(table.hot(after(2)).count(), 0);
        times(&mut table, after(2), 2);
        assert_eq!(table.hot(after(2)).count(), 1);
    }

    #[test]
    fn users_are_bounded_and_those_who_do_not_call_make_room() {
        let mut table = CallTable::for_users(10);
        assert!((0..10).all(|user| passes(table.call(user, NOW, TERMS))));
        assert_eq!(table.call(10, NOW, TERMS), Called::Uncounted);
        assert!(!table.told(CallCount { user: 11, minute: NOW, calls: 1, before: 0 }));
        assert!(passes(table.call(3, after(1), TERMS)));
        assert_eq!(table.call(10, after(1), TERMS), Called::Uncounted, "it is looked for once a minute");
        assert!(passes(table.call(10, after(2), TERMS)));
        assert_eq!(table.users.len(), 2, "user 3 and this one");
    }

    #[test]
    fn a_table_that_was_full_for_hours_is_as_large_as_at_first() {
        assert_eq!(size_of::<(Tag, User)>(), 28);
        let mut table = CallTable::for_users(3584);
        let mut numbers = (0_u64..).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut capacity = None;
        for minute in 0..200 {
            for user in numbers.by_ref().take(1500) {
                table.call(user, after(minute), TERMS);
            }
            assert_eq!(*capacity.get_or_insert(table.users.capacity()), table.users.capacity(), "{minute}");
        }
        assert_eq!(table.users.len(), 3000, "those of the last two minutes");
    }

    #[test]
    fn the_fewer_calls_there_may_be_and_the_more_gateways_there_are_the_sooner_others_are_told() {
        let from: Vec<u32> = [(100, 1), (100, 4), (100, 10), (10, 5), (3, 4), (1, 1)]
            .map(|(most, of)| CallTerms::told_from(most, of))
            .into();
        assert_eq!(from, [25, 6, 5, 2, 1, 1]);
    }

    proptest! {
        #[test]
        fn no_limit_is_reached_while_no_gateway_tells_the_others(most in 1..100_000_u32, gateways in 1..200_u32) {
            let unseen = (CallTerms::told_from(most, gateways) - 1) * gateways;
            prop_assert!(unseen < most);
        }

        #[test]
        fn what_gateways_tell_each_other_reads_back_and_garbage_does_no_harm(
            counts in proptest::collection::vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()), 0..20),
            garbage: Vec<u8>,
        ) {
            let counts: Vec<CallCount> = counts
                .into_iter()
                .map(|(user, minute, calls, before)| CallCount { user, minute: Minute::numbered(minute), calls, before })
                .collect();
            prop_assert_eq!(CallCount::unpack(&CallCount::pack(&counts)).collect::<Vec<_>>(), counts);
            let _ = CallCount::unpack(&garbage).count();
        }
    }

    #[test]
    fn a_minute_ends_with_the_stores_own() {
        let time = StoreTime::from_micros(61_500_000);
        assert_eq!((Minute::of(time), Minute::of(time).left(time)), (Minute(1), Duration::from_millis(58_500)));
        assert_eq!(Minute(1).begins(), StoreTime::from_micros(60_000_000));
    }
}
