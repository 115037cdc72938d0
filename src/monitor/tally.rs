//! What is kept of an account, of an account from a network, of a network: its failures within the window, the logins that
//! are under way, and a lock.
//!
//! A login is *reserved* before the backend is asked and settled afterwards, so that however many come at once no more
//! than the limit's guesses reach the backend. What is in force while a lock is does not count: a lock ends when it was said
//! to. The Redis store does the same in scripts; one contract suite holds both to it.

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Bucket};
use crate::session::StoreTime;

/// How a login came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed, as a wrong password does.
    Failed,
    /// It let somebody in.
    Succeeded,
    /// It says nothing of who tried: the backend was not asked, did not know, or something is still due.
    Neither,
}

/// Whether a login may go on, as far as one bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Free,
    /// Not while so many others are under way.
    Busy,
    /// Not until then.
    Locked(StoreTime),
}

/// A bucket that a failure filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many failures there are.
    pub failures: u32,
    /// Of how many accounts.
    pub accounts: u32,
    /// Until when it is locked.
    pub until: StoreTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: u64,
    at: u64,
    account: u64,
    network: u64,
    failed: bool,
}

/// What is kept under one bucket's key. Times are the store's, in µs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    entries: Vec<Entry>,
    /// When the last lock began: what failed before it is paid for.
    began: u64,
    /// Until when it holds.
    locked: u64,
    /// The same, of one that holds nobody up.
    observed: u64,
}

impl Tally {
    /// Whether a login may go on.
    #[must_use]
    pub fn standing(&self, bucket: &Bucket, attempt: &Attempt, now: StoreTime) -> Standing {
        if self.locked > now.as_micros() {
            return Standing::Locked(StoreTime::from_micros(self.locked));
        }
        let (count, accounts, knows) = self.count(attempt, now, true);
        let another = bucket.most_accounts.is_some_and(|most| !knows && accounts >= most);
        if count >= bucket.most || another { Standing::Busy } else { Standing::Free }
    }

    /// Notes that a login is under way.
    pub fn reserve(&mut self, attempt: &Attempt, now: StoreTime) {
        self.tidy(attempt, now);
        self.entries.push(entry(attempt, now, false));
    }

    /// Notes that it is not any more.
    pub fn release(&mut self, attempt: &Attempt) {
        self.entries.retain(|entry| entry.failed || entry.id != attempt.id);
    }

    /// Counts a failure. Answers what it filled.
    pub fn fail(&mut self, bucket: &Bucket, attempt: &Attempt, now: StoreTime) -> Option<Full> {
        self.release(attempt);
        let micros = now.as_micros();
        if self.locked > micros || (!attempt.enforced && self.observed > micros) {
            return None;
        }
        self.tidy(attempt, now);
        self.entries.push(entry(attempt, now, true));
        let (failures, accounts, _) = self.count(attempt, now, false);
        if failures < bucket.most && bucket.most_accounts.is_none_or(|most| accounts < most) {
            return None;
        }
        let until = now.after(attempt.lock);
        self.began = micros;
        if attempt.enforced {
            self.locked = until.as_micros();
        } else {
            self.observed = until.as_micros();
        }
        Some(Full { failures, accounts, until })
    }

    /// Locks until then at least, whatever was counted. Answers until when.
    pub fn lock(&mut self, until: StoreTime, now: StoreTime) -> StoreTime {
        (self.locked, self.began) = (self.locked.max(until.as_micros()), now.as_micros());
        StoreTime::from_micros(self.locked)
    }

    /// Forgets the failures; what is under way stays.
    pub fn clear(&mut self) {
        self.entries.retain(|entry| !entry.failed);
    }

    /// Ends the lock, and what led to it counts no more. Answers whether there was one in force.
    pub fn unlock(&mut self, now: StoreTime) -> bool {
        let was_locked = self.locked.max(self.observed) > now.as_micros();
        (self.locked, self.observed, self.began) = (0, 0, 0);
        self.clear();
        was_locked
    }

    /// The failures within the window that came from elsewhere.
    #[must_use]
    pub fn elsewhere(&self, attempt: &Attempt, now: StoreTime) -> u32 {
        let since = now.before(attempt.guess_window).as_micros();
        let from_there = |entry: &&Entry| entry.failed && entry.at > since && entry.network != attempt.network;
        u32::try_from(self.entries.iter().filter(from_there).count()).unwrap_or(u32::MAX)
    }

