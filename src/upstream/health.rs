//! Whether a peer is in or out: what active checks say, and what requests meet.
//!
//! Out means tried last, never refused: when every peer is out, requests still go to them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;

/// So many failed checks in a row take a peer out; one that succeeds brings it back.
const FAILED_CHECKS: u32 = 2;

/// What a peer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path; 2xx and 3xx are healthy answers.
    pub path: PathAndQuery,
    /// The `Host` that it is asked with.
    pub host: HeaderValue,
}

/// When a peer is taken out for what requests meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures in a row: not connected, no answer in time, or none that is HTTP.
    pub failures: u32,
    /// For how long.
    pub rest: Duration,
}

/// What is known of one peer.
#[derive(Debug, Default)]
pub(super) struct Health {
    failed_checks: AtomicU32,
    unhealthy: AtomicBool,
    failures: AtomicU32,
    ejected: AtomicBool,
}

impl Health {
    pub(super) fn is_out(&self) -> bool {
        self.unhealthy.load(Ordering::Relaxed) || self.ejected.load(Ordering::Relaxed)
    }

    /// A check was answered well or not; whether that changed anything.
    pub(super) fn note_check(&self, healthy: bool) -> bool {
        if healthy {
            self.failed_checks.store(0, Ordering::Relaxed);
            return self.unhealthy.swap(false, Ordering::Relaxed);
        }
        let failed = self.failed_checks.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failed >= FAILED_CHECKS && !self.unhealthy.swap(true, Ordering::Relaxed)
    }

    /// A request was answered.
    pub(super) fn note_answer(&self) {
        // The common case reads and does not write: the line stays shared among cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; whether it was one too many.
    pub(super) fn note_failure(&self, ejection: Ejection) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= ejection.failures
    }

    /// Takes the peer out; whether it was not yet.
    pub(super) fn eject(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        !self.ejected.swap(true, Ordering::Relaxed)
    }

    /// Its rest is over.
    pub(super) fn readmit(&self) {
        self.ejected.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failed_checks_in_a_row_take_a_peer_out_and_one_good_one_brings_it_back() {
        let health = Health::default();
        for (healthy, changes, out) in [
            (false, false, false),
            (true, false, false),
            (false, false, false),
            (false, true, true),
            (false, false, true),
            (true, true, false),
            (true, false, false),
        ] {
            assert_eq!((health.note_check(healthy), health.is_out()), (changes, out));
        }
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let (health, ejection) = (Health::default(), Ejection { failures: 3, rest: Duration::ZERO });
        assert!(!health.note_failure(ejection) && !health.note_failure(ejection));
        health.note_answer();
        assert!(!health.note_failure(ejection) && !health.note_failure(ejection));
        assert!(health.note_failure(ejection));
        assert!(health.eject() && health.is_out());
        assert!(!health.eject(), "it is out already");
        health.readmit();
        assert!(!health.is_out());
        assert!(!health.note_failure(ejection), "the count begins anew");
    }

    #[test]
    fn a_good_check_does_not_shorten_the_rest_of_an_ejected_peer() {
        let health = Health::default();
        health.eject();
        health.note_check(true);
        assert!(health.is_out());
    }
}
