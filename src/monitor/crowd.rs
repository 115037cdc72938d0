//! Networks that nearly everybody comes from: a proxy that was not named, a carrier's exit. Locked, they would shut out all.
//!
//! Known of the logins that this gateway saw succeed within a day.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{AccountId, NetworkRange};
use crate::clock::Monotonic;

/// For how long a login counts.
const KEPT: Duration = Duration::from_secs(86_400);
/// Within it the same login again says nothing new.
const REPEATED: Duration = Duration::from_secs(3600);
/// Of fewer accounts nothing can be said.
const ENOUGH: usize = 50;
/// Accounts that are remembered; of more, the oldest go.
const MOST_ACCOUNTS: usize = 14_000;

/// Where accounts logged in.
#[derive(Debug, Default)]
pub struct Crowd {
    /// The last network of each.
    accounts: HashMap<u64, (NetworkRange, Monotonic)>,
    networks: HashMap<NetworkRange, usize>,
    /// The logins, the oldest first; those that a later one of the account follows are skipped.
    logins: VecDeque<(u64, Monotonic)>,
}

impl Crowd {
    /// An account logged in from there.
    pub fn logged_in(&mut self, account: &AccountId, network: NetworkRange, now: Monotonic) {
        let account = account.short();
        if self.accounts.get(&account).is_some_and(|(there, at)| *there == network && now.since(*at) < REPEATED) {
            return;
        }
        if self.accounts.is_empty() {
            // All at once: growing step by step leaves the smaller ones behind.
            self.accounts.reserve(2 * MOST_ACCOUNTS);
            self.logins.reserve(2 * MOST_ACCOUNTS + 1);
        }
        if let Some((before, _)) = self.accounts.insert(account, (network, now)) {
            self.leave(before);
        }
        *self.networks.entry(network).or_default() += 1;
        self.logins.push_back((account, now));
        self.forget(now);
    }

    /// Whether over half of all accounts logged in from there, and these are enough to tell.
    pub fn is_of_nearly_all(&mut self, network: NetworkRange, now: Monotonic) -> bool {
        self.forget(now);
        let from_there = self.networks.get(&network).copied().unwrap_or_default();
        self.accounts.len() >= ENOUGH && from_there * 2 > self.accounts.len()
    }

    fn forget(&mut self, now: Monotonic) {
        while let Some((account, at)) = self.logins.front().copied() {
            let is_last = self.accounts.get(&account).is_some_and(|(_, last)| *last == at);
            // Of an account that logs in again and again all but the last go, too.
            let over = now.since(at) >= KEPT || self.accounts.len() > MOST_ACCOUNTS;
            if is_last && !over && self.logins.len() <= 2 * MOST_ACCOUNTS {
                return;
            }
            self.logins.pop_front();
            if is_last && let Some((network, _)) = self.accounts.remove(&account) {
                self.leave(network);
            }
        }
    }

    fn leave(&mut self, network: NetworkRange) {
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
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
            crowd.accounts.len() <= MOST_ACCOUNTS && crowd.networks.values().sum::<usize>() == crowd.accounts.len()
        );
    }
}
