//! One try to log in, and what it is counted by: which buckets, how much each takes.

use std::time::Duration;

use smallvec::SmallVec;

use super::lock::account_key;
use super::{AccountId, Action, DeviceId, FailedLogins, LockBy, LockNote, LockedBy, NetworkRange};

/// Whom a login names: every account that the backend could read in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The accounts, each once.
    pub accounts: SmallVec<[AccountId; 1]>,
    /// The device, where it is known to that one account.
    pub device: Option<DeviceId>,
}

impl Named {
    /// The account, where it is one alone: a login that names several may be any one's.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        match self.accounts.as_slice() {
            [account] => Some(account),
            _ => None,
        }
    }
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketKind {
    /// An account on devices that it does not know.
    Account,
    /// An account from a network. `own`: from the narrowest one.
    Pair {
        /// Whether it is the narrowest network.
        own: bool,
    },
    /// An account on a device that it knows.
    Device,
    /// A network.
    Network,
}

/// One of the things that a login is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name, in the store and everywhere.
    pub key: String,
    /// What it counts.
    pub kind: BucketKind,
    /// How many failures fill it.
    pub most: u32,
    /// How many accounts that failed fill it, too.
    pub most_accounts: Option<u32>,
    /// What is written down where it is locked.
    pub note: LockNote,
}

impl Bucket {
    /// Whether there are as many of it as there are names, and not as networks.
    #[must_use]
    pub const fn is_of_account(&self) -> bool {
        !matches!(self.kind, BucketKind::Network)
    }

    /// Whether a success empties it: the account's own from there.
    #[must_use]
    pub const fn is_cleared_by_success(&self) -> bool {
        matches!(self.kind, BucketKind::Pair { own: true } | BucketKind::Device)
    }
}

/// Who tries, and whence.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// Whom it names.
    pub named: &'a Named,
    /// From where, the narrowest network first; none where that says nothing of a client.
    pub networks: &'a [NetworkRange],
    /// Whether the store may be asked to remember accounts of which it keeps nothing.
    pub remembers_accounts: bool,
}

/// One try to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Tells it from others.
    pub id: u64,
    /// What it is counted by.
    pub buckets: Vec<Bucket>,
    /// Stands for the accounts that it names together.
    pub account_tag: u64,
    /// Stands for its narrowest network.
    pub network: u64,
    /// For how long a failure counts.
    pub window: Duration,
    /// Within which time failures from elsewhere matter to a success.
    pub guess_window: Duration,
    /// How long a lock holds.
    pub lock: Duration,
    /// Whether a full bucket holds anybody up.
    pub enforced: bool,
    /// Whether locks are listed: those that hold nobody up, too, but not where none is meant.
    pub lists_locks: bool,
    /// Whether accounts of which nothing is kept yet are remembered. Those that are known count in any case: no flood of
    /// names that are made up opens what is locked.
    pub remembers_accounts: bool,
    /// Under which name the failures of its one account stand.
    pub account_key: Option<String>,
}

impl Attempt {
    /// How long a login is under way at most. One that was never settled, because its gateway is gone, counts so long.
    pub const RESERVED_FOR: Duration = Duration::from_secs(300);
    /// Stands for no account.
    pub const NO_ACCOUNT: u64 = 0;

    /// What a login is counted by. A device that the account knows has a budget of its own, and passes all others: whatever
    /// fails elsewhere, the owner comes in.
    #[must_use]
    pub fn of(rules: &FailedLogins, enforced: bool, tried: Attempted<'_>, id: u64) -> Self {
        let Attempted { named, networks, remembers_accounts } = tried;
        let mut buckets = Buckets { rules, enforced, all: Vec::new() };
        let device = named.device.filter(|_| rules.by == LockBy::AccountAndNetwork);
        match (device, named.account()) {
            (Some(device), Some(account)) => buckets.device(account, device),
            _ => {
                for account in &named.accounts {
                    buckets.account(account, networks);
                }
                for network in networks {
                    buckets.network(*network);
                }
            }
        }
        Self {
            id,
            buckets: buckets.all,
            account_tag: named.accounts.iter().fold(Self::NO_ACCOUNT, |tag, account| tag ^ account.short()),
            network: networks.first().map_or(0, |network| network.short()),
            window: rules.rule.window,
            guess_window: rules.rule.window,
            lock: rules.lock,
            enforced,
            lists_locks: rules.rule.does(Action::Lock),
            remembers_accounts,
            account_key: named.account().map(account_key),
        }
    }

    /// Whether a bucket of which nothing is kept yet is to be.
    #[must_use]
    pub const fn remembers(&self, bucket: &Bucket) -> bool {
        self.remembers_accounts || !bucket.is_of_account()
    }
}

struct Buckets<'a> {
    rules: &'a FailedLogins,
    enforced: bool,
    all: Vec<Bucket>,
}

