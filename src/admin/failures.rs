//! Failed authentication, counted by network: who keeps guessing waits (docs/behaviour.md, "Admin API").
//!
//! The only thing of the admin API that is rate limited, and never in the way of a right token. Bounded: where there are
//! too many networks to tell apart, those that came last share one count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Monotonic;
use crate::network::Network;

/// So many may fail from one network in a window.
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// How many networks are told apart.
const MOST_NETWORKS: usize = 4096;

/// The failures of the last minute.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_network: HashMap<Network, Count>,
    others: Option<Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    began: Monotonic,
    failed: u32,
}

impl Failures {
    /// Counts a failure at `now`. Answers how many seconds to wait where there were too many.
    pub(super) fn count(&self, address: IpAddr, now: Monotonic) -> Result<(), u64> {
        let network = Network::from(address);
        let mut counts = self.0.lock();
        if counts.by_network.len() >= MOST_NETWORKS && !counts.by_network.contains_key(&network) {
            counts.by_network.retain(|_, count| !count.is_over(now));
        }
        let fresh = Count { began: now, failed: 0 };
        let count = if counts.by_network.len() >= MOST_NETWORKS && !counts.by_network.contains_key(&network) {
            counts.others.get_or_insert(fresh)
        } else {
            counts.by_network.entry(network).or_insert(fresh)
        };
        if count.is_over(now) {
            *count = fresh;
        }
        count.failed = count.failed.saturating_add(1);
        if count.failed <= MOST { Ok(()) } else { Err(count.seconds_left(now)) }
    }
}

impl Count {
    fn is_over(self, now: Monotonic) -> bool {
        now.since(self.began) >= WINDOW
    }

    /// Rounded up.
    fn seconds_left(self, now: Monotonic) -> u64 {
        WINDOW.saturating_sub(now.since(self.began)).as_millis().div_ceil(1000).try_into().unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn who_fails_too_often_waits_for_the_rest_of_the_minute_and_nobody_else_does() {
        let failures = Failures::default();
        let (guesser, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..MOST {
            assert_eq!(failures.count(guesser, at(10)), Ok(()));
        }
        assert_eq!(failures.count(guesser, at(30)), Err(40));
        assert_eq!(failures.count(other, at(30)), Ok(()));
        assert_eq!(failures.count(guesser, at(70)), Ok(()), "a new minute");
    }

    #[test]
    fn one_network_of_ipv6_is_one_guesser() {
        let failures = Failures::default();
        let address = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for last in 0..20 {
            assert_eq!(failures.count(address(last), at(0)), Ok(()));
        }
        assert!(failures.count(address(99), at(0)).is_err());
        assert!(failures.count("::ffff:192.0.2.1".parse().expect("an address"), at(0)).is_ok());
    }

    #[test]
    fn more_addresses_than_fit_share_a_count_until_the_minute_is_over() {
        let failures = Failures::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..5000 {
            let _ = failures.count(address(number), at(0));
        }
        assert_eq!(failures.0.lock().by_network.len(), MOST_NETWORKS);
        assert!(failures.count(address(9999), at(1)).is_err(), "those beyond share one");
        assert!(failures.count(address(1), at(1)).is_ok(), "those before do not");
        assert!(failures.count(address(9999), at(61)).is_ok());
        assert_eq!(failures.0.lock().by_network.len(), 1, "what is over is forgotten");
    }
}
