//! Networks that nearly everybody comes from: a proxy that was not named, a carrier's exit. Locked, they would shut out all.
//!
//! Known of the logins that this gateway saw succeed within a day.

use std::collections::VecDeque;

use super::tag::{Tag, TagMap};
use super::{AccountId, NetworkRange};
use crate::clock::Monotonic;

/// For how long a login counts, in seconds.
const KEPT: u32 = 86_400;
/// Within it the same login again says nothing new, in seconds.
const REPEATED: u32 = 3600;
/// Of fewer accounts nothing can be said.
const ENOUGH: usize = 50;
/// Accounts that are remembered; of more, the oldest go.
const MOST_ACCOUNTS: usize = 14_000;

/// Where accounts logged in.
#[derive(Debug, Default)]
pub struct Crowd {
    /// The last login of each.
    accounts: TagMap<Login>,
    /// How many accounts were last in each network.
    networks: TagMap<u32>,
    /// The logins, the oldest first; those that a later one of the account follows are skipped.
    logins: VecDeque<(Tag, Login)>,
}

/// From where, and which of all logins it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Login {
    network: Tag,
    /// In seconds.
    at: u32,
}

impl Crowd {
    /// An account logged in from there.
    pub fn logged_in(&mut self, account: &AccountId, network: NetworkRange, now: Monotonic) {
        let account = Tag::from(account.short());
        let login = Login { network: network.short().into(), at: seconds(now) };
        let is_known = |last: &Login| last.network == login.network && login.at.saturating_sub(last.at) < REPEATED;
        if self.accounts.get(&account).is_some_and(is_known) {
            return;
        }
        if self.accounts.is_empty() {
            // All at once: growing step by step leaves the smaller ones behind.
            self.accounts.reserve(2 * MOST_ACCOUNTS);
            self.networks.reserve(2 * MOST_ACCOUNTS);
            self.logins.reserve(2 * MOST_ACCOUNTS + 1);
        }
        if let Some(before) = self.accounts.insert(account, login) {
            self.leave(before.network);
        }
        *self.networks.entry(login.network).or_default() += 1;
        self.logins.push_back((account, login));
        self.forget(login.at);
    }

    /// Whether over half of all accounts logged in from there, and these are enough to tell.
    pub fn is_of_nearly_all(&mut self, network: NetworkRange, now: Monotonic) -> bool {
        self.forget(seconds(now));
        let from_there = self.networks.get(&network.short().into()).copied().unwrap_or_default();
        let all = self.accounts.len();
        all >= ENOUGH && usize::try_from(from_there).is_ok_and(|from_there| from_there * 2 > all)
    }

    fn forget(&mut self, now: u32) {
        while let Some((account, login)) = self.logins.front().copied() {
            let is_last = self.accounts.get(&account) == Some(&login);
            // Of an account that logs in again and again all but the last go, too.
            let over = now.saturating_sub(login.at) >= KEPT || self.accounts.len() > MOST_ACCOUNTS;
            if is_last && !over && self.logins.len() <= 2 * MOST_ACCOUNTS {
                return;
            }
            self.logins.pop_front();
            if is_last && self.accounts.remove(&account).is_some() {
                self.leave(login.network);
            }
        }
    }

    fn leave(&mut self, network: Tag) {
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// Since the gateway started.
fn seconds(time: Monotonic) -> u32 {
    u32::try_from(time.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{MonitorKeys, ranges_of};
    use crate::secret::Secret;

    fn network(last: u8) -> NetworkRange {
        ranges_of([192, 0, 2, last].into())[0]
    }

    fn at(hours: u64) -> Monotonic {
        Monotonic::from_micros(hours * 3_600_000_000)
    }

    #[test]
    fn a_network_that_over_half_of_fifty_accounts_come_from_within_a_day_is_no_clients() {
        let keys = MonitorKeys::new(&Secret::new("k"));
        let account = |n: u32| keys.account(None, &n.to_string());
        let mut crowd = Crowd::default();
        for n in 0..26 {
            crowd.logged_in(&account(n), network(1), at(1));
        }
        for n in 26..49 {
            crowd.logged_in(&account(n), network(2), at(1));
        }
        assert!(!crowd.is_of_nearly_all(network(1), at(1)), "49 accounts are too few");
        crowd.logged_in(&account(49), network(2), at(1));
        assert!(crowd.is_of_nearly_all(network(1), at(1)));
        assert!(!crowd.is_of_nearly_all(network(2), at(1)));
        crowd.logged_in(&account(0), network(2), at(2));
        assert!(!crowd.is_of_nearly_all(network(1), at(2)), "half is not over half");
        crowd.logged_in(&account(0), network(1), at(2));
        assert!(crowd.is_of_nearly_all(network(1), at(24)));
        assert!(!crowd.is_of_nearly_all(network(1), at(25)), "a day later");
        assert_eq!((crowd.accounts.len(), crowd.networks.len()), (1, 1));
    }

    #[test]
    fn it_is_bounded_whoever_logs_in() {
        let keys = MonitorKeys::new(&Secret::new("k"));
        let mut crowd = Crowd::default();
        for n in 0..50_000_u32 {
            crowd.logged_in(&keys.account(None, &n.to_string()), network(1), at(1));
        }
        assert_eq!(crowd.accounts.len(), MOST_ACCOUNTS);
        let one = keys.account(None, "49999");
        for n in 0..100_000_u64 {
            crowd.logged_in(&one, network(u8::from(n % 2 == 0)), Monotonic::from_micros(at(1).as_micros() + n));
        }
        assert!(crowd.logins.len() <= 2 * MOST_ACCOUNTS, "{}", crowd.logins.len());
        assert!(
            crowd.accounts.len() <= MOST_ACCOUNTS
                && crowd.networks.values().sum::<u32>() as usize == crowd.accounts.len()
        );
    }
}
