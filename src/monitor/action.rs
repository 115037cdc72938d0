//! What can be done about a finding.

/// What is done about a finding. Each is recorded, whatever else is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is kept, audited and counted: no more than is done about each.
    Record,
    /// The operators are told.
    Alert,
    /// The user is told.
    Notify,
    /// Further calls are refused for a while.
    Throttle,
    /// Further logins are refused for a while.
    Lock,
    /// The session is held until its user logs in again.
    Reauth,
    /// The session is ended.
    Terminate,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Record, Self::Alert, Self::Notify, Self::Throttle, Self::Lock, Self::Reauth, Self::Terminate];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Alert => "alert",
            Self::Notify => "notify",
            Self::Throttle => "throttle",
            Self::Lock => "lock",
            Self::Reauth => "reauth",
            Self::Terminate => "terminate",
        }
    }
}
