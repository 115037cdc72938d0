//! What the operator wants noticed, and what is to be done about it (`[monitor]`).

use std::time::Duration;

use super::{Action, PlaceRules, Severity};

/// Whether anything is done (`monitor.mode`). Without monitoring there are no rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorMode {
    /// What would have been done is written down, and nothing is done.
    Observe,
    /// It is done.
    Enforce,
}

impl MonitorMode {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// What all rules have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How often it takes.
    pub count: u32,
    /// Within which time.
    pub window: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// What is done.
    pub actions: Vec<Action>,
}

impl Rule {
    /// Whether this is among what is done.
    #[must_use]
    pub fn does(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }
}

/// Whom failed logins lock out (`monitor.failed_logins.by`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockBy {
    /// An account from where they came, and everywhere only after many.
    AccountAndNetwork,
    /// An account everywhere, its owner's devices included: a stranger can lock anybody out.
    Account,
}

/// Failed logins (`[monitor.failed_logins]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLogins {
    /// `count` is for an account from a network, or on a device.
    pub rule: Rule,
    /// How many failures of an account from devices that it does not know.
    pub account_count: u32,
    /// How many failures from a network.
    pub network_count: u32,
    /// How many different accounts that failed from a network.
    pub network_accounts: u32,
    /// How long a lock holds.
    pub lock: Duration,
    /// Whom it holds for.
    pub by: LockBy,
}

/// A login that succeeds after many failures from elsewhere (`[monitor.guessed_login]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuessedLogin {
    /// `count` is how many failures.
    pub rule: Rule,
}

/// Calls of a user in a calendar minute (`[monitor.calls]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RapidCalls {
    /// `count` is how many there may be.
    pub rule: Rule,
}

/// Records that a user takes out (`[monitor.exports]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exports {
    /// `count` is how many there may be.
    pub rule: Rule,
}

/// Different things that a user tries and may not do (`[monitor.privileges]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// `count` is how many different ones.
    pub rule: Rule,
}

/// Changes of a user's password (`[monitor.passwords]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passwords {
    /// `count` is how many.
    pub rule: Rule,
}

/// Uses of a session that was ended on purpose (`[monitor.revoked_use]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedUse {
    /// How bad it is.
    pub severity: Severity,
    /// What is done.
    pub actions: Vec<Action>,
}

/// Everything that is to be noticed (`[monitor]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorRules {
    /// Whether anything is done.
    pub mode: MonitorMode,
    /// For how long a device is known that somebody logged in on; `None`: none is.
    pub device_cookie: Option<Duration>,
    /// `None`: off.
    pub failed_logins: Option<FailedLogins>,
    /// `None`: off.
    pub guessed_login: Option<GuessedLogin>,
    /// `None`: off.
    pub calls: Option<RapidCalls>,
    /// `None`: off.
    pub exports: Option<Exports>,
    /// `None`: off.
    pub privileges: Option<Privileges>,
    /// `None`: off.
    pub passwords: Option<Passwords>,
    /// `None`: off.
    pub revoked_use: Option<RevokedUse>,
    /// What the rules about places go by.
    pub places: PlaceRules,
}

impl MonitorRules {
    /// Whether logins are refused after failures, and not only counted.
    #[must_use]
    pub fn locks(&self) -> bool {
        let asked_for = self.failed_logins.as_ref().is_some_and(|failed| failed.rule.does(Action::Lock));
        self.mode == MonitorMode::Enforce && asked_for
    }

    /// Whether it matters by which accounts users log in.
    #[must_use]
    pub fn locks_users(&self) -> bool {
        self.locks() && self.passwords.as_ref().is_some_and(|passwords| passwords.rule.does(Action::Lock))
    }

    /// Whether calls are refused that are too many.
    #[must_use]
    pub fn throttles(&self) -> bool {
        let asked_for = self.calls.as_ref().is_some_and(|calls| calls.rule.does(Action::Throttle));
        self.mode == MonitorMode::Enforce && asked_for
    }
}
