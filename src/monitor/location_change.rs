//! `SUSPICIOUS_LOCATION_CHANGE`: far away within a short time, if not impossibly so.

use super::{Action, Severity};

/// `[monitor.location_change]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationChange {
    /// What is further away is found, in km.
    pub km: u32,
    /// If it is within so many seconds.
    pub within: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is done.
    pub actions: Vec<Action>,
}

/// Whether so many km in so many seconds are it.
pub(super) const fn is_it(rule: &LocationChange, km: u32, seconds: u32) -> bool {
    km > rule.km && seconds <= rule.within
}