    /// Until when it says anything.
    #[must_use]
    pub fn expires(&self, attempt: &Attempt) -> StoreTime {
        let last = self.entries.iter().map(|entry| entry.at).max().unwrap_or_default();
        let kept = attempt.window.max(Attempt::RESERVED_FOR);
        let of_entries = StoreTime::from_micros(last).after(kept).as_micros();
        StoreTime::from_micros(of_entries.max(self.locked).max(self.observed))
    }

    /// How many count, of how many accounts, and whether this login's is among these.
    fn count(&self, attempt: &Attempt, now: StoreTime, with_reserved: bool) -> (u32, u32, bool) {
        let since = now.before(attempt.window).as_micros().max(self.began);
        let reserved_since = now.before(Attempt::RESERVED_FOR).as_micros();
        let counts = |entry: &&Entry| match entry.failed {
            true => entry.at > since,
            false => with_reserved && entry.at > reserved_since,
        };
        let mut accounts: Vec<u64> = self.entries.iter().filter(counts).map(|entry| entry.account).collect();
        let count = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        accounts.retain(|account| *account != Attempt::NO_ACCOUNT);
        accounts.sort_unstable();
        accounts.dedup();
        let knows = attempt.account_tag == Attempt::NO_ACCOUNT || accounts.contains(&attempt.account_tag);
        (count, u32::try_from(accounts.len()).unwrap_or(u32::MAX), knows)
    }

    fn tidy(&mut self, attempt: &Attempt, now: StoreTime) {
        let since = now.before(attempt.window).as_micros();
        let reserved_since = now.before(Attempt::RESERVED_FOR).as_micros();
        self.entries.retain(|entry| entry.at > if entry.failed { since } else { reserved_since });
    }
}

fn entry(attempt: &Attempt, now: StoreTime, failed: bool) -> Entry {
    Entry { id: attempt.id, at: now.as_micros(), account: attempt.account_tag, network: attempt.network, failed }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::monitor::{Action, Attempted, FailedLogins, LockBy, MonitorKeys, Named, Rule, Severity, ranges_of};
    use crate::secret::Secret;

    fn attempt(id: u64) -> Attempt {
        let rule =
            Rule { count: 3, window: Duration::from_secs(60), severity: Severity::High, actions: vec![Action::Lock] };
        let rules = FailedLogins {
            rule,
            account_count: 3,
            network_count: 50,
            network_accounts: 20,
            lock: Duration::from_secs(600),
            by: LockBy::AccountAndNetwork,
        };
        let mut named = Named::default();
        named.accounts.push(MonitorKeys::new(&Secret::new("k")).account(None, "bob"));
        let networks = ranges_of([192, 0, 2, 1].into());
        Attempt::of(&rules, true, Attempted { named: &named, networks: &networks, remembers_accounts: true }, id)
    }

    fn at(seconds: u64) -> StoreTime {
        StoreTime::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_login_that_is_never_settled_counts_for_a_while_and_then_no_more() {
        let mut tally = Tally::default();
        let bucket = attempt(0).buckets.remove(0);
        for id in 1..=3 {
            tally.reserve(&attempt(id), at(0));
        }
        let later = Attempt::RESERVED_FOR.as_secs();
        assert_eq!(tally.standing(&bucket, &attempt(4), at(later - 1)), Standing::Busy);
        assert_eq!(tally.standing(&bucket, &attempt(4), at(later)), Standing::Free);
        assert_eq!(tally.expires(&attempt(4)), at(later));
    }

    #[test]
    fn a_trickle_of_failures_never_locks_and_a_lock_does_not_move() {
        // devise#1944: what is slower than the window is no guessing. django-axes#837: what comes meanwhile is nothing.
        let (mut tally, bucket) = (Tally::default(), attempt(0).buckets.remove(0));
        for round in 0..20 {
            assert_eq!(tally.fail(&bucket, &attempt(round), at(round * 30)), None);
        }
        let full = tally.fail(&bucket, &attempt(100), at(19 * 30 + 1)).expect("the third within a minute");
        assert_eq!(full.until, at(19 * 30 + 1 + 600));
        for round in 0..600 {
            assert_eq!(tally.fail(&bucket, &attempt(200 + round), at(572 + round)), None);
            let Standing::Locked(until) =
                tally.standing(&bucket, &attempt(1000), at(572 + round).before(Duration::from_secs(1)))
            else {
                panic!("locked")
            };
            assert_eq!(until, full.until);
        }
        assert_eq!(tally.standing(&bucket, &attempt(1000), full.until), Standing::Free);
        assert!(tally.entries.len() <= 4, "what is kept is bounded: {}", tally.entries.len());
    }
}
