//! `IMPOSSIBLE_TRAVEL`: faster than anybody travels.

use super::{Action, Severity};

/// `[monitor.travel]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travel {
    /// What is faster is found, in km/h.
    pub kmh: u32,
    /// Within how many seconds a session that is back where it was is in use in both places.
    pub back_within: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is done about a way in one direction.
    pub actions: Vec<Action>,
    /// What is done where both places are in use at once.
    pub actions_if_back: Vec<Action>,
}

/// Whether so many km in so many seconds are it.
pub(super) fn is_it(rule: &Travel, km: u32, seconds: u32) -> bool {
    u64::from(km) * 3600 > u64::from(rule.kmh) * u64::from(seconds)
}
