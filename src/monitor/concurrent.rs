//! `EXCESSIVE_CONCURRENT_SESSIONS`: more live sessions of a user than people have.

use super::{Action, Severity};

/// `[monitor.concurrent]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrent {
    /// More than so many are found.
    pub count: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is done.
    pub actions: Vec<Action>,
}

impl Concurrent {
    /// How many there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }
}
