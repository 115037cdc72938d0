//! How many buckets of accounts nobody ever heard of a gateway may have the store remember: names can be made up without
//! end. An account has one, and one more for each network that it is tried from.

use std::time::Duration;

use crate::clock::Monotonic;

const WINDOW: Duration = Duration::from_secs(900);
/// The most new buckets within it.
const MOST: u32 = 200_000;

/// How many there were.
#[derive(Debug)]
pub struct NewKeys {
    since: Monotonic,
    count: u32,
    most: u32,
}

impl NewKeys {
    /// None yet.
    #[must_use]
    pub const fn beginning_at(now: Monotonic) -> Self {
        Self { since: now, count: 0, most: MOST }
    }

    /// Whether there may be more. Beyond, an account of which nothing is kept is counted by its network alone.
    pub fn has_room(&mut self, now: Monotonic) -> bool {
        if now.since(self.since) >= WINDOW {
            (self.since, self.count) = (now, 0);
        }
        self.count < self.most
    }

    /// So many were new.
    pub const fn add(&mut self, count: u32) {
        self.count = self.count.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_accounts_are_bounded_within_a_quarter_of_an_hour() {
        let at = |seconds: u64| Monotonic::from_micros(seconds * 1_000_000);
        let mut keys = NewKeys::beginning_at(at(0));
        keys.add(MOST - 1);
        assert!(keys.has_room(at(899)));
        keys.add(1);
        assert!(!keys.has_room(at(899)));
        assert!(keys.has_room(at(900)));
    }
}
