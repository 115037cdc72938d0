//! The limits that are configured, and a session held to them.

use std::time::Duration;

use super::{IdleLimit, SessionRecord};

/// The configured limits, which new sessions get and which live ones are held to when they are lower than their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Idle time-out; `None` when off.
    pub idle: Option<IdleLimit>,
    /// Absolute lifetime.
    pub absolute: Duration,
    /// Idle time-out of a remembered session; `None` when off.
    pub remember_idle: Option<IdleLimit>,
    /// Absolute lifetime of a remembered session.
    pub remember: Duration,
}

impl Limits {
    /// Idle time-out and absolute lifetime of a session.
    #[must_use]
    pub const fn of(&self, remembered: bool) -> (Option<IdleLimit>, Duration) {
        if remembered { (self.remember_idle, self.remember) } else { (self.idle, self.absolute) }
    }

    /// `record` held to these limits: `Some` when one of them is lower than the record's own.
    #[must_use]
    pub fn tighten(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let (idle, absolute) = self.of(record.remembered);
        let deadline = record.deadline.min(record.created.after(absolute));
        let idle = match (record.idle, idle) {
            (Some(own), Some(configured)) => Some(own.min(configured)),
            (own, configured) => own.or(configured),
        };
        (deadline != record.deadline || idle != record.idle).then(|| SessionRecord { deadline, idle, ..record.clone() })
    }
}