impl Buckets<'_> {
    fn device(&mut self, account: &AccountId, device: DeviceId) {
        let note = self.note(LockedBy::AccountAndDevice, Some(account), None);
        self.add(format!("ad:{account}:{device}"), BucketKind::Device, self.rules.rule.count, None, note);
    }

    fn account(&mut self, account: &AccountId, networks: &[NetworkRange]) {
        let by_account = self.rules.by == LockBy::Account;
        let most = if by_account { self.rules.rule.count } else { self.rules.account_count };
        let note = self.note(LockedBy::Account, Some(account), None);
        self.add(account_key(account), BucketKind::Account, most, None, note);
        if by_account {
            return;
        }
        for (at, network) in networks.iter().enumerate() {
            let note = self.note(LockedBy::AccountAndNetwork, Some(account), Some(*network));
            let most = self.rules.rule.count.saturating_mul(network.times());
            self.add(format!("an:{account}:{network}"), BucketKind::Pair { own: at == 0 }, most, None, note);
        }
    }

    fn network(&mut self, network: NetworkRange) {
        let note = self.note(LockedBy::Network, None, Some(network));
        let times = |count: u32| count.saturating_mul(network.times());
        let accounts = Some(times(self.rules.network_accounts));
        self.add(format!("n:{network}"), BucketKind::Network, times(self.rules.network_count), accounts, note);
    }

    fn note(&self, by: LockedBy, account: Option<&AccountId>, network: Option<NetworkRange>) -> LockNote {
        LockNote {
            key: String::new(),
            by,
            account: account.map(ToString::to_string),
            network: network.map(|network| network.to_string()),
            lasts: self.rules.lock.as_secs(),
            observed: !self.enforced,
        }
    }

    fn add(&mut self, key: String, kind: BucketKind, most: u32, most_accounts: Option<u32>, note: LockNote) {
        let note = LockNote { key: key.clone(), ..note };
        self.all.push(Bucket { key, kind, most, most_accounts, note });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallTime;
    use crate::entropy::SystemEntropy;
    use crate::monitor::{MonitorKeys, Rule, Severity, ranges_of};
    use crate::secret::Secret;

    pub(super) fn rules(by: LockBy) -> FailedLogins {
        FailedLogins {
            rule: Rule {
                count: 5,
                window: Duration::from_secs(900),
                severity: Severity::High,
                actions: vec![Action::Lock],
            },
            account_count: 20,
            network_count: 50,
            network_accounts: 20,
            lock: Duration::from_secs(900),
            by,
        }
    }

    fn limits(by: LockBy, names: &[&str], address: &str, knows_device: bool) -> Vec<(String, u32, Option<u32>)> {
        let keys = MonitorKeys::new(&Secret::new("k"));
        let accounts: SmallVec<[AccountId; 1]> = names.iter().map(|name| keys.account(None, name)).collect();
        let device = knows_device.then(|| {
            let until = WallTime::from_micros(10);
            let cookie = keys.device_cookie(&accounts[0], until, &SystemEntropy).expect("randomness");
            keys.device(&accounts[0], cookie.as_bytes(), WallTime::from_micros(1)).expect("its own")
        });
        let networks =
            if address.is_empty() { SmallVec::new() } else { ranges_of(address.parse().expect("an address")) };
        let named = Named { accounts: accounts.clone(), device };
        let tried = Attempted { named: &named, networks: &networks, remembers_accounts: true };
        let attempt = Attempt::of(&rules(by), true, tried, 1);
        let shown = |bucket: &Bucket| {
            let mut key = bucket.key.clone();
            for (at, account) in accounts.iter().enumerate() {
                key = key.replace(&account.to_string(), names[at]);
            }
            (key.split(':').take(2).collect::<Vec<_>>().join(":"), bucket.most, bucket.most_accounts)
        };
        attempt.buckets.iter().map(shown).collect()
    }

    #[test]
    fn a_login_is_counted_by_account_by_network_and_by_both() {
        let text = |found: Vec<(String, u32, Option<u32>)>| {
            found.iter().map(|(key, most, accounts)| format!("{key} {most} {accounts:?}")).collect::<Vec<_>>()
        };
        let both = LockBy::AccountAndNetwork;
        assert_eq!(
            text(limits(both, &["bob"], "192.0.2.1", false)),
            ["a:bob 20 None", "an:bob 5 None", "n:192.0.2.1 50 Some(20)"]
        );
        assert_eq!(
            text(limits(both, &["bob"], "2001:db8::1", false)),
            [
                "a:bob 20 None",
                "an:bob 5 None",
                "an:bob 20 None",
                "an:bob 80 None",
                "n:2001 50 Some(20)",
                "n:2001 200 Some(80)",
                "n:2001 800 Some(320)"
            ]
        );
        assert_eq!(text(limits(both, &["bob"], "192.0.2.1", true)), ["ad:bob 5 None"], "a known device has its own");
        assert_eq!(text(limits(both, &["bob"], "", false)), ["a:bob 20 None"], "a proxy is no network");
        assert_eq!(text(limits(both, &[], "192.0.2.1", false)), ["n:192.0.2.1 50 Some(20)"]);
        assert_eq!(
            text(limits(LockBy::Account, &["bob"], "192.0.2.1", true)),
            ["a:bob 5 None", "n:192.0.2.1 50 Some(20)"],
            "the blunt rule knows no devices"
        );
        assert_eq!(
            limits(both, &["bob", "eve"], "192.0.2.1", false).len(),
            5,
            "whichever the backend reads is counted"
        );
    }

    #[test]
    fn only_the_pair_of_its_own_account_and_network_is_cleared_by_a_success() {
        let named = Named {
            accounts: SmallVec::from_slice(&[MonitorKeys::new(&Secret::new("k")).account(None, "bob")]),
            device: None,
        };
        let networks = ranges_of("2001:db8::1".parse().expect("an address"));
        let tried = Attempted { named: &named, networks: &networks, remembers_accounts: true };
        let attempt = Attempt::of(&rules(LockBy::AccountAndNetwork), true, tried, 1);
        let cleared: Vec<&str> =
            attempt.buckets.iter().filter(|bucket| bucket.is_cleared_by_success()).map(|bucket| &*bucket.key).collect();
        assert_eq!(cleared.len(), 1);
        assert!(cleared[0].starts_with("an:") && cleared[0].ends_with("/64"), "{cleared:?}");
        let without =
            Attempt::of(&rules(LockBy::AccountAndNetwork), true, Attempted { remembers_accounts: false, ..tried }, 1);
        assert!(without.buckets.iter().all(|bucket| without.remembers(bucket) == (bucket.kind == BucketKind::Network)));
    }
}
