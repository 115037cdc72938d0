//! Acts that count within a window: several different things that were tried, amounts that add up.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::session::StoreTime;

/// Amounts are kept by so many parts of their window.
const PARTS: u32 = 60;

/// The number by which one of several different things is told from the others, the same at every gateway.
#[must_use]
pub fn number_of(what: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(what.as_bytes()).into();
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// How an act counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// As one of several different things, the one of this number; fires when there are as many of them.
    Different(u64),
    /// As so much of one; fires when there is more.
    Amount(u64),
}

/// An act that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What it counts with: of whom, by which rule.
    pub key: String,
    /// How.
    pub counting: Counting,
    /// How many, or how much, it takes.
    pub count: u64,
    /// For how long it counts.
    pub window: Duration,
}

impl Act {
    /// In which parts of its window amounts are kept, in µs.
    #[must_use]
    pub fn part(&self) -> u64 {
        u64::try_from((self.window / PARTS).as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

/// What is kept of acts that count together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActTally {
    /// What, and when it was last tried (µs); or which part of the window, and how much in it.
    counted: Vec<(u64, u64)>,
}

impl ActTally {
    /// Counts one more. Answers how many, or how much, that makes where it fires; then nothing is left to count.
    pub fn count(&mut self, act: &Act, now: StoreTime) -> Option<u64> {
        let (now, window) = (now.as_micros(), u64::try_from(act.window.as_micros()).unwrap_or(u64::MAX));
        let part = act.part();
        let fires = match act.counting {
            Counting::Different(what) => {
                self.counted.retain(|(other, at)| *other != what && at.saturating_add(window) > now);
                self.counted.push((what, now));
                let all = self.counted.len() as u64;
                (all >= act.count).then_some(all)
            }
            Counting::Amount(amount) => {
                let (at, over) = (now / part, |at: u64| at.saturating_mul(part).saturating_add(window) <= now);
                self.counted.retain(|(other, _)| !over(*other));
                match self.counted.iter_mut().find(|(other, _)| *other == at) {
                    Some((_, before)) => *before = before.saturating_add(amount),
                    None => self.counted.push((at, amount)),
                }
                let all = self.counted.iter().fold(0, |all: u64, (_, amount)| all.saturating_add(*amount));
                (all > act.count).then_some(all)
            }
        };
        if fires.is_some() {
            self.counted.clear();
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> StoreTime {
        StoreTime::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    fn different(what: u64) -> Act {
        Act { key: String::new(), counting: Counting::Different(what), count: 3, window: 5 * MINUTE }
    }

    fn amount(amount: u64) -> Act {
        Act { key: String::new(), counting: Counting::Amount(amount), count: 1000, window: 60 * MINUTE }
    }

    #[test]
    fn the_third_of_different_things_within_the_window_fires_and_the_same_again_does_not() {
        let mut tally = ActTally::default();
        for (what, second) in [(1, 0), (1, 10), (2, 20), (2, 30), (1, 40)] {
            assert_eq!(tally.count(&different(what), at(second)), None, "{what} {second}");
        }
        assert_eq!(tally.count(&different(3), at(50)), Some(3));
        assert_eq!(tally.count(&different(4), at(51)), None, "it begins anew");
    }

    #[test]
    fn what_was_tried_longer_ago_than_the_window_counts_no_more() {
        let mut tally = ActTally::default();
        assert_eq!(tally.count(&different(1), at(0)), None);
        assert_eq!(tally.count(&different(2), at(200)), None);
        assert_eq!(tally.count(&different(3), at(300)), None, "the first is five minutes ago");
        assert_eq!(tally.count(&different(4), at(400)), Some(3));
    }

    #[test]
    fn more_than_so_much_within_the_window_fires() {
        let mut tally = ActTally::default();
        assert_eq!(tally.count(&amount(400), at(0)), None);
        assert_eq!(tally.count(&amount(600), at(1800)), None, "as much as there may be");
        assert_eq!(tally.count(&amount(1), at(1801)), Some(1001));
        assert_eq!(tally.count(&amount(1000), at(1802)), None, "it begins anew");
        assert_eq!(tally.count(&amount(1000), at(1802 + 3600)), None, "an hour later");
        assert_eq!(tally.count(&amount(u64::MAX), at(1802 + 3601)), Some(u64::MAX), "whatever somebody says");
    }

    #[test]
    fn what_is_kept_is_bounded_however_often_something_is_done() {
        let mut tally = ActTally::default();
        for second in 0..100_000 {
            tally.count(&Act { count: u64::MAX, ..amount(1) }, at(second));
        }
        assert!(tally.counted.len() <= 61, "{}", tally.counted.len());
        for what in 0..10_000 {
            tally.count(&different(what), at(100_000));
        }
        assert!(tally.counted.len() <= 3);
    }
}
